// A table that sorts by any column, filters and searches. Rows appear a page at a time: a model may have ten thousand.

const ROWS_AT_ONCE = 25;

function compareValues(a, b) {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;  // what is not known comes last
  if (b === null || b === undefined) return -1;
  return typeof a === 'number' ? a - b : String(a).localeCompare(String(b), 'en', {numeric: true});
}

// columns: [{title, value: row => what sorts, text: row => what shows, number: right-aligned, hint, cell: row => class}]
// filters: [{label, value: row => one of few words}]; search: row => text to look in; sort: [column, descending]
class DataTable {
  constructor({caption, columns, rows, filters = [], search = null, sort = null, pageSize = ROWS_AT_ONCE}) {
    Object.assign(this, {columns, rows, filters, search, pageSize, shown: pageSize, wanted: '', chosen: new Map()});
    [this.column, this.descending] = sort ?? [null, false];
    this.headers = columns.map((column, index) => this.header(column, index));
    this.body = element('tbody');
    this.status = element('p', {class: 'quiet', role: 'status'});
    this.more = element('button', {type: 'button', class: 'more', click: () => this.showMore()}, 'Show more');
    this.root = element(
        'div', {class: 'data-table'}, this.controls(),
        element('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption},
                element('table', {}, element('caption', {}, caption),
                        element('thead', {}, element('tr', {}, ...this.headers)), this.body)),
        this.status, this.more);
    this.update();
  }

  header(column, index) {
    const button = element('button', {type: 'button', title: column.hint, click: () => this.sortBy(index)}, column.title);
    return element('th', {scope: 'col', class: column.number ? 'right' : null}, button);
  }

  controls() {
    const changed = (change) => {
      change();
      this.shown = this.pageSize;
      this.update();
    };
    const parts = this.filters.flatMap((filter) => {
      const choices = [...new Set(this.rows.map(filter.value))].sort().map((word) => [word, word]);
      return choices.length < 2 ? [] : selectBox(filter.label, [['', 'all'], ...choices], '', (word) => changed(() => this.chosen.set(filter, word)));
    });
    if (this.search !== null) {
      parts.unshift(element('label', {}, 'Search ', element('input', {
        type: 'search', input: (event) => changed(() => { this.wanted = event.target.value.toLowerCase(); }),
      })));
    }
    return parts.length === 0 ? null : element('div', {class: 'controls'}, ...parts);
  }

  sortBy(index) {
    const number = this.columns[index].number === true;
    this.descending = this.column === index ? !this.descending : number;
    this.column = index;
    this.update();
  }

  showMore() {
    this.shown += this.pageSize;
    this.update();
  }

  matching() {
    const rows = this.rows.filter(
        (row) => [...this.chosen].every(([filter, word]) => word === '' || filter.value(row) === word) &&
            (this.wanted === '' || this.search(row).toLowerCase().includes(this.wanted)));
    if (this.column === null) return rows;
    const value = this.columns[this.column].value;
    return rows.sort((a, b) => this.descending && value(a) !== null && value(b) !== null ?
        compareValues(value(b), value(a)) : compareValues(value(a), value(b)));
  }

  update() {
    this.headers.forEach((header, index) => {
      if (index !== this.column) header.removeAttribute('aria-sort');
      else header.setAttribute('aria-sort', this.descending ? 'descending' : 'ascending');
    });
    const rows = this.matching();
    this.body.replaceChildren(...rows.slice(0, this.shown).map((row) => element(
        'tr', {}, ...this.columns.map((column) => element(
            'td', {class: [column.number ? 'right' : '', column.cell?.(row) ?? ''].join(' ').trim() || null},
            column.text(row))))));
    const shown = Math.min(this.shown, rows.length);
    this.status.textContent = `${plural(shown, 'row')} of ${rows.length.toLocaleString('en-US')}` +
        (rows.length < this.rows.length ? `, chosen from ${this.rows.length.toLocaleString('en-US')}` : '');
    this.more.hidden = shown === rows.length;
    this.status.hidden = this.rows.length <= this.pageSize && this.filters.length === 0 && this.search === null;
  }
}

function addTable(parent, options) {
  const table = new DataTable(options);
  parent.append(table.root);
  return table;
}
