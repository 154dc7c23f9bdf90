// The page of 'audit': which devices a budget should buy.

const CHARTED_DEVICES = 24, HELPED_DEVICES = 12;

// Devices that do, best first, each with its best candidate; and what the second axis of the front is.
function auditRows(report) {
  return report.devices.map((device, rank) => ({...device, rank, best: device.best === null ? null : device.candidates[device.best]}));
}

function frontAxis(report) {
  return report.front.startsWith('cost') ?
      {name: 'cost', unit: 1, of: (row) => row.best.cost_usd, format: formatDollars} :
      {name: 'energy', unit: 3600, of: (row) => row.best.energy_joules, format: formatEnergy};
}

function samplesWords(report) { return `${round(formatCount(report.samples))} samples`; }

function candidateWords(candidate) {
  const zero = candidate.zero_stage > 0 ? `, ZeRO stage ${candidate.zero_stage}` : '';
  return `${plural(candidate.devices, 'device')}, ${candidate.precision}${zero}`;
}

function deviceHover(report, row) {
  const {best} = row;
  return hoverLines(row.display_name, candidateWords(best),
                    `${formatSeconds(best.seconds)} for ${samplesWords(report)}, ${threeDigits(best.samples_per_second)} a second`,
                    `batch ${best.runs.map((run) => run.batch.toLocaleString('en-US')).join(', ')} on each device`,
                    best.energy_joules === null ? '' : `at most ${formatEnergy(best.energy_joules)}`,
                    best.cost_usd === null ? '' : formatDollars(best.cost_usd),
                    `${formatPercent(best.memory_bound_share)} of the time is memory-bound`,
                    row.pareto_front ? 'On the Pareto front: no other is better in both.' : '');
}

function drawFront(report, rows) {
  const axis = frontAxis(report);
  const points = (chosen, name, marker) => ({
    type: 'scatter', mode: 'markers', name, x: chosen.map(axis.of), y: chosen.map((row) => row.best.seconds), hoverinfo: 'text',
    hovertext: chosen.map((row) => deviceHover(report, row)), marker,
  });
  const front = rows.filter((row) => row.pareto_front).sort((a, b) => axis.of(a) - axis.of(b));
  const others = rows.filter((row) => !row.pareto_front);
  const ink = cssColor('--ink');
  const values = rows.map(axis.of), times = rows.map((row) => row.best.seconds);
  const range = (numbers) => [Math.min(...numbers) / 2.5, Math.max(...numbers) * 1.7];
  const xs = range(values), ys = range(times);
  return {
    data: [
      {type: 'scatter', mode: 'lines', showlegend: false, x: front.map(axis.of), y: front.map((row) => row.best.seconds),
       line: {color: colors().vermillion, dash: 'dot', width: 1.5}, hoverinfo: 'skip'},
      points(others, 'other devices', {color: colors().blue, size: 9, opacity: 0.7}),
      points(front, 'Pareto front', {color: colors().vermillion, symbol: 'star', size: 15, line: {color: ink, width: 1}}),
    ],
    layout: {
      xaxis: {type: 'log', title: {text: `${axis.name} for ${samplesWords(report)}`}, range: xs.map(Math.log10), ...decimalTicks(xs, axis)},
      yaxis: {type: 'log', title: {text: `time for ${samplesWords(report)}`}, range: ys.map(Math.log10), ...timeLogTicks(ys)},
      annotations: front.map((row, index) => ({
        x: Math.log10(axis.of(row)), y: Math.log10(row.best.seconds), text: plain(shorten(row.device, 24)), ax: -36, ay: 8 + 20 * (index % 3),
        xanchor: 'right', arrowcolor: ink, arrowwidth: 1, arrowhead: 0, standoff: 8,
      })),
    },
  };
}

// 1, 2, 5, 10, ... units within a range of a logarithmic axis.
function decimalTicks([low, high], {unit, format}) {
  const wide = high / low > 300;
  const values = [];
  for (let power = Math.floor(Math.log10(low / unit)); power <= Math.log10(high / unit); ++power) {
    for (const digit of wide ? [1] : [1, 2, 5]) values.push(digit * 10 ** power * unit);
  }
  const shown = values.filter((value) => value >= low && value <= high);
  return {tickvals: shown, ticktext: shown.map((value) => round(format(value)))};
}

function drawRanking(report, rows) {
  const shown = rows.slice(0, CHARTED_DEVICES).reverse();
  const names = shown.map((row) => plain(row.device));
  const times = shown.map((row) => row.best.seconds);
  const ratio = (index) => shown.map((row, i) => row.best.prediction_error.measured_over_predicted[index] * times[i]);
  const [low, middle, high] = [0, 1, 2].map(ratio);
  const largest = Math.max(...high);
  const ticks = timeTicks(largest);
  return {
    data: [
      {type: 'bar', orientation: 'h', name: 'predicted', x: times, y: names, hoverinfo: 'text',
       hovertext: shown.map((row) => deviceHover(report, row)),
       marker: {color: shown.map((row) => row.pareto_front ? colors().vermillion : colors().blue)}, showlegend: false},
      {type: 'scatter', mode: 'markers', name: 'where eight in ten measured runs would be, and their median', x: middle, y: names, hoverinfo: 'skip',
       marker: {color: cssColor('--ink'), size: 6, symbol: 'line-ns-open'},
       error_x: {type: 'data', symmetric: false, array: high.map((value, i) => value - middle[i]), arrayminus: middle.map((value, i) => value - low[i]),
                 color: cssColor('--ink'), thickness: 1, width: 3}},
    ],
    layout: {bargap: 0.35, xaxis: {title: {text: `time for ${samplesWords(report)}`}, range: [0, largest * 1.03], ...ticks},
             yaxis: {type: 'category', tickfont: {size: 12}, range: [-0.6, shown.length - 0.4]}, margin: {t: 36}},
  };
}

const ELASTICITIES = [['compute', 'compute', 'blue'], ['bandwidth', 'bandwidth', 'vermillion'],
                      ['on_chip', 'on-chip memory', 'green'], ['memory', 'memory size', 'orange']];

function drawElasticity(rows) {
  const shown = rows.slice(0, HELPED_DEVICES).reverse();
  const names = shown.map((row) => plain(row.device));
  return {
    data: [...ELASTICITIES].reverse().map(([key, name, color]) => ({
      type: 'bar', orientation: 'h', name, y: names, hoverinfo: 'text',
      x: shown.map((row) => -100 * (row.best.elasticity?.[key] ?? 0)), marker: {color: colors()[color]},
      hovertext: shown.map((row) => {
        const change = row.best.elasticity?.[key] ?? null;
        return hoverLines(row.display_name, change === null ? `${name}: not known` :
            `10 % more ${name}: ${formatPercent(-change)} less time for a sample`);
      }),
    })),
    layout: {barmode: 'group', bargap: 0.25, margin: {t: 36}, legend: {traceorder: 'reversed'}, yaxis: {type: 'category', tickfont: {size: 12}},
             xaxis: {title: {text: 'time saved by 10 % more, %'}, rangemode: 'tozero'}},
  };
}

function auditColumns(report) {
  const of = (value) => (row) => row.best === null ? null : value(row.best);
  const column = (title, value, format, more = {}) => ({
    title, number: true, value: of(value), text: (row) => row.best === null || value(row.best) === null ? '-' : format(value(row.best)), ...more});
  return [
    {title: 'Rank', number: true, value: (row) => row.rank, text: (row) => String(row.rank + 1)},
    {title: 'Device', value: (row) => row.device, text: (row) => `${row.pareto_front ? '\u2605 ' : ''}${row.device}`, cell: (row) => row.pareto_front ? 'best' : ''},
    {title: 'Precision', value: (row) => row.best.precision, text: (row) => row.best.precision},
    column('Devices', (best) => best.devices, String), column('ZeRO', (best) => best.zero_stage, String, {hint: 'stage of ZeRO sharding'}),
    column('Batch', (best) => best.runs[0].batch, (batch) => batch.toLocaleString('en-US'), {hint: 'samples of a step on each device'}),
    column('Peak memory', (best) => Math.max(...best.runs.map((run) => run.peak_bytes)), formatBytes),
    column('Samples/s', (best) => best.samples_per_second, threeDigits), column('Memory-bound', (best) => best.memory_bound_share, formatPercent),
    column('Time', (best) => best.seconds, formatSeconds), column('Energy', (best) => best.energy_joules, formatEnergy, {hint: 'at rated power throughout: an upper bound'}),
    ...(report.devices.some((row) => row.candidates.some((one) => one.cost_usd !== null)) ? [column('Cost', (best) => best.cost_usd, formatDollars)] : []),
  ];
}

function auditGoal(report) {
  return [samplesWords(report), report.mode, report.deadline_seconds && `within ${formatSeconds(report.deadline_seconds)}`,
          report.budget_usd && `for at most ${formatDollars(report.budget_usd)}`].filter((word) => word).join(', ');
}

// "1.4 to 3.0": eight in ten measured times over predicted ones.
function ratiosWords(error) { return [0, 2].map((index) => error.measured_over_predicted[index].toFixed(1)).join(' to '); }

function addTrust(report, rows) {
  const section = addSection('trust', 'How far to trust it', 'Trust');
  const errors = new Map(rows.map((row) => [row.best.precision, row.best.prediction_error]));
  section.append(...[...errors].map(([precision, error]) => element('p', {},
      `${precision}: of ${error.measured_runs} measured runs the predictions were off by ${formatPercent(error.mean_error)} on average, nearly ` +
      `always too short; eight in ten took ${ratiosWords(error)} times the predicted time.`)),
      element('p', {}, `Peak memory: off by ${formatPercent(report.memory_error.mean_error)} on average over ` +
          `${report.memory_error.measured_runs} runs, always too low; a batch at the very limit will not fit a real allocator. ` +
          'Compare devices rather than hours.'));
}

function addAuditCharts(report, rows) {
  const axis = frontAxis(report);
  const priced = rows.filter((row) => axis.of(row) !== null);
  if (priced.length > 0) {
    const section = addSection('front', `Time against ${axis.name}`, 'Pareto front');
    addChart(section, {
      title: `Time against ${axis.name}`, height: 520, draw: () => drawFront(report, priced),
      caption: 'Down and to the left is better. Devices with a star are on the Pareto front: no other is better in both.' +
          (priced.length === rows.length ? '' : ` ${plural(rows.length - priced.length, 'device')} of unknown ${axis.name} cannot stand here.`),
    });
  }
  const fastest = [...rows].sort((a, b) => a.best.seconds - b.best.seconds);
  const ranking = addSection('ranking', 'Time by device', 'Ranking');
  addChart(ranking, {
    title: 'Time by device', height: 90 + 24 * Math.min(rows.length, CHARTED_DEVICES), draw: () => drawRanking(report, fastest),
    caption: `The ${Math.min(rows.length, CHARTED_DEVICES)} fastest. Bars are predictions, lower bounds; the whiskers say how ` +
        'much longer measured runs took than such predictions.',
  });
  const help = addSection('help', 'What would help', 'What would help');
  help.append(element('p', {}, 'What to pay for: the time that 10 % more of a resource saves.'));
  addChart(help, {
    title: 'What 10 % more would save', height: 120 + 52 * Math.min(rows.length, HELPED_DEVICES), draw: () => drawElasticity(rows),
    caption: `The ${Math.min(rows.length, HELPED_DEVICES)} best devices. On-chip memory as an LRU cache sees it; memory size by the larger batch that it takes.`,
  });
}

function showAudit(report) {
  const all = auditRows(report), rows = all.filter((row) => row.best !== null), dropped = all.filter((row) => row.best === null);
  const title = report.models.map((model) => baseName(model.file) + (report.models.length > 1 ? ` (${formatPercent(model.weight)})` : '')).join(', ');
  addTitle(`Devices for ${title}`, auditGoal(report));
  const summary = addSection('summary', 'Verdict');
  if (rows.length === 0) {
    summary.append(element('p', {class: 'verdict bad'}, `None of ${plural(all.length, 'device')} can do it.`));
  } else {
    const [first] = rows, axis = frontAxis(report), front = rows.filter((row) => row.pareto_front);
    summary.append(
        element('p', {class: 'verdict'}, `${rows.length} of ${plural(all.length, 'device')} can do it. Ranked first is ${first.display_name} ` +
            `(${candidateWords(first.best)}): ${formatSeconds(first.best.seconds)} at least. ` + (front.length === 0 ? '' :
            `No other is better in both ${axis.name} and time than ${front.map((row) => row.display_name).join(', ')}.`)),
        tiles([
          {name: 'First', number: first.device, note: candidateWords(first.best)},
          {name: 'Time, at least', number: formatSeconds(first.best.seconds),
           note: `measured runs took ${ratiosWords(first.best.prediction_error)} times as long`},
          {name: axis.name === 'cost' ? 'Cost' : 'Energy, at most', number: axis.format(axis.of(first)),
           note: axis.of(first) === null ? 'not known of this device' : axis.name === 'cost' ? 'US dollars' : 'at rated power throughout'},
          {name: 'Waiting for memory', number: formatPercent(first.best.memory_bound_share), note: 'of the time, memory-bound kernels'},
          {name: 'Devices that can', number: `${rows.length} of ${all.length}`, note: dropped.length > 0 ? `${dropped.length} fall out` : ''},
        ]));
    summary.append(notesList(report.notes) ?? '');
    addAuditCharts(report, rows);
    const table = addSection('devices', 'Every device', 'Devices');
    addTable(table, {
      caption: 'Devices that can do it; a star: no other is better in both', columns: auditColumns(report), rows: [...rows], sort: [0, false],
      search: (row) => `${row.device} ${row.display_name}`,
      filters: [{label: 'Precision', value: (row) => row.best.precision}, {label: 'Pareto front', value: (row) => row.pareto_front ? 'yes' : 'no'}],
    });
  }
  if (dropped.length > 0) {
    const section = addSection('dropped', 'Fallen out');
    addTable(section, {
      caption: 'Devices that cannot, and why', rows: dropped, search: (row) => `${row.device} ${row.dropped}`,
      columns: [{title: 'Device', value: (row) => row.device, text: (row) => row.display_name}, {title: 'Why', value: (row) => row.dropped, text: (row) => row.dropped}],
    });
  }
  addTrust(report, rows);
}
