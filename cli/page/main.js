// Unpacks the report and plotly.js, and shows the page that the report's schema asks for.

async function unpack(id) {
  const letters = atob(document.getElementById(id).textContent);
  const packed = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; ++i) packed[i] = letters.charCodeAt(i);
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
}

const pages = {
  'reusescope.analysis': showAnalysis,
  'reusescope.audit': showAudit,
  'reusescope.compare': showComparison,
  'reusescope.sweep': showDesigns,
};

// Begins the page anew.
function redraw(show) {
  charts.length = 0;
  document.querySelector('main').replaceChildren();
  document.querySelector('nav').replaceChildren();
  show();
}

async function start() {
  const main = document.querySelector('main');
  try {
    const report = JSON.parse(await unpack('data'));
    const library = element('script');
    library.textContent = await unpack('plotly');
    document.head.append(library);
    installTheme();
    installPrinting();
    redraw(() => pages[report.schema.split('/')[0]](report));
  } catch (error) {
    main.replaceChildren(element('p', {class: 'warning'},
        `This page could not be drawn (${error}). It needs Chrome or Edge 123, Firefox 120, Safari 17.5 or later; ` +
        'the same numbers come as text from --format table.'));
    console.error(error);
  }
  main.setAttribute('aria-busy', 'false');
}
