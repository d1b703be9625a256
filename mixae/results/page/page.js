'use strict';
// Everything that comes from a record is set as text, never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const table = document.querySelector('table');
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const listed = [...body.rows];
  const FIRST = 200; // rows shown at once: a browser lays out thousands of them slowly

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // ---- which rows and columns are shown, in which order ----
  const filters = byId('filters');
  const published = byId('filter-published');
  const more = byId('more');
  const hiding = document.head.appendChild(element('style'));
  let sorted = { column: -1, up: true };
  let limit = FIRST;

  function valueOf(row, column) {
    const cell = row.cells[column];
    if (!cell.classList.contains('number')) return cell.textContent;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  }

  function sort(column, up) {
    sorted = { column, up };
    const entries = listed.map((row) => [column < 0 ? null : valueOf(row, column), row]);
    const compare = new Intl.Collator(undefined, { numeric: true }).compare;
    if (column >= 0) {
      entries.sort(([x], [y]) => {
        if (x === null || y === null) return (x === null) - (y === null); // empty cells last
        return (typeof x === 'number' ? x - y : compare(x, y)) * (up ? 1 : -1);
      });
    }
    body.append(...entries.map(([, row]) => row));
    heads.forEach((head, index) => {
      if (index === column) head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      else head.removeAttribute('aria-sort');
    });
    byId('sort-by').value = column;
    show();
  }

  function show() {
    const [method, backbone, task] = ['method', 'backbone', 'task'].map((name) => byId(`filter-${name}`).value);
    const hidden = heads.map((head) => Boolean(task && head.dataset.task) && head.dataset.task !== task); // costs stay
    const results = heads.map((head, index) => index).filter((index) => heads[index].dataset.task === task);
    let fitting = 0;
    for (const row of body.rows) {
      const fits = (!method || row.querySelector('.name').textContent === method)
        && (!backbone || row.cells[1].textContent === backbone)
        && (!task || results.some((index) => !row.cells[index].classList.contains('empty')))
        && (!published || published.checked || !row.classList.contains('published'));
      fitting += fits;
      row.hidden = !fits || fitting > limit;
    }
    hiding.textContent = hidden.map((hide, index) => (hide
      ? `thead th:nth-child(${index + 1}), tbody td:nth-child(${index + 1}) { display: none !important; }\n` : '')).join('');
    more.hidden = fitting <= limit;
    more.textContent = `Show all ${fitting} rows`;
    byId('count').textContent = `${Math.min(fitting, limit)} of ${listed.length} rows`;
  }

  // The first click shows the best first.
  const firstUp = (column) => heads[column]?.dataset.better !== 'high';
  heads.forEach((head, column) => {
    const button = element('button', { type: 'button' }, ...head.childNodes);
    button.addEventListener('click', () => sort(column, sorted.column === column ? !sorted.up : firstUp(column)));
    head.append(button);
  });
  filters.addEventListener('change', ({ target }) => {
    if (target.id === 'sort-by') sort(Number(target.value), firstUp(Number(target.value)));
    else show();
  });
  filters.addEventListener('reset', () => setTimeout(() => { limit = FIRST; sort(-1, true); }));
  filters.addEventListener('submit', (event) => event.preventDefault());
  more.addEventListener('click', () => { limit = Infinity; show(); });

  // On a phone each row is a card, with the column's name before each cell. Cards are no table to
  // a screen reader, so it is told that they are.
  document.documentElement.classList.add('cards');
  document.head.append(element('style', {}, `@media (max-width: 40rem) {\n${heads.map((head, index) => (
    `tbody td:nth-child(${index + 1})::before { content: ${JSON.stringify(head.textContent)}; }\n`)).join('')}}`));
  for (const [query, role] of [['table', 'table'], ['thead, tbody', 'rowgroup'], ['tr', 'row'],
    ['thead th', 'columnheader'], ['tbody th', 'rowheader'], ['td', 'cell']]) {
    for (const part of document.querySelectorAll(query)) part.setAttribute('role', role);
  }

  // ---- records ----
  const ORDER = ['task', 'method', 'variant', 'metrics', 'seed', 'protocol', 'dataset', 'backbone', 'pretraining',
    'command', 'config', 'commit', 'versions', 'device', 'cost', 'budget', 'notes', 'extra'];
  // A command as a shell takes it.
  const shell = (words) => words.map((word) => (/^[\w./:=@%+,-]+$/.test(word)
    ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');

  // A part of a record on one line: 'key value; key value'.
  function line(value) {
    if (value === null) return '–';
    if (typeof value === 'number') {
      return Math.abs(value) >= 1e12 ? value.toExponential(2) : value.toLocaleString('en', { maximumSignificantDigits: 6 });
    }
    if (Array.isArray(value)) return value.map(line).join(', ');
    if (typeof value !== 'object') return String(value);
    return Object.entries(value).map(([key, part]) => `${key} ${line(part)}`).join('; ') || '–';
  }

  function describe(record) {
    const { text, ...config } = record.config;
    const shown = { ...record, config, command: shell(record.command) };
    shown.metrics = Object.entries(record.metrics).map(([name, { value, unit }]) => `${name} ${line(value)} ${unit}`);
    const list = element('dl');
    for (const name of ORDER.filter((part) => part in record)) {
      const value = name === 'command' ? element('code', {}, shown[name]) : line(shown[name]);
      list.append(element('dt', {}, name), element('dd', {}, value));
    }
    const folded = (title, content) => element('details', {}, element('summary', {}, title), element('pre', {}, content));
    const parts = [element('h3', {}, `${record.created} · ${record.id}`), list];
    if (text) parts.push(folded('Configuration', text));
    parts.push(folded('Record without its curves (JSON)', JSON.stringify(record, null, 2)));
    return parts;
  }

  let unpacked;
  function unpack() {
    const bytes = Uint8Array.from(atob(byId('packed-records').textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
    return new Response(stream).json();
  }

  const dialog = byId('record');
  async function open(ids) {
    byId('record-title').textContent = ids.length === 1 ? 'Run record' : `${ids.length} run records`;
    byId('record-body').replaceChildren(element('p', {}, ids.join(', ')));
    dialog.showModal();
    unpacked ??= unpack();
    const records = await unpacked;
    byId('record-body').replaceChildren(...ids.flatMap((id) => describe(records[id])));
    dialog.scrollTop = 0;
  }
  byId('close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  body.addEventListener('click', (event) => {
    const button = event.target.closest('.open');
    if (button) open(button.dataset.records.split(' '));
  });

  filters.hidden = false;
  show();
})();
