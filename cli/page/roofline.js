// The roofline: a point a kernel, its area the kernel's time.

const LARGEST_POINT = 34, SMALLEST_POINT = 3;
// Plotly's symbols of one size differ in area; these make them equal.
const symbolScale = {circle: 1, diamond: 0.96, square: 0.886};

function roofHover(kernel, at, roofline) {
  const intensity = kernel.flops / at.bytes, ridge = roofline.ridge_flops_per_byte;
  const advice = at.bound === 'memory' ?
      `Memory-bound: it waits for ${formatBytes(at.bytes)}. Faster arithmetic would not help; more bandwidth or reuse would.` :
      'Compute-bound: its bytes arrive in time. More bandwidth would not help.';
  return hoverLines(shorten(kernel.title), kindOf(kernel),
                    `${formatSeconds(at.seconds)}, ${formatPercent(at.seconds / roofline.step_seconds)} of the step`,
                    `${formatCount(kernel.flops)}FLOP, ${formatBytes(at.bytes)} moved`,
                    `${threeDigits(intensity)} FLOP per byte (ridge: ${threeDigits(ridge)}), ` +
                        `${formatRate(kernel.flops / at.seconds, 'FLOP')}`, advice);
}

// Points of one phase. A kernel whose bytes are all on chip has no intensity; it stands at the right edge.
function roofPoints(kernels, phase, model, edge, roofline) {
  const chosen = kernels.filter((kernel) => kernel.phase === phase);
  const at = chosen.map((kernel) => kernel.under[model]);
  return {
    type: 'scatter', mode: 'markers', name: phase,
    x: chosen.map((kernel, i) => Math.min(edge, kernel.flops / at[i].bytes)),
    y: chosen.map((kernel, i) => kernel.flops / at[i].seconds),
    hoverinfo: 'text', hovertext: chosen.map((kernel, i) => roofHover(kernel, at[i], roofline)),
    marker: {symbol: phaseSymbol[phase], color: phaseColor(phase), opacity: 0.45, line: {width: 1, color: phaseColor(phase)},
             size: at.map((under) => under.seconds)},
  };
}

function sizePoints(traces, largestSeconds) {
  for (const trace of traces) {
    const scale = symbolScale[trace.marker.symbol];
    trace.marker.size = trace.marker.size.map(
        (seconds) => scale * Math.max(SMALLEST_POINT, LARGEST_POINT * Math.sqrt(seconds / largestSeconds)));
  }
}

// min(slope x, flat) from `low` to `high`.
function roof(name, flops, bandwidth, low, high, style) {
  const ridge = flops / bandwidth;
  const x = ridge > low && ridge < high ? [low, ridge, high] : [low, high];
  return {type: 'scatter', mode: 'lines', name, x, y: x.map((value) => Math.min(value * bandwidth, flops)), hoverinfo: 'skip',
          line: {color: cssColor('--ink'), width: 2, ...style}};
}

// Do contractions run on units of their own?
function hasTwoRoofs(roofline) { return Math.abs(Math.log10(roofline.vector_flops_per_second / roofline.achievable_flops_per_second)) > 0.1; }

// [name, rate, line] of every flat roof: contractions in the precision mode's arithmetic, in narrower operands (int8) where
// some kernel has such, and what is no contraction.
function flatRoofs(kernels, roofline) {
  const narrow = Object.entries(roofline.narrow_flops_per_second)
                     .filter(([operands]) => kernels.some((kernel) => kernel.operands === operands))
                     .map(([operands, rate]) => [`contractions in ${operands}`, rate, {dash: 'dashdot', width: 1.5}]);
  const other = hasTwoRoofs(roofline) ? [['other arithmetic', roofline.vector_flops_per_second, {dash: 'dot', width: 1.5}]] : [];
  return [['contractions', roofline.achievable_flops_per_second, {}], ...narrow, ...other];
}

function roofAnnotations(flats, roofline, low, high) {
  const log = Math.log10, ridge = roofline.ridge_flops_per_byte;
  const middle = 0.6 * log(low) + 0.4 * log(ridge);
  const slope = {x: middle, y: middle + log(roofline.bandwidth_bytes_per_second), xanchor: 'right', yanchor: 'bottom',
                 text: `memory ${formatRate(roofline.bandwidth_bytes_per_second, 'B')} `, showarrow: false};
  const names = flats.map(([name, rate]) => ({
    x: log(high), y: log(rate), xanchor: 'right', yanchor: 'bottom', text: `${name} ${formatRate(rate, 'FLOP')}`, showarrow: false,
  }));
  const knee = {x: log(ridge), y: 0, yref: 'paper', yanchor: 'bottom', xanchor: 'left', showarrow: false,
                text: ` ridge ${threeDigits(ridge)} FLOP/B`, font: {color: cssColor('--quiet')}};
  return [slope, knee, ...names];
}

function drawRoofline(kernels, roofline, model) {
  const bandwidth = roofline.bandwidth_bytes_per_second;
  const ratios = kernels.map((kernel) => kernel.flops / kernel.under.fetch.bytes).concat(roofline.ridge_flops_per_byte);
  const low = Math.min(...ratios) / 2;
  const high = 20 * Math.max(...ratios);
  const points = PHASES.map((phase) => roofPoints(kernels, phase, model, high / 1.5, roofline))
                     .filter((trace) => trace.x.length > 0);
  const lowest = Math.min(...points.flatMap((trace) => trace.y));
  sizePoints(points, Math.max(...points.flatMap((trace) => trace.marker.size)));
  const ghosts = model === 'fetch' ? [] : [{
    type: 'scatter', mode: 'markers', name: 'as every kernel fetches', hoverinfo: 'skip',
    x: kernels.map((kernel) => kernel.flops / kernel.under.fetch.bytes),
    y: kernels.map((kernel) => kernel.flops / kernel.under.fetch.seconds),
    marker: {symbol: 'circle-open', color: cssColor('--quiet'), size: 5, opacity: 0.6},
  }];
  const flats = flatRoofs(kernels, roofline);
  const roofs = flats.map(([name, rate, style]) => roof(`roof of ${name}`, rate, bandwidth, low, high, style));
  const top = 2 * Math.max(...flats.map(([, rate]) => rate)), bottom = Math.min(lowest / 2, low * bandwidth);
  return {
    data: [...roofs, ...ghosts, ...points],
    layout: {
      legend: {itemsizing: 'constant'},
      xaxis: {type: 'log', title: {text: 'arithmetic intensity, FLOP per byte moved'}, range: [low, high].map(Math.log10),
              ...logTicks(low, high, 10, (value) => value >= 1 ? formatCount(value) : String(+value.toPrecision(1)))},
      yaxis: {type: 'log', title: {text: 'attained rate'}, range: [bottom, top].map(Math.log10),
              ...logTicks(bottom, top, 10, (value) => formatRate(value, 'FLOP'))},
      annotations: roofAnnotations(flats, roofline, low, high),
      shapes: [{type: 'line', x0: roofline.ridge_flops_per_byte, x1: roofline.ridge_flops_per_byte, y0: 0, y1: 1, yref: 'paper',
                line: {color: cssColor('--line'), width: 1, dash: 'dash'}}],
    },
  };
}

function addRoofline(view) {
  const {report, roofline} = view;
  const section = addSection('roofline', 'What bounds each kernel', 'Roofline');
  const plotted = view.kernels.filter((kernel) => kernel.flops > 0 && kernel.bytes > 0)
                      .sort((a, b) => b.seconds - a.seconds);
  const rest = view.kernels.filter((kernel) => !(kernel.flops > 0 && kernel.bytes > 0));
  const models = report.rooflines[view.device].traffic_models;
  const times = {fetch: models.every_kernel_fetches, lru: models.lru, managed: models.managed};
  section.append(element('p', {},
      'Under the sloped part of the roof a kernel waits for memory, under the flat part for arithmetic. Large points are ' +
      'where the time goes.'));
  let model = 'fetch';
  let chart = null;
  const choices = TRAFFIC.map(([word, text]) => [
    word, `${text}${word === 'fetch' ? '' : `, ${formatBytes(roofline.on_chip_bytes)} on chip`} ` +
        `(step ${formatSeconds(times[word].step_seconds)})`]);
  chart = addChart(section, {
    title: 'Roofline',
    caption: `${plural(plotted.length, 'kernel')} on ${roofline.display_name}; the area of a point is its time ` +
        `(the least size is ${SMALLEST_POINT} pixels). ` + (rest.length === 0 ? '' :
        `${plural(rest.length, 'kernel')} without known arithmetic (copies, lookups) cannot stand on logarithmic axes and ` +
        `take ${formatPercent(sum(rest.map((kernel) => kernel.seconds)) / roofline.step_seconds)} of the step.`),
    height: 560,
    controls: [radioGroup('Traffic:', choices, model, (chosen) => {
      model = chosen;
      drawChart(chart);
    })],
    draw: () => drawRoofline(plotted, roofline, model),
  });
}
