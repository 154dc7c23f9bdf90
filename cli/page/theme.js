// Light and dark, and what colours mean. Okabe and Ito's palette (Color Universal Design, 2008), two of its colours
// darkened in the light theme and two lightened in the dark one for contrast with the paper.

let forcedTheme = null;  // null: as the system has it

function isDark() {
  if (forcedTheme !== null) return forcedTheme === 'dark';
  return window.matchMedia('(prefers-color-scheme: dark)').matches;
}

const palette = {
  light: {
    blue: '#0072b2', vermillion: '#d55e00', green: '#009e73', orange: '#e69f00', sky: '#56b4e9', purple: '#cc79a7',
    yellow: '#d3c324', gray: '#8a8f98',
  },
  dark: {
    blue: '#3d9bdb', vermillion: '#ef7a29', green: '#14b88a', orange: '#e69f00', sky: '#8fd0f7', purple: '#d990b8',
    yellow: '#f0e442', gray: '#8a8f98',
  },
};

function colors() { return palette[isDark() ? 'dark' : 'light']; }

// The value of a colour of page.css in the theme that is on.
function cssColor(variable) {
  const probe = element('span', {style: `color: var(${variable})`});
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

const PHASES = ['forward', 'backward', 'update'];
function phaseColor(phase) { return {forward: colors().blue, backward: colors().vermillion, update: colors().green}[phase]; }
const phaseSymbol = {forward: 'circle', backward: 'diamond', update: 'square'};

function setTheme(theme) {
  forcedTheme = theme;
  if (theme === null) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.getElementById('theme').setAttribute('aria-pressed', String(isDark()));
}

function installTheme() {
  document.getElementById('theme').addEventListener('click', () => {
    setTheme(isDark() ? 'light' : 'dark');
    drawCharts();
  });
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    setTheme(forcedTheme);
    drawCharts();
  });
  setTheme(null);
}
