// The page of 'compare': models, or one at several sizes, side by side.

const CHARTED_DIFFERENCES = 20;

function formatMetric(metric, value) {
  if (value === null) return '-';
  if (metric.name === 'fits') return value === 1 ? '\u2713 yes' : '\u2717 no';
  return {count: formatCount, bytes: formatBytes, seconds: formatSeconds, share: formatPercent, ratio: threeDigits}[metric.unit](value);
}

// Indices of the best columns of a metric; none where all are equal or nothing is better.
function bestColumns(metric) {
  const values = metric.values.filter((value) => value !== null);
  if (metric.better === null || values.length < 2 || Math.min(...values) === Math.max(...values)) return [];
  const best = metric.better === 'lower' ? Math.min(...values) : Math.max(...values);
  return metric.values.flatMap((value, index) => value === best ? [index] : []);
}

function addMetricsTable(section, report) {
  const cell = (metric, best, value, index) => {
    const first = metric.values[0];
    const ratio = index === 0 || value === null || !first || metric.name === 'fits' ? '' : ` (${(value / first).toFixed(2)}\u00d7)`;
    const isBest = best.includes(index);
    return element('td', {class: isBest ? 'right best' : 'right'}, `${isBest ? '\u2605 ' : ''}${formatMetric(metric, value)}${ratio}`);
  };
  const rows = report.metrics.map((metric) => {
    const best = bestColumns(metric);
    return element('tr', {}, element('th', {scope: 'row'}, metric.label), ...metric.values.map((value, index) => cell(metric, best, value, index)));
  });
  const header = element('tr', {}, element('td', {}), ...report.columns.map((column) => element('th', {scope: 'col', class: 'right'}, column.name)));
  section.append(element('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Numbers side by side'},
      element('table', {}, element('caption', {}, 'A star marks the best of a row; in parentheses the ratio to the first.'),
              element('thead', {}, header), element('tbody', {}, ...rows))));
}

function drawMetric(report, metric) {
  const names = report.columns.map((column) => plain(shorten(column.name, 40)));
  const best = bestColumns(metric);
  const largest = Math.max(...metric.values.map((value) => value ?? 0));
  const ticks = {bytes: byteTicks, seconds: timeTicks, share: () => ({tickformat: '.0%'}), count: countTicks, ratio: countTicks}[metric.unit](largest * 1.1);
  return {
    data: [{type: 'bar', x: names, y: metric.values, text: metric.values.map((value) => formatMetric(metric, value)), textposition: 'outside', cliponaxis: false,
            marker: {color: metric.values.map((value, index) => best.includes(index) ? colors().green : colors().blue)}, hoverinfo: 'text',
            hovertext: metric.values.map((value, index) => hoverLines(
                report.columns[index].name, `${metric.label}: ${formatMetric(metric, value)}`,
                index > 0 && value !== null && metric.values[0] ? `${(value / metric.values[0]).toFixed(3)} times the first` : '',
                best.includes(index) ? 'The best.' : ''))}],
    layout: {bargap: 0.5, margin: {t: 36}, xaxis: {type: 'category', showgrid: false},
             yaxis: {title: {text: plain(metric.label)}, rangemode: 'tozero', range: [0, largest * 1.12], ...ticks}},
  };
}

function addMetricChart(section, report) {
  let metric = report.metrics.find((one) => one.name === 'step_seconds') ?? report.metrics.find((one) => one.name === 'flops') ?? report.metrics[0];
  const chart = addChart(section, {
    title: 'One number, side by side', height: 380, caption: 'The best is green. Ratios to the first are in the hover text.',
    controls: [selectBox('Show', report.metrics.map((one, index) => [index, one.label]), report.metrics.indexOf(metric), (chosen) => {
      metric = report.metrics[Number(chosen)];
      drawChart(chart);
    })],
    draw: () => drawMetric(report, metric),
  });
}

// The end of a path tells layers apart.
function differenceName(layer) {
  const name = layer.layer.length > 36 ? `\u2026${layer.layer.slice(-35)}` : layer.layer;
  return [name, layer.op.replace('reusescope::', ''), layer.phase, layer.gradient].filter((word) => word).join(', ');
}

function drawDifferences(layers, format) {
  const shown = layers.differences.slice(0, CHARTED_DIFFERENCES).reverse();
  const color = {added: colors().vermillion, removed: colors().green, changed: colors().blue};
  const changes = shown.map((layer) => layer.cost_after - layer.cost_before);
  const largest = Math.max(...changes.map(Math.abs), 1e-30);
  return {
    data: ['added', 'removed', 'changed'].map((change) => ({
      type: 'bar', orientation: 'h', name: change, y: [...shown.keys()], hoverinfo: 'text', marker: {color: color[change]},
      x: shown.map((layer, i) => layer.change === change ? changes[i] : null), visible: shown.some((layer) => layer.change === change),
      hovertext: shown.map((layer) => layer.change === change ? hoverLines(
          shorten(layer.layer), `${layer.op}, ${layer.phase}${layer.gradient ? `, ${layer.gradient}` : ''}: ${layer.change}`,
          `before ${format(layer.cost_before)}, after ${format(layer.cost_after)}`) : ''),
    })),
    layout: {barmode: 'overlay', bargap: 0.3, margin: {t: 36}, showlegend: true,
             yaxis: {tickvals: [...shown.keys()], ticktext: shown.map((layer) => plain(differenceName(layer))), tickfont: {size: 11}, range: [-0.6, shown.length - 0.4]},
             xaxis: {title: {text: 'change of cost'}, tickvals: [-1, -0.5, 0, 0.5, 1].map((part) => part * largest),
                     ticktext: [-1, -0.5, 0, 0.5, 1].map((part) => (part > 0 ? '+' : '') + format(part * largest))}},
  };
}

function addLayerDifferences(report, layers) {
  const name = report.columns[layers.column].name;
  const format = report.layer_cost === 'seconds' ? formatSeconds : (cost) => `${formatCount(cost)}FLOP`;
  const section = addSection(`layers-${layers.column}`, `Layers: ${name} against ${report.columns[0].name}`, `Layers of ${shorten(name, 24)}`);
  const count = (change) => layers.differences.filter((layer) => layer.change === change).length;
  section.append(element('p', {}, `${plural(layers.matched, 'kernel')} matched, ${layers.unchanged} of them unchanged; ${count('added')} added, ` +
      `${count('removed')} removed, ${count('changed')} changed.`));
  if (layers.differences.length === 0) return;
  addChart(section, {
    title: 'Layers that differ most', height: 110 + 24 * Math.min(CHARTED_DIFFERENCES, layers.differences.length), draw: () => drawDifferences(layers, format),
    caption: `The ${Math.min(CHARTED_DIFFERENCES, layers.differences.length)} largest differences; to the right ${name} costs more.`,
  });
  addTable(section, {
    caption: 'Layers that differ', rows: [...layers.differences], sort: null, search: (row) => `${row.layer} ${row.op}`, pageSize: 20,
    filters: [{label: 'Change', value: (row) => row.change}, {label: 'Phase', value: (row) => row.phase}],
    columns: [
      {title: 'Change', value: (row) => row.change, text: (row) => row.change},
      {title: 'Layer', value: (row) => row.layer, text: (row) => row.layer, cell: () => 'name'},
      {title: 'Operator', value: (row) => row.op, text: (row) => row.op.replace('reusescope::', '')},
      {title: 'Phase', value: (row) => PHASES.indexOf(row.phase), text: (row) => row.gradient ? `${row.phase} ${row.gradient}` : row.phase},
      {title: 'Before', number: true, value: (row) => row.cost_before, text: (row) => format(row.cost_before)},
      {title: 'After', number: true, value: (row) => row.cost_after, text: (row) => format(row.cost_after)},
      {title: 'Difference', number: true, value: (row) => row.cost_after - row.cost_before,
       text: (row) => (row.cost_after > row.cost_before ? '+' : '') + format(row.cost_after - row.cost_before)},
    ],
  });
}

function showComparison(report) {
  addTitle(report.columns.map((column) => column.name).join(' against '), `${plural(report.columns.length, 'column')}, ratios to the first`);
  const summary = addSection('summary', 'Verdict');
  summary.append(...report.crossed.map((bar) => element('p', {class: 'warning'}, `Bar crossed: ${bar.text}`)),
                 ...report.columns.flatMap((column) => column.verdicts.map((verdict) => element(
                     'p', {class: 'verdict'}, element('b', {}, `${column.name}: `), verdict))),
                 notesList(report.notes) ?? '');
  const numbers = addSection('numbers', 'Side by side');
  addMetricChart(numbers, report);
  addMetricsTable(numbers, report);
  for (const layers of report.layers) addLayerDifferences(report, layers);
}
