// Charts. One is a figure: plotly.js draws it, a caption says in a sentence what it shows, and the arrow keys walk through
// its points, which are then read aloud.

const charts = [];

// What Plotly would take for markup in a name is shown as it is.
function plain(text) { return String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'); }

// Lines of a hover text: the first is bold.
function hoverLines(title, ...lines) {
  return [`<b>${plain(title)}</b>`, ...lines.filter((line) => line).map(plain)].join('<br>');
}

function shorten(name, length = 60) {
  if (name.length <= length) return name;
  const half = Math.floor((length - 1) / 2);
  return `${name.slice(0, half)}\u2026${name.slice(-half)}`;
}

function baseLayout() {
  const ink = cssColor('--ink'), line = cssColor('--line'), card = cssColor('--card');
  const axis = {gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true, title: {standoff: 12}};
  return {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: {color: ink, size: 13, family: getComputedStyle(document.body).fontFamily},
    margin: {l: 70, r: 24, t: 48, b: 56}, hovermode: 'closest',
    hoverlabel: {bgcolor: card, bordercolor: line, font: {color: ink, size: 13}, align: 'left', namelength: -1},
    legend: {orientation: 'h', x: 0, y: 1.02, yanchor: 'bottom', bgcolor: 'rgba(0,0,0,0)'},
    xaxis: axis, yaxis: axis,
  };
}

// `over` on top of `base`, objects merged.
function merged(base, over) {
  const out = {...base};
  for (const [key, value] of Object.entries(over)) {
    const both = value !== null && typeof value === 'object' && !Array.isArray(value) && typeof base[key] === 'object';
    out[key] = both ? merged(base[key], value) : value;
  }
  return out;
}

// Points that the arrow keys visit: those with a hover text, or what the chart says they are.
function pointsOf(chart) {
  if (chart.points) return chart.points(chart.plot);
  return chart.plot.data.flatMap((trace, curveNumber) => {
    const texts = trace.hovertext;
    return Array.isArray(texts) && trace.visible !== 'legendonly' ?
        texts.map((text, pointNumber) => ({curveNumber, pointNumber, text})) : [];
  });
}

function walk(chart, event) {
  const move = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  if (move === undefined || chart.steps === false) return;
  event.preventDefault();
  const points = pointsOf(chart);
  if (points.length === 0) return;
  chart.at = ((chart.at ?? (move > 0 ? -1 : 0)) + move + points.length) % points.length;
  const {curveNumber, pointNumber, text} = points[chart.at];
  Plotly.Fx.hover(chart.plot, [{curveNumber, pointNumber}]);
  announce(text.replaceAll('<br>', '; ').replace(/<\/?b>/g, '').replaceAll('&lt;', '<').replaceAll('&gt;', '>')
               .replaceAll('&amp;', '&'));
}

function drawChart(chart) {
  const {data, layout} = chart.draw();
  // A pixel to each side is the border's.
  const size = {height: chart.height, width: chart.plot.clientWidth || undefined};
  Plotly.react(chart.plot, data, merged(merged(baseLayout(), size), layout),
               {displaylogo: false, responsive: true, modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
                toImageButtonOptions: {scale: 2}});
  chart.plot.dataset.drawn = isDark() ? 'dark' : 'light';
}

function drawCharts() { charts.forEach(drawChart); }

// {title: what it is, caption: what it tells, draw: () => ({data, layout}), height, controls: [elements],
// points: plot => [{curveNumber, pointNumber, text}]}
function addChart(parent, chart) {
  chart.height ??= 460;
  chart.plot = element('div', {class: 'chart', tabindex: 0, role: 'group', 'aria-roledescription': 'chart',
                               'aria-label': `${chart.title}. ${chart.caption} Arrow keys walk through the points.`,
                               style: `height: ${chart.height}px`, keydown: (event) => walk(chart, event)});
  if (chart.controls) parent.append(element('div', {class: 'controls'}, ...chart.controls));
  parent.append(element('figure', {}, chart.plot, element('figcaption', {}, chart.caption)));
  charts.push(chart);
  drawChart(chart);
  return chart;
}

// On paper: light, as wide as the page.
function installPrinting() {
  let before = null;
  window.addEventListener('beforeprint', () => {
    before = forcedTheme;
    setTheme('light');
    drawCharts();
  });
  window.addEventListener('afterprint', () => {
    setTheme(before);
    drawCharts();
  });
}
