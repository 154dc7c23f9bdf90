// The page of 'sweep': the step at every point of a grid of designs.

const DESIGN_AXES = [
  {key: 'capacity_bytes', label: 'on-chip memory', short: 'On chip', format: formatBytes},
  {key: 'bandwidth_bytes_per_second', label: 'off-chip bandwidth', short: 'Bandwidth', format: (value) => formatRate(value, 'B')},
  {key: 'throughput_flops_per_second', label: 'throughput of matrix products', short: 'Throughput', format: (value) => formatRate(value, 'FLOP')},
  {key: 'batch', label: 'samples per step', short: 'Batch', format: (value) => value.toLocaleString('en-US')},
  {key: 'precision', label: 'precision', short: 'Precision', format: String, words: true},
  {key: 'policy', label: 'policy', short: 'Policy', format: String, words: true},
];
const DESIGN_METRICS = [
  {key: 'step_seconds', label: 'step time', format: formatSeconds},
  {key: 'stall_seconds', label: 'stalls', format: formatSeconds},
  {key: 'prefetch_step_seconds', label: 'step time with transfers ahead of use', format: formatSeconds},
  {key: 'tiled_step_seconds', label: 'step time with kernels in tiles', format: formatSeconds},
  {key: 'traffic_bytes', label: 'traffic', format: formatBytes},
  {key: 'average_bandwidth_bytes_per_second', label: 'average bandwidth', format: (value) => formatRate(value, 'B')},
  {key: 'compute_utilization', label: 'compute utilization', format: formatPercent, more: true},
  {key: 'buffer_bytes', label: 'buffer in use', format: formatBytes},
  {key: 'energy_joules', label: 'energy at rated power', format: (value) => `${threeDigits(value)} J`},
  {key: 'cost', label: 'cost', format: threeDigits},
];
const POLICY_COLORS = {none: 'gray', lru: 'vermillion', managed: 'blue'};
const CURVES = 7, DRAWN_DESIGNS = 4000;

function distinct(rows, key) {
  return [...new Set(rows.map((row) => row[key]))].sort((a, b) => typeof a === 'number' ? a - b : a.localeCompare(b));
}

// The axes with their values, and which value of each is looked at; the middle one at first.
class DesignChoice {
  constructor(report) {
    this.points = report.points;
    this.axes = DESIGN_AXES.map((axis) => ({...axis, values: distinct(report.points, axis.key)}));
    this.at = Object.fromEntries(this.axes.map((axis) => [axis.key, axis.values[Math.floor(axis.values.length / 2)]]));
  }
  axis(key) { return this.axes.find((axis) => axis.key === key); }
  many() { return this.axes.filter((axis) => axis.values.length > 1); }
  // Points with the chosen values, but for the axes in `free`.
  plane(free) {
    const fixed = this.axes.filter((axis) => axis.values.length > 1 && !free.includes(axis.key));
    return this.points.filter((point) => fixed.every((axis) => point[axis.key] === this.at[axis.key]));
  }
  words(free) {
    return this.axes.filter((axis) => !free.includes(axis.key)).map((axis) =>
      axis.key === 'batch' ? `batch ${axis.format(this.at.batch)}` : axis.words ? this.at[axis.key] : axis.format(this.at[axis.key])).join(', ');
  }
  boxes(free, changed) {
    return this.many().filter((axis) => !free.includes(axis.key)).map((axis) => selectBox(
        axis.short, axis.values.map((value, index) => [index, axis.format(value)]), axis.values.indexOf(this.at[axis.key]), (index) => {
          this.at[axis.key] = axis.values[Number(index)];
          changed();
        }));
  }
}

// What tells one device from another; batch and precision are the work's.
const OF_A_DEVICE = ['capacity_bytes', 'bandwidth_bytes_per_second', 'throughput_flops_per_second', 'policy'];

// Where a value stands among ascending ones, in steps of a logarithmic axis; null outside of them.
function logPosition(values, value) {
  if (value < values[0] || value > values.at(-1)) return null;
  const after = values.findIndex((one) => one >= value);
  if (after <= 0 || values[after - 1] <= 0) return Math.max(after, 0);
  return after - 1 + Math.log(value / values[after - 1]) / Math.log(values[after] / values[after - 1]);
}

function categoryAxis(axis) {
  const every = Math.ceil(axis.values.length / 10);
  const shown = [...axis.values.keys()].filter((index) => index % every === 0);
  return {title: {text: axis.label}, tickvals: shown, ticktext: shown.map((index) => round(axis.format(axis.values[index]))), showgrid: false,
          range: [-0.5, axis.values.length - 0.5], zeroline: false};
}

// Dark is good: a short time, a high utilization.
function mapScale(metric) {
  const scale = [[0, '#08306b'], [0.25, '#2b7bba'], [0.5, '#79b9d9'], [0.75, '#c6dcef'], [1, '#f3f8fd']];
  return metric.more ? scale.map(([at], index) => [at, scale.at(-1 - index)[1]]) : scale;
}

function drawMap(choice, [across, up], metric, base) {
  const x = choice.axis(across), y = choice.axis(up);
  const at = new Map(choice.plane([across, up]).map((point) => [`${point[across]}|${point[up]}`, point]));
  const rows = y.values.map((vertical) => x.values.map((horizontal) => at.get(`${horizontal}|${vertical}`) ?? null));
  const values = rows.flat().map((point) => point?.[metric.key] ?? null).filter((value) => value !== null);
  // Times and bytes differ by factors, so their colours do.
  const ratio = values.length > 0 && Math.min(...values) > 0 && !metric.more;
  const color = (value) => value === null || value === undefined ? null : ratio ? Math.log10(value) : value;
  const ends = values.length === 0 ? [] : [Math.min(...values), Math.max(...values)];
  const texts = rows.map((row) => row.map((point) => point === null ? '' : hoverLines(
      `${metric.label}: ${point[metric.key] === null ? 'not known' : metric.format(point[metric.key])}`,
      `${x.label} ${x.format(point[across])}`, `${y.label} ${y.format(point[up])}`,
      `step ${formatSeconds(point.step_seconds)}, ${formatPercent(point.memory_bound_seconds / point.step_seconds)} of it memory-bound`,
      `traffic ${formatBytes(point.traffic_bytes)}`)));
  const star = [logPosition(x.values, base[across] ?? -1), logPosition(y.values, base[up] ?? -1)];
  const data = [{
    type: 'heatmap', z: rows.map((row) => row.map((point) => color(point?.[metric.key]))), text: texts, hoverinfo: 'text', xgap: 1, ygap: 1,
    colorscale: mapScale(metric),
    colorbar: {title: {text: metric.label, side: 'right'}, thickness: 14, tickvals: ends.map(color), ticktext: ends.map(metric.format)},
  }];
  if (rows.flat().length <= 150) {
    const dark = (value) => { const part = (color(value) - color(ends[0])) / ((color(ends[1]) - color(ends[0])) || 1); return (metric.more ? 1 - part : part) < 0.45; };
    data.push({type: 'scatter', mode: 'text', hoverinfo: 'skip', showlegend: false, x: rows.flatMap((row) => [...row.keys()]),
               y: rows.flatMap((row, index) => row.map(() => index)),
               text: rows.flat().map((point) => point === null || point[metric.key] === null ? '' : metric.format(point[metric.key])),
               textfont: {size: 11, color: rows.flat().map((point) => point !== null && dark(point[metric.key]) ? '#ffffff' : '#1a1d21')}});
  }
  if (star[0] !== null && star[1] !== null) {
    data.push({type: 'scatter', mode: 'markers', name: base.display_name, x: [star[0]], y: [star[1]], hoverinfo: 'text', showlegend: false,
               hovertext: [hoverLines(base.display_name, 'stands here')],
               marker: {symbol: 'star', size: 18, color: colors().yellow, line: {width: 1.5, color: '#1a1d21'}}});
  }
  return {data, layout: {margin: {t: 20}, xaxis: categoryAxis(x), yaxis: categoryAxis(y)}};
}

// What arrow keys say of a heat map: its cells have texts row by row.
function mapPoints(plot) { return plot.data[0].text.flatMap((row, y) => row.map((text, x) => ({curveNumber: 0, pointNumber: [y, x], text}))); }

function addMap(report, choice) {
  const axes = choice.many().filter((axis) => !axis.words).map((axis) => axis.key);
  if (axes.length === 0) return;
  const section = addSection('map', 'The grid', 'Grid');
  const pairs = axes.flatMap((one, index) => axes.slice(index + 1).map((other) => [other, one]));
  let pair = pairs[0] ?? [axes[0], DESIGN_AXES.map((axis) => axis.key).find((key) => key !== axes[0])];
  const metrics = DESIGN_METRICS.filter((metric) => report.points.some((point) => point[metric.key] !== null));
  let metric = metrics[0], chart = null;
  const boxes = element('div', {class: 'controls'});
  const refill = () => boxes.replaceChildren(...choice.boxes(pair, () => drawChart(chart)));
  section.append(boxes);
  chart = addChart(section, {
    title: 'Heat map of the grid', height: choice.axis(pair[1]).values.length < 3 ? 240 : 540, points: mapPoints,
    caption: 'One cell a design; dark is good. The star is the device that the rest is taken from, where it lies within the axes.',
    controls: [
      selectBox('Show', metrics.map((one, index) => [index, one.label]), 0, (index) => {
        metric = metrics[Number(index)];
        drawChart(chart);
      }),
      pairs.length < 2 ? '' : selectBox('Over', pairs.map(([across, up], index) => [index, `${choice.axis(up).label} and ${choice.axis(across).label}`]), 0, (index) => {
        pair = pairs[Number(index)];
        refill();
        drawChart(chart);
      })],
    draw: () => drawMap(choice, pair, metric, report.base_device),
  });
  refill();
}

// Round times that a plane's points span, without its ends.
function isoLevels(points) {
  const times = points.map((point) => point.step_seconds), low = Math.min(...times), high = Math.max(...times);
  const levels = [...Array(CURVES).keys()].map((index) => low * (high / low) ** ((index + 1) / (CURVES + 1)));
  return [...new Set(levels.map((level) => Number(level.toPrecision(2))))].filter((level) => level > low && level < high);
}

// The bandwidth with which a row of points (one capacity, bandwidths ascending) takes `seconds`, between two of them.
function bandwidthFor(row, seconds) {
  for (let index = 1; index < row.length; ++index) {
    const [slow, fast] = [row[index - 1], row[index]];
    if (slow.step_seconds < seconds || fast.step_seconds > seconds) continue;
    const share = slow.step_seconds === fast.step_seconds ? 0 :
        Math.log(seconds / slow.step_seconds) / Math.log(fast.step_seconds / slow.step_seconds);
    return slow.bandwidth_bytes_per_second * (fast.bandwidth_bytes_per_second / slow.bandwidth_bytes_per_second) ** share;
  }
  return null;
}

function curveTrace(name, at, style) {
  const points = at.filter((point) => point.bandwidth !== null && point.capacity > 0);
  return {type: 'scatter', mode: 'lines+markers', name, x: points.map((point) => point.capacity), y: points.map((point) => point.bandwidth), hoverinfo: 'text',
          hovertext: points.map((point) => hoverLines(`${name} a step`, `${formatBytes(point.capacity)} on chip with ${formatRate(point.bandwidth, 'B')}`)), ...style};
}

function drawCurves(report, choice) {
  const free = ['capacity_bytes', 'bandwidth_bytes_per_second'];
  const plane = choice.plane(free), capacities = choice.axis('capacity_bytes').values;
  const rows = new Map(capacities.map((capacity) => [capacity, plane.filter((point) => point.capacity_bytes === capacity)
      .sort((a, b) => a.bandwidth_bytes_per_second - b.bandwidth_bytes_per_second)]));
  const levels = isoLevels(plane);
  const traces = levels.map((seconds, index) => curveTrace(
      formatSeconds(seconds), capacities.map((capacity) => ({capacity, bandwidth: bandwidthFor(rows.get(capacity), seconds)})),
      {line: {width: 2, color: `hsl(${205 + 5 * index}, 70%, ${isDark() ? 80 - 5 * index : 25 + 7 * index}%)`}, marker: {size: 5}}));
  const base = report.iso_performance.filter((point) => ['batch', 'precision', 'policy', 'throughput_flops_per_second'].every(
      (key) => point[key] === choice.at[key]));
  if (base.length > 0) {
    traces.push(curveTrace(`${formatSeconds(base[0].step_seconds)}, as ${report.base_device.display_name}`, base.map((point) => (
        {capacity: point.capacity_bytes, bandwidth: point.bandwidth_bytes_per_second})),
        {line: {width: 3, color: colors().vermillion}, marker: {size: 8, symbol: 'diamond'}}));
  }
  const drawn = traces.filter((trace) => trace.x.length > 0);
  const x = drawn.flatMap((trace) => trace.x), y = drawn.flatMap((trace) => trace.y);
  const [left, right, low, high] = [Math.min(...x) / 1.3, Math.max(...x) * 1.3, Math.min(...y) / 1.3, Math.max(...y) * 1.3];
  return {
    data: drawn,
    layout: {margin: {t: 30}, showlegend: true, legend: {y: -0.16, yanchor: 'top'},
             xaxis: {type: 'log', title: {text: 'on-chip memory'}, range: [left, right].map(Math.log10), ...logTicks(left, right, 2, formatBytes, 11)},
             yaxis: {type: 'log', title: {text: 'off-chip bandwidth'}, range: [low, high].map(Math.log10),
                     ...decadeTicks(low, high, (value) => formatRate(value, 'B'))}},
  };
}

function addCurves(report, choice) {
  const free = ['capacity_bytes', 'bandwidth_bytes_per_second'];
  if (free.some((key) => choice.axis(key).values.length < 2)) return;
  const section = addSection('curves', 'Designs that are equally fast', 'Equally fast');
  const chart = addChart(section, {
    title: 'Iso-performance curves', height: 560, controls: choice.boxes(free, () => drawChart(chart)),
    caption: `Along a curve the step takes the same time: less memory on chip takes more bandwidth. The diamonds are as fast as ${report.base_device.display_name} ` +
        'with its own memory on chip and bandwidth, computed exactly; the other curves lie between points of the grid.',
    draw: () => drawCurves(report, choice),
  });
}

function drawKnees(report, choice) {
  const chosen = report.knees.filter((knee) => knee.batch === choice.at.batch && knee.precision === choice.at.precision && knee.capacity_bytes > 0);
  const traces = distinct(chosen, 'policy').map((policy) => {
    const rows = chosen.filter((knee) => knee.policy === policy), color = colors()[POLICY_COLORS[policy]];
    return {
      type: 'scatter', mode: 'lines+markers', name: policy, x: rows.map((row) => row.capacity_bytes), y: rows.map((row) => row.traffic_bytes),
      hoverinfo: 'text', line: {color, width: 2},
      hovertext: rows.map((row) => hoverLines(
          `${formatBytes(row.capacity_bytes)} on chip, ${policy}`, `traffic ${formatBytes(row.traffic_bytes)}, ${formatBytes(row.saved_bytes)} less than before`,
          row.scope === null ? '' : `mostly ${row.scope} reuse (${formatPercent(row.scope_share)}): ${SCOPE_MEANING[row.scope]}`, row.knee ? 'A knee.' : '')),
      marker: {color: rows.map((row) => row.knee && row.scope !== null ? colors()[SCOPE_COLORS[row.scope]] : color), size: rows.map((row) => row.knee ? 15 : 6),
               symbol: rows.map((row) => row.knee ? 'diamond' : 'circle'), line: {color, width: 1}},
    };
  });
  const x = chosen.map((knee) => knee.capacity_bytes), top = 1.08 * Math.max(...chosen.map((knee) => knee.traffic_bytes));
  const [left, right] = [Math.min(...x) / 1.3, Math.max(...x) * 1.3];
  const label = (knee) => ({x: Math.log10(knee.capacity_bytes), y: knee.traffic_bytes, text: knee.scope, showarrow: false, yshift: knee.policy === 'managed' ? -16 : 16,
                            xanchor: knee.policy === 'managed' ? 'right' : 'left'});
  return {
    data: traces,
    layout: {margin: {t: 40}, showlegend: true, annotations: chosen.filter((knee) => knee.knee && knee.scope !== null).map(label),
             xaxis: {type: 'log', title: {text: 'on-chip memory'}, range: [left, right].map(Math.log10), ...logTicks(left, right, 2, formatBytes, 11)},
             yaxis: {title: {text: 'traffic of a step'}, range: [0, top], ...byteTicks(top)}},
  };
}

function capturedShare(row) { return row.captured_bytes / row.reusable_bytes; }

function drawCaptured(report, choice) {
  const chosen = report.captured_reuse.filter((row) => row.batch === choice.at.batch && row.precision === choice.at.precision && row.capacity_bytes > 0);
  const x = chosen.map((row) => row.capacity_bytes), [left, right] = [Math.min(...x) / 1.3, Math.max(...x) * 1.3];
  return {
    data: [...new Set(chosen.map((row) => row.scope))].map((scope) => {
      const rows = chosen.filter((row) => row.scope === scope), color = colors()[SCOPE_COLORS[scope]];
      return {type: 'scatter', mode: 'lines+markers', name: scope, x: rows.map((row) => row.capacity_bytes), y: rows.map(capturedShare), hoverinfo: 'text',
              line: {color, width: 2}, marker: {color, size: 7},
              hovertext: rows.map((row) => hoverLines(`${formatBytes(row.capacity_bytes)} on chip: ${formatPercent(capturedShare(row))} of ${scope} reuse`,
                  `${formatBytes(row.captured_bytes)} of ${formatBytes(row.reusable_bytes)}`, SCOPE_MEANING[scope]))};
    }),
    layout: {margin: {t: 40}, showlegend: true,
             xaxis: {type: 'log', title: {text: 'on-chip memory'}, range: [left, right].map(Math.log10), ...logTicks(left, right, 2, formatBytes, 11)},
             yaxis: {title: {text: 'captured'}, range: [-0.02, 1.05], tickformat: '.0%'}},
  };
}

function addKnees(report, choice) {
  if (choice.axis('capacity_bytes').values.length < 2) return;
  const section = addSection('knees', 'What a capacity captures', 'Knees');
  const chart = addChart(section, {
    title: 'Traffic over capacity', height: 440, controls: choice.boxes(OF_A_DEVICE, () => [chart, captured].forEach(drawChart)),
    caption: 'A diamond is a knee: this step of the axis saves more than the steps beside it. It has the colour of the reuse scope that gains most there.',
    draw: () => drawKnees(report, choice),
  });
  const captured = addChart(section, {
    title: 'Reuse captured by scope', height: 380, draw: () => drawCaptured(report, choice),
    caption: 'Of the traffic that the reuse at a scope could save, what an LRU memory of the capacity saves.',
  });
  addTable(section, {
    caption: 'Saves: against the row of the next smaller capacity', rows: report.knees, pageSize: 15,
    filters: [{label: 'Policy', value: (row) => row.policy}, {label: 'Batch', value: (row) => String(row.batch)}],
    columns: [
      {title: 'Batch', number: true, value: (row) => row.batch, text: (row) => row.batch.toLocaleString('en-US')},
      {title: 'Precision', value: (row) => row.precision, text: (row) => row.precision},
      {title: 'Policy', value: (row) => row.policy, text: (row) => row.policy},
      {title: 'On chip', number: true, value: (row) => row.capacity_bytes, text: (row) => formatBytes(row.capacity_bytes)},
      {title: 'Traffic', number: true, value: (row) => row.traffic_bytes, text: (row) => formatBytes(row.traffic_bytes)},
      {title: 'Saves', number: true, value: (row) => row.saved_bytes, text: (row) => formatBytes(row.saved_bytes)},
      {title: 'Mostly', value: (row) => row.scope, text: (row) => row.scope === null ? '-' : `${row.scope}, ${formatPercent(row.scope_share)}`},
      {title: 'Knee', value: (row) => row.knee ? 0 : 1, text: (row) => row.knee ? 'knee' : ''},
    ],
  });
}

function designHover(point) {
  return hoverLines(`${formatSeconds(point.step_seconds)} a step, cost ${threeDigits(point.cost)}`,
                    `${formatBytes(point.capacity_bytes)} on chip (${point.policy}), ${formatRate(point.bandwidth_bytes_per_second, 'B')}, ` +
                        formatRate(point.throughput_flops_per_second, 'FLOP'), `batch ${point.batch}, ${point.precision}`);
}

function drawDesignFront(points) {
  const front = points.filter((point) => point.on_front).sort((a, b) => a.cost - b.cost);
  const rest = points.filter((point) => !point.on_front), every = Math.ceil(rest.length / DRAWN_DESIGNS);
  const drawn = rest.filter((_, index) => index % every === 0);
  const times = points.map((point) => point.step_seconds), low = Math.min(...times) / 1.2, high = 1.2 * Math.max(...times);
  return {
    data: [
      {type: 'scatter', mode: 'markers', name: 'beaten', x: drawn.map((point) => point.cost), y: drawn.map((point) => point.step_seconds), hoverinfo: 'text',
       text: drawn.map(designHover), marker: {size: 5, color: colors().gray, opacity: 0.5}},
      {type: 'scatter', mode: 'lines+markers', name: 'nobody is both cheaper and faster', x: front.map((point) => point.cost), y: front.map((point) => point.step_seconds),
       hoverinfo: 'text', hovertext: front.map(designHover), line: {shape: 'hv', color: colors().blue, width: 2}, marker: {size: 9, symbol: 'diamond'}}],
    layout: {margin: {t: 40}, showlegend: true, xaxis: {title: {text: 'cost, by the weights given'}, rangemode: 'tozero'},
             yaxis: {type: 'log', title: {text: 'step time'}, range: [low, high].map(Math.log10), ...decadeTicks(low, high, formatSeconds)}},
  };
}

function addDesignFront(report, choice) {
  if (!report.points.some((point) => point.on_front)) return;
  const section = addSection('front', 'Cost and time', 'Pareto front');
  const chart = addChart(section, {
    title: 'Pareto front of cost and time', height: 460, controls: choice.boxes(OF_A_DEVICE, () => drawChart(chart)),
    caption: 'What nobody beats in cost and time at once is blue.' +
        (report.points.length > DRAWN_DESIGNS ? ' Of many beaten designs a part is drawn.' : ''),
    draw: () => drawDesignFront(choice.plane(OF_A_DEVICE)),
  });
}

function addDesigns(report, choice) {
  const section = addSection('points', 'All designs', 'Designs');
  const metrics = DESIGN_METRICS.filter((metric) => report.points.some((point) => point[metric.key] !== null));
  addTable(section, {
    caption: 'A row a design', rows: report.points, sort: null,
    filters: [...choice.axes.map((axis) => ({label: axis.short, value: (row) => axis.format(row[axis.key])})),
              {label: 'Pareto front', value: (row) => row.on_front ? 'yes' : 'no'}],
    columns: [...choice.axes, ...metrics.map((metric) => ({...metric, short: metric.label}))].map((column) => ({
      title: column.short[0].toUpperCase() + column.short.slice(1), number: !column.words, value: (row) => row[column.key], text: (row) => row[column.key] === null ? '-' : column.format(row[column.key]),
    })),
  });
}

function showDesigns(report) {
  const choice = new DesignChoice(report), base = report.base_device;
  addTitle(`Designs for ${baseName(report.model)}`, `${plural(report.points.length, 'point')}${report.complete ? '' : ' (stopped before the rest)'} around ` +
      `${base.display_name}: ${formatBytes(base.capacity_bytes)} on chip, ${formatRate(base.bandwidth_bytes_per_second, 'B')}`);
  addSection('summary', 'Verdict').append(...report.verdict.map((sentence) => element('p', {class: 'verdict'}, sentence)), notesList(report.notes) ?? '');
  if (report.points.length === 0) return;
  addMap(report, choice);
  addCurves(report, choice);
  addKnees(report, choice);
  addDesignFront(report, choice);
  addDesigns(report, choice);
}
