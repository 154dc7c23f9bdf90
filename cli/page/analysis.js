// The page of 'analyze'.

function stepWords(report) {
  const {settings} = report;
  const what = settings.mode === 'training' ? 'Training step' : 'Inference';
  return [`${what} of ${plural(settings.batch, 'sample')}`, settings.precision,
          settings.optimizer && `optimizer ${settings.optimizer}`,
          `${formatCount(report.model.parameters)} parameters`.replace('  ', ' ')].filter((word) => word).join(', ');
}

function coverageWarning(report) {
  const {unknown_operators: unknown} = report.coverage;
  if (unknown.length === 0) return null;
  return element('p', {class: 'warning'}, 'Without a rule, so the FLOPs and the time of these are missing from every number here: ' +
      unknown.map((op) => `${op.op} (${plural(op.nodes, 'node')}, for example ${op.example})`).join(', ') + '.');
}

function analysisTiles(view) {
  const {report, roofline} = view, {memory, totals} = report;
  const fits = roofline === null || roofline.fits === null ? {note: 'no device to fit in'} : roofline.fits ?
      {note: `\u2713 fits in ${formatBytes(roofline.memory_bytes)}`, state: 'good'} :
      {note: `\u2717 does not fit in ${formatBytes(roofline.memory_bytes)}`, state: 'bad'};
  const time = roofline === null ? [] : [
    {name: 'Step time, at least', number: formatSeconds(roofline.step_seconds), note: `on ${roofline.display_name}`},
    {name: 'Throughput, at most', number: `${threeDigits(roofline.samples_per_second)} /s`, note: 'samples a second'},
    {name: 'Waiting for memory', number: formatPercent(roofline.memory_bound_share), note: 'of the time, memory-bound kernels'},
  ];
  return tiles([
    ...time, {name: 'Peak memory', number: formatBytes(memory.peak_bytes), ...fits},
    {name: 'Step work', number: `${formatCount(totals.step.flops)}FLOP`, note: plural(totals.step.kernels, 'kernel')},
    {name: 'Step traffic', number: formatBytes(totals.step.bytes), note: 'if every kernel fetches its operands'},
  ]);
}

function drawHelp(remedies) {
  const rows = [...remedies].reverse();
  return {
    data: [{type: 'bar', orientation: 'h', x: rows.map((row) => 100 * row.saved), y: rows.map((row) => row.name),
            text: rows.map((row) => ` ${formatPercent(row.saved)} less, ${formatSeconds(row.seconds)} a step`), textposition: 'outside',
            cliponaxis: false, marker: {color: colors().blue}, hoverinfo: 'text',
            hovertext: rows.map((row) => hoverLines(row.name, `${formatSeconds(row.seconds)} a step`, row.why))}],
    layout: {margin: {t: 12, r: 40}, yaxis: {showgrid: false}, xaxis: {title: {text: 'time saved, %'}, range: [0, 100], showgrid: false}, bargap: 0.4},
  };
}

function addHelp(section, view) {
  const {roofline} = view;
  if (roofline === null || roofline.step_seconds === 0) return;
  const remedy = (name, seconds, why) => ({name, seconds, saved: 1 - seconds / roofline.step_seconds, why});
  const remedies = [
    remedy('twice the bandwidth', roofline.step_seconds_with_twice_bandwidth, 'Shortens kernels that wait for memory.'),
    remedy('twice the compute', roofline.step_seconds_with_twice_compute, 'Shortens kernels that wait for arithmetic.'),
    remedy(`keep what is reused on chip`, roofline.traffic_models.managed.step_seconds,
           `Its ${formatBytes(roofline.on_chip_bytes)} of on-chip memory, managed by software: the most that fusion could get.`),
  ].sort((a, b) => b.saved - a.saved);
  section.append(element('h3', {}, 'What would help'));
  addChart(section, {title: 'What would help', height: 210, caption: `Time of a step now: ${formatSeconds(roofline.step_seconds)}.`,
                     draw: () => drawHelp(remedies)});
}

function addPhases(section, view) {
  const {report, roofline} = view;
  const rows = [...PHASES, 'step'].map((phase) => ({
    phase, ...report.totals[phase], time: phase === 'step' ? roofline?.step_seconds : roofline?.phases[phase].seconds,
    waiting: phase === 'step' ? roofline?.step_seconds * roofline?.memory_bound_share : roofline?.phases[phase].memory_bound_seconds,
  })).filter((row) => row.kernels > 0);
  const columns = [
    {title: 'Phase', value: (row) => row.phase, text: (row) => row.phase, cell: (row) => row.phase === 'step' ? 'total' : ''},
    {title: 'Kernels', number: true, value: (row) => row.kernels, text: (row) => row.kernels.toLocaleString('en-US')},
    {title: 'FLOPs', number: true, value: (row) => row.flops, text: (row) => formatCount(row.flops)},
    {title: 'Bytes', number: true, value: (row) => row.bytes, text: (row) => formatBytes(row.bytes)},
    {title: 'FLOP/B', number: true, value: (row) => row.flops / row.bytes, text: (row) => threeDigits(row.flops / row.bytes)},
  ];
  if (roofline !== null) {
    columns.push(
        {title: 'Time', number: true, value: (row) => row.time, text: (row) => formatSeconds(row.time)},
        {title: 'Share', number: true, value: (row) => row.time, text: (row) => formatPercent(row.time / roofline.step_seconds)},
        {title: 'Memory-bound', number: true, hint: 'share of its time in kernels that wait for memory',
         value: (row) => row.waiting / row.time, text: (row) => formatPercent(row.time > 0 ? row.waiting / row.time : 0)});
  }
  section.append(element('h3', {}, 'The step by phases'));
  addTable(section, {caption: 'Work and time of each phase', columns, rows});
}

function addDevicesTable(section, report) {
  if (report.rooflines.length < 2) return;
  section.append(element('h3', {}, 'Devices'));
  addTable(section, {
    caption: 'The same step on each device', rows: report.rooflines, sort: [1, false],
    columns: [
      {title: 'Device', value: (row) => row.display_name, text: (row) => row.display_name},
      {title: 'Time of a step', number: true, value: (row) => row.step_seconds, text: (row) => formatSeconds(row.step_seconds)},
      {title: 'Samples/s', number: true, value: (row) => row.samples_per_second, text: (row) => threeDigits(row.samples_per_second)},
      {title: 'Memory-bound', number: true, value: (row) => row.memory_bound_share, text: (row) => formatPercent(row.memory_bound_share)},
      {title: 'Memory', number: true, value: (row) => row.memory_bytes, text: (row) => formatBytes(row.memory_bytes)},
      {title: 'Fits', value: (row) => String(row.fits), text: (row) => row.fits === null ? '-' : row.fits ? '\u2713 yes' : '\u2717 no',
       cell: (row) => row.fits === null ? '' : row.fits ? 'good' : 'bad'},
    ],
  });
}

function addLayers(view) {
  const {kernels, roofline} = view;
  const section = addSection('layers', 'Every kernel', 'Kernels');
  section.append(element('p', {}, 'In the order in which they run under #. Click a heading to sort.'));
  const columns = [
    {title: '#', number: true, value: (row) => row.index, text: (row) => String(row.index + 1)},
    {title: 'Layer', value: (row) => row.title, text: (row) => row.title, cell: () => 'name'},
    {title: 'Operator', value: (row) => row.op, text: (row) => row.op.replace('reusescope::', '')},
    {title: 'Phase', value: (row) => PHASES.indexOf(row.phase), text: (row) => row.gradient ? `${row.phase} ${row.gradient}` : row.phase},
    {title: 'FLOPs', number: true, value: (row) => row.flops, text: (row) => formatCount(row.flops)},
    {title: 'Bytes', number: true, value: (row) => row.bytes, text: (row) => formatBytes(row.bytes)},
    {title: 'FLOP/B', number: true, hint: 'arithmetic intensity', value: (row) => row.intensity,
     text: (row) => row.intensity === null ? '-' : threeDigits(row.intensity)},
  ];
  const filters = [{label: 'Phase', value: (row) => row.phase}, {label: 'Operator', value: (row) => row.op}];
  if (roofline !== null) {
    columns.push({title: 'Time', number: true, value: (row) => row.seconds, text: (row) => formatSeconds(row.seconds)},
                 {title: 'Share', number: true, value: (row) => row.seconds, text: (row) => formatPercent(row.seconds / roofline.step_seconds)},
                 {title: 'Bound by', value: (row) => row.bound, text: (row) => row.bound});
    filters.push({label: 'Bound by', value: (row) => row.bound});
  }
  addTable(section, {
    caption: 'Kernels of the step', columns, rows: [...kernels], filters,
    search: (row) => [row.title, row.name, row.op, row.block ?? ''].join(' '), sort: [roofline === null ? 4 : 7, true],
  });
}

function addAssumptions(report) {
  const section = addSection('assumptions', 'What was assumed', 'Assumptions');
  const {settings, model} = report;
  const rows = [
    ...Object.entries(settings).filter(([, value]) => value !== null && value !== '')
        .map(([key, value]) => [words(key), typeof value === 'object' ? Object.entries(value).map(([k, v]) => `${k} = ${v}`).join(', ') : String(value)]),
    ['model inputs', model.inputs.map((input) => `${input.name}: ${input.type}`).join(', ')],
    ['model outputs', model.outputs.map((output) => `${output.name}: ${output.type}`).join(', ')],
    ['made by', model.producer], ['operators with a rule', `${report.coverage.known_nodes} of ${report.coverage.nodes} nodes`],
  ].filter(([, value]) => value !== '');
  section.append(
      element('p', {}, 'A multiplication and addition are 2 FLOPs. Bytes of a kernel are its operands, each once. A time is the longer ' +
          'of arithmetic and traffic at the rates that large kernels reach, so it is a lower bound: launch latency and small ' +
          'kernels that leave the device idle come on top.'),
      notesList([...report.notes, ...report.rooflines.flatMap((roofline) => roofline.notes)]) ?? '',
      element('table', {}, element('caption', {}, 'Settings'), element('tbody', {}, ...rows.map(
          ([key, value]) => element('tr', {}, element('th', {scope: 'row'}, key), element('td', {}, value))))));
}

function showAnalysis(report, device = 0) {
  const roofline = report.rooflines[device] ?? null;
  const view = {report, roofline, device, kernels: kernelsOf(report, roofline)};
  addTitle(baseName(report.model.file), stepWords(report));
  if (report.rooflines.length > 1) {
    document.querySelector('main').append(element('div', {class: 'controls'}, selectBox(
        'Device', report.rooflines.map((one, index) => [index, one.display_name]), device,
        (chosen) => redraw(() => showAnalysis(report, Number(chosen))))));
  }
  const summary = addSection('summary', 'Verdict');
  summary.append(element('p', {class: 'verdict'}, report.verdict[device] ?? report.verdict[0]), coverageWarning(report) ?? '',
                 analysisTiles(view));
  addHelp(summary, view);
  addPhases(summary, view);
  addDevicesTable(summary, report);
  if (roofline !== null) addRoofline(view);
  addModules(view);
  addMemory(view);
  addReuse(view);
  addLayers(view);
  addAssumptions(report);
}
