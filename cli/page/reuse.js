// Traffic against on-chip capacity: what is still fetched, by reuse scope.

const SCOPE_COLORS = {'adjacent-layer': 'sky', 'block-scale': 'orange', 'forward-backward': 'vermillion', 'update': 'green',
                      'long-range': 'purple'};
const SCOPE_MEANING = {
  'intra-layer': 'inside one kernel: an operand used more than once',
  'adjacent-layer': 'the next kernel reads what this one touched',
  'block-scale': 'inside one block, not adjacent: a skip connection',
  'forward-backward': 'the backward phase reads what forward kept: the stash, and weights',
  'update': 'the optimizer reads gradients and parameters',
  'long-range': 'the rest: one output that many layers read',
};

// The scopes between kernels; intra-layer reuse is inside one and never crosses the memory interface again here.
function betweenKernels(report) { return report.reuse.scopes.filter((scope) => scope.scope in SCOPE_COLORS && scope.edges > 0); }

function drawReuse(view) {
  const {report} = view, {curve} = report.reuse;
  const points = curve.map((row, index) => ({...row, index})).filter((row) => row.capacity_bytes > 0);
  const x = points.map((row) => row.capacity_bytes);
  const scopes = betweenKernels(report);
  const fixed = curve[0].lru_bytes - sum(scopes.map((scope) => scope.saved_bytes));
  const area = (name, color, y) => ({type: 'scatter', mode: 'lines', name, stackgroup: 'traffic', x, y, hoverinfo: 'skip',
                                     line: {width: 0.5, color, shape: 'hv'}, fillcolor: color});
  const traces = [area('unavoidable', colors().gray, x.map(() => fixed))];
  for (const scope of scopes) {
    traces.push(area(scope.scope, colors()[SCOPE_COLORS[scope.scope]],
                     points.map((row) => scope.saved_bytes - scope.saved_at_capacity_bytes[row.index])));
  }
  const ink = cssColor('--ink');
  const texts = points.map((row) => hoverLines(
      `${formatBytes(row.capacity_bytes)} on chip`, `LRU cache: ${formatBytes(row.lru_bytes)} a step`,
      `software-managed: ${formatBytes(row.managed_bytes)} a step`, 'still fetched or written back:',
      ...scopes.map((scope) => `${scope.scope}: ${formatBytes(scope.saved_bytes - scope.saved_at_capacity_bytes[row.index])}`),
      `unavoidable: ${formatBytes(fixed)}`));
  traces.push({type: 'scatter', mode: 'lines', name: 'LRU cache', x, y: points.map((row) => row.lru_bytes),
               line: {color: ink, width: 2.5}, hoverinfo: 'text', hovertext: texts},
              {type: 'scatter', mode: 'lines', name: 'software-managed', x, y: points.map((row) => row.managed_bytes),
               line: {color: ink, width: 2.5, dash: 'dash'}, hoverinfo: 'skip'});
  const devices = report.rooflines.filter((roofline) => roofline.on_chip_bytes > 0);
  const low = x[0], high = x.at(-1), top = 1.08 * curve[0].lru_bytes;
  return {
    data: traces,
    layout: {
      hovermode: 'x', hoverdistance: -1, margin: {t: 40}, legend: {y: -0.18, yanchor: 'top', traceorder: 'normal'},
      xaxis: {type: 'log', title: {text: 'on-chip memory'}, range: [low, high].map(Math.log10), ...logTicks(low, high, 2, formatBytes, 10)},
      yaxis: {title: {text: 'traffic of a step'}, range: [0, top], ...byteTicks(top)},
      shapes: devices.map((device) => ({type: 'line', x0: device.on_chip_bytes, x1: device.on_chip_bytes, y0: 0, y1: 1, yref: 'paper',
                                        line: {color: ink, width: 1, dash: 'dot'}})),
      annotations: devices.map((device, index) => ({x: Math.log10(device.on_chip_bytes), y: 1 + 0.05 * index, yref: 'paper', yanchor: 'bottom',
                                                    text: `${device.device}: ${formatBytes(device.on_chip_bytes)}`, showarrow: false})),
    },
  };
}

function addReuse(view) {
  const {report} = view, {curve} = report.reuse;
  const section = addSection('reuse', 'What on-chip memory would save', 'Reuse');
  const most = betweenKernels(report).sort((a, b) => b.saved_bytes - a.saved_bytes)[0];
  if (most !== undefined) {
    section.append(element('p', {}, `A step moves ${formatBytes(curve[0].lru_bytes)} if every kernel fetches its operands, ` +
        `${formatBytes(report.reuse.minimum_bytes)} if everything that is touched again stays on chip. Most of the difference ` +
        `is ${most.scope} reuse: ${SCOPE_MEANING[most.scope]}.`));
  }
  addChart(section, {
    title: 'Traffic against on-chip capacity', height: 500,
    caption: 'Areas: what an LRU memory of that size still moves at each reuse scope, a reuse captured wholly or not at all; ' +
        'the lines count bytes kept in part as well. Software-managed is the most that a compiler could get.',
    draw: () => drawReuse(view),
  });
  addTable(section, {
    caption: 'Reuse by scope', rows: report.reuse.scopes,
    columns: [
      {title: 'Scope', value: (row) => row.scope, text: (row) => row.scope},
      {title: 'What it is', value: (row) => SCOPE_MEANING[row.scope], text: (row) => SCOPE_MEANING[row.scope]},
      {title: 'Reuses', number: true, value: (row) => row.edges, text: (row) => row.edges.toLocaleString('en-US')},
      {title: 'Traffic saved', number: true, value: (row) => row.saved_bytes, text: (row) => formatBytes(row.saved_bytes)},
      {title: 'On chip for half', number: true, hint: 'LRU capacity that saves at least half of it',
       value: (row) => row.capacity_to_capture_half_bytes, text: (row) => row.scope === 'intra-layer' ? '-' : formatBytes(row.capacity_to_capture_half_bytes)},
      {title: 'On chip for all', number: true, value: (row) => row.capacity_to_capture_bytes,
       text: (row) => row.scope === 'intra-layer' ? '-' : formatBytes(row.capacity_to_capture_bytes)},
    ],
  });
}
