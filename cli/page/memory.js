// Memory over the step, stacked by what it holds, and the tensors at the peak.

// Keys of memory.timeline from the bottom of the stack, the colour of each, and the name that live_at_peak gives the kind.
const MEMORY_KINDS = [
  ['parameter_bytes', 'blue', 'parameters'], ['weight_copy_bytes', 'sky', 'weight copies'],
  ['optimizer_state_bytes', 'green', 'optimizer states'], ['parameter_gradient_bytes', 'yellow', 'parameter gradients'],
  ['buffer_bytes', 'gray', 'buffers'], ['input_bytes', 'purple', 'inputs'],
  ['activation_bytes', 'orange', 'activations'], ['gradient_bytes', 'vermillion', 'gradients'],
];

function memoryHover(view, sample, kernel, start) {
  const parts = MEMORY_KINDS.filter(([key]) => sample[key] > 0).reverse().map(([key, , kind]) => `${kind}: ${formatBytes(sample[key])}`);
  const when = start === null ? `kernel ${kernel.index + 1}` : `at ${formatSeconds(start)}`;
  return hoverLines(`${formatBytes(sample.bytes)} alive`, `${when}, while ${shorten(kernel.title, 44)} runs (${kindOf(kernel)})`,
                    ...parts);
}

// Times at which kernels start in ms, or their numbers without a device; one entry more at the end.
function startsOf(view) {
  if (view.roofline === null) return [...view.kernels.keys(), view.kernels.length];
  let now = 0;
  return [0, ...view.kernels.map((kernel) => now += kernel.seconds)];
}

function phaseBands(view, starts) {
  return PHASES.map((phase) => {
    const members = view.kernels.filter((kernel) => kernel.phase === phase);
    if (members.length === 0) return null;
    return {phase, from: starts[members[0].index], to: starts[members.at(-1).index + 1]};
  }).filter((band) => band !== null);
}

function drawMemory(view) {
  const timeline = view.report.memory.timeline;
  const starts = startsOf(view), end = starts.at(-1), unit = view.roofline === null ? 1 : end < 1e-3 ? 1e6 : end < 1 ? 1e3 : 1;
  const x = starts.map((start) => start * unit);
  const held = (values) => [...values, values.at(-1)];  // the last kernel's level lasts to the end
  const kinds = MEMORY_KINDS.filter(([key]) => timeline.some((sample) => sample[key] > 0));
  const traces = kinds.map(([key, color, kind]) => ({
    type: 'scatter', mode: 'lines', name: kind, stackgroup: 'memory', x, y: held(timeline.map((sample) => sample[key])),
    line: {shape: 'hv', width: 0.5, color: colors()[color]}, fillcolor: colors()[color], hoverinfo: 'skip',
  }));
  const texts = timeline.map((sample, k) => memoryHover(view, sample, view.kernels[k], view.roofline && starts[k]));
  traces.push({type: 'scatter', mode: 'lines', name: 'total', showlegend: false, x: x.slice(0, -1),
               y: timeline.map((sample) => sample.bytes), line: {width: 0}, hoverinfo: 'text', hovertext: texts});
  const {peak_bytes: peak, peak_layer_index: at} = view.report.memory;
  const capacity = view.roofline?.memory_bytes ?? null;
  const shown = capacity !== null && capacity < 4 * peak;
  const highest = 1.12 * (shown ? Math.max(peak, capacity) : peak);
  const bands = phaseBands(view, starts);
  const ink = cssColor('--ink');
  const annotations = bands.filter((band) => band.to - band.from > 0.04 * end).map((band) => ({
    x: (band.from + band.to) / 2 * unit, y: 1, yref: 'paper', yanchor: 'bottom', text: band.phase, showarrow: false,
    font: {color: phaseColor(band.phase)},
  }));
  if (at !== null) {
    annotations.push({x: x[at], y: peak, text: `peak ${formatBytes(peak)}`, ax: starts[at] > 0.75 * end ? -70 : 70, ay: -18,
                      arrowcolor: ink});
  }
  if (shown) {
    annotations.push({x: 1, xref: 'paper', xanchor: 'right', y: capacity, yanchor: 'bottom', showarrow: false,
                      text: `the device has ${formatBytes(capacity)}`});
  }
  const lines = bands.slice(1).map((band) => ({type: 'line', x0: band.from * unit, x1: band.from * unit, y0: 0, y1: 1,
                                               yref: 'paper', line: {color: ink, width: 1, dash: 'dot'}}));
  if (shown) {
    lines.push({type: 'line', x0: 0, x1: 1, xref: 'paper', y0: capacity, y1: capacity, line: {color: ink, width: 2, dash: 'dash'}});
  }
  const name = view.roofline === null ? 'kernel' : `time in the step, ${{1e6: '\u00b5s', 1e3: 'ms', 1: 's'}[unit]}`;
  return {
    data: traces,
    layout: {hovermode: 'x', hoverdistance: -1, annotations, shapes: lines, legend: {y: -0.18, yanchor: 'top', traceorder: 'normal'},
             margin: {t: 36}, xaxis: {title: {text: name}, range: [0, end * unit]},
             yaxis: {title: {text: 'bytes alive'}, range: [0, highest], ...byteTicks(highest)}},
  };
}

function addMemory(view) {
  const memory = view.report.memory;
  if (memory.timeline.length === 0) return;
  const section = addSection('memory', 'Memory over the step', 'Memory');
  const peakKernel = view.kernels[memory.peak_layer_index];
  const capacity = view.roofline?.memory_bytes ?? null;
  const verdict = capacity === null ? '' : view.roofline.fits ? ` It fits in the device's ${formatBytes(capacity)}.` :
      ` It does not fit in the device's ${formatBytes(capacity)}.`;
  section.append(element('p', {}, `The peak is ${formatBytes(memory.peak_bytes)}, while ${peakKernel.title} runs ` +
                                      `(${peakKernel.phase}).${verdict}`));
  addChart(section, {
    title: 'Memory timeline', height: 480,
    caption: 'What is alive while each kernel runs, stacked by kind. Allocators and frameworks add to it: measured peaks are ' +
        'somewhat higher.',
    draw: () => drawMemory(view),
  });
  section.append(element('h3', {}, 'At the peak'));
  const color = new Map(MEMORY_KINDS.map(([, name, kind]) => [kind, name]));
  addTable(section, {
    caption: 'Tensors alive at the peak', rows: memory.live_at_peak, pageSize: 10, sort: [2, true],
    search: (row) => row.name, filters: [{label: 'Kind', value: (row) => row.kind}],
    columns: [
      {title: 'Tensor', value: (row) => row.name, text: (row) => row.name, cell: () => 'name'},
      {title: 'Kind', value: (row) => row.kind,
       text: (row) => element('span', {}, element('span', {class: 'swatch', style: `background: ${colors()[color.get(row.kind)]}`}),
                              row.kind)},
      {title: 'Bytes', number: true, value: (row) => row.bytes, text: (row) => formatBytes(row.bytes)},
      {title: 'Share', number: true, value: (row) => row.bytes, text: (row) => formatPercent(row.bytes / memory.peak_bytes)},
    ],
  });
}
