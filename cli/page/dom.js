// Elements. Text is only ever set as text: names out of a model's file may be anything.

// element('td', {class: 'right'}, '12 ms', element('b', {}, '!')); a property that is a function is a listener.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === 'function') {
      made.addEventListener(key, value);
    } else if (value !== undefined && value !== null && value !== false) {
      made.setAttribute(key, value === true ? '' : value);
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Heading, anchor and entry in the navigation of one part of the report.
function addSection(id, title, navigation = title) {
  const section = element('section', {id, 'aria-labelledby': `${id}-title`}, element('h2', {id: `${id}-title`}, title));
  document.querySelector('main').append(section);
  document.querySelector('nav').append(element('a', {href: `#${id}`}, navigation));
  return section;
}

// The head of every kind of report.
function addTitle(title, subtitle) {
  document.title = `${title} - ReuseScope`;
  document.querySelector('main').append(element('h1', {}, title), element('p', {class: 'quiet'}, subtitle));
}

// [{name, number, note, state: 'good' | 'bad'}]
function tiles(entries) {
  return element('dl', {class: 'tiles'}, ...entries.map((entry) => element(
      'div', {}, element('dt', {}, entry.name), element('dd', {class: 'number'}, entry.number),
      element('dd', {class: entry.state ?? 'note'}, entry.note ?? ''))));
}

// One of several words; `choices` is [[value, text]].
function radioGroup(legend, choices, chosen, onChange) {
  const name = `choice-${document.querySelectorAll('fieldset').length}-${legend}`;
  return element('fieldset', {change: (event) => onChange(event.target.value)}, element('legend', {}, legend),
                 ...choices.map(([value, text]) => element(
                     'label', {}, element('input', {type: 'radio', name, value, checked: value === chosen}), ` ${text}`)));
}

function selectBox(label, choices, chosen, onChange) {
  const select = element('select', {change: (event) => onChange(event.target.value)},
                         ...choices.map(([value, text]) => element('option', {value, selected: value === chosen}, text)));
  return element('label', {}, `${label} `, select);
}

function notesList(notes) {
  return notes.length === 0 ? null : element('ul', {class: 'quiet'}, ...notes.map((note) => element('li', {}, note)));
}

function announce(text) { document.getElementById('announcer').textContent = text; }
