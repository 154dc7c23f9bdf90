// Time by module: an icicle, and the same tree as a list that the keyboard folds.

const LISTED_CHILDREN = 200;

// The tree of module paths with the kernels as leaves; a node's kernels are those below it.
function moduleTree(view) {
  const root = {id: '', label: baseName(view.report.model.file), children: new Map(), kernels: []};
  for (const kernel of view.kernels) {
    let node = root;
    const parts = kernel.module === '' ? ['(no module)', kernel.title] : kernel.module.split('.');
    for (const part of [...parts, `${kernel.op} ${kernel.gradient ?? ''} ${kernel.phase}`.replace('  ', ' ')]) {
      node.kernels.push(kernel);
      if (!node.children.has(part)) {
        node.children.set(part, {id: `${node.id}\u001f${part}`, label: part, children: new Map(), kernels: []});
      }
      node = node.children.get(part);
    }
    node.kernels.push(kernel);
  }
  return root;
}

function finishTree(node) {
  node.weight = sum(node.kernels.map(weightOf));
  node.memory = sum(node.kernels.filter((kernel) => kernel.bound === 'memory').map(weightOf));
  node.sorted = [...node.children.values()];
  node.sorted.forEach(finishTree);
  // A module around everything tells nothing.
  while (node.id === '' && node.sorted.length === 1 && node.sorted[0].sorted.length > 0) node.sorted = node.sorted[0].sorted;
  return node;
}

function flatten(node, parent, out) {
  out.push({node, parent});
  for (const child of node.sorted) flatten(child, node, out);
  return out;
}

function moduleHover(node, total, roofline) {
  const flops = sum(node.kernels.map((kernel) => kernel.flops ?? 0)), bytes = sum(node.kernels.map((kernel) => kernel.bytes));
  return hoverLines(shorten(node.label),
                    `${formatWeight(node.weight, roofline)}, ${formatPercent(node.weight / total)} of the step`,
                    `${plural(node.kernels.length, 'kernel')}, ${formatCount(flops)}FLOP, ${formatBytes(bytes)}`,
                    roofline === null || node.weight === 0 ? '' :
                        `${formatPercent(node.memory / node.weight)} of its time is memory-bound`,
                    node.sorted.length > 0 ? 'Click: this module alone' : '');
}

function drawIcicle(tree, roofline) {
  const all = flatten(tree, null, []);
  const color = roofline === null ? {} : {
    colors: all.map(({node}) => node.weight === 0 ? 0 : node.memory / node.weight), colorscale: 'Cividis', cmin: 0, cmax: 1,
    showscale: true,
    colorbar: {title: {text: 'memory-bound', side: 'right'}, tickformat: '.0%', thickness: 12, outlinewidth: 0, tickvals: [0, 0.5, 1]},
  };
  return {
    data: [{
      type: 'icicle', ids: all.map(({node}) => node.id || 'root'), labels: all.map(({node}) => plain(shorten(node.label, 32))),
      parents: all.map(({parent}) => parent === null ? '' : parent.id || 'root'), branchvalues: 'remainder',
      values: all.map(({node}) => node.sorted.length === 0 ? node.weight : 0), maxdepth: 4, sort: false,
      textinfo: 'label+percent root', hoverinfo: 'text', hovertext: all.map(({node}) => moduleHover(node, tree.weight, roofline)),
      tiling: {orientation: 'v'}, pathbar: {thickness: 26}, marker: {...color, line: {color: cssColor('--paper'), width: 1}},
    }],
    layout: {margin: {l: 8, r: 8, t: 40, b: 8}, uniformtext: {minsize: 10, mode: 'hide'}},
  };
}

function treeRow(node, total, roofline) {
  return [element('span', {class: 'label name'}, node.label),
          element('span', {class: 'amount'}, formatWeight(node.weight, roofline)),
          element('span', {class: 'amount'}, formatPercent(node.weight / total))];
}

// Children come when a fold is opened first.
function treeFold(node, total, roofline) {
  if (node.sorted.length === 0) return element('div', {class: 'leaf'}, ...treeRow(node, total, roofline));
  const fold = element('details', {}, element('summary', {}, ...treeRow(node, total, roofline)));
  fold.addEventListener('toggle', () => {
    const children = [...node.sorted].sort((a, b) => b.weight - a.weight);
    fold.append(...children.slice(0, LISTED_CHILDREN).map((child) => treeFold(child, total, roofline)));
    if (children.length > LISTED_CHILDREN) {
      fold.append(element('p', {class: 'quiet'}, `${plural(children.length - LISTED_CHILDREN, 'smaller part')} more`));
    }
  }, {once: true});
  return fold;
}

function addModules(view) {
  const section = addSection('modules', view.roofline === null ? 'FLOPs by module' : 'Where the time goes', 'Modules');
  const tree = finishTree(moduleTree(view));
  const top = [...tree.sorted].sort((a, b) => b.weight - a.weight).slice(0, 3);
  section.append(element('p', {}, `Most is in ${top.map(
      (node) => `${node.label} (${formatPercent(node.weight / tree.weight)})`).join(', ')}.`));
  addChart(section, {
    title: 'Icicle of modules', height: 480, steps: false,
    caption: 'As wide as its share of the step, forward, backward and update together; below it what it is made of. Click a ' +
        'part to see it alone, the bar above to go back.' +
        (view.roofline === null ? '' : ' Dark: bound by compute, bright: bound by memory.'),
    draw: () => drawIcicle(tree, view.roofline),
  });
  const list = treeFold(tree, tree.weight, view.roofline);
  list.open = true;
  section.append(element('h3', {}, 'The same as a list'), element('div', {class: 'tree'}, list));
}
