'use strict';
// Everything that comes from a record is set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const byId = (id) => document.getElementById(id);
  const table = document.querySelector('table');
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const filters = ['method', 'backbone', 'task'].map((name) => byId(`filter-${name}`));
  const published = byId('filter-published');

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // ---- sorting ----
  let sorted = { key: '', up: true };

  function valueOf(row, key) {
    const cell = row.querySelector(`[data-key="${key}"]`);
    const text = cell.dataset.value;
    if (text === undefined) return null;
    return cell.classList.contains('number') ? Number(text) : text;
  }

  function sort(key, up) {
    sorted = { key, up };
    const order = [...rows];
    if (key) {
      order.sort((a, b) => {
        const [x, y] = [valueOf(a, key), valueOf(b, key)];
        if (x === null || y === null) return (x === null) - (y === null); // empty cells last
        const less = typeof x === 'number' ? x - y : x.localeCompare(y, undefined, { numeric: true });
        return up ? less : -less;
      });
    }
    body.append(...order);
    for (const head of heads) {
      if (head.dataset.key === key) head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      else head.removeAttribute('aria-sort');
    }
    byId('sort-by').value = key;
  }

  // The first click shows the best first.
  const firstUp = (key) => heads.find((head) => head.dataset.key === key)?.dataset.better !== 'high';

  for (const head of heads) {
    const { key } = head.dataset;
    const button = element('button', { type: 'button' }, ...head.childNodes);
    button.addEventListener('click', () => sort(key, sorted.key === key ? !sorted.up : firstUp(key)));
    head.append(button);
  }

  // ---- filters ----
  function filter() {
    const [method, backbone, task] = filters.map((select) => select.value);
    let count = 0;
    for (const row of rows) {
      const results = [...row.cells].filter((cell) => cell.dataset.task === task);
      const show = (!method || row.dataset.method === method)
        && (!backbone || row.dataset.backbone === backbone)
        && (!task || results.some((cell) => !cell.classList.contains('empty')))
        && (!published || published.checked || row.dataset.published === 'no');
      row.hidden = !show;
      count += show;
    }
    for (const cell of table.querySelectorAll('[data-task]')) {
      cell.hidden = Boolean(task && cell.dataset.task) && cell.dataset.task !== task; // costs stay
    }
    byId('count').textContent = `${count} of ${rows.length} rows`;
    drawCost();
  }

  byId('filters').addEventListener('change', (event) => {
    if (event.target.id === 'sort-by') sort(event.target.value, firstUp(event.target.value));
    else filter();
  });
  byId('filters').addEventListener('reset', () => setTimeout(() => { sort('', true); filter(); }));
  byId('filters').addEventListener('submit', (event) => event.preventDefault());

  // ---- records ----
  const plain = (value) => (value === null || value === undefined ? '–' : String(value));
  const amount = (value, digits = 6) => (Math.abs(value) >= 1e12 ? value.toExponential(2)
    : value.toLocaleString('en', { maximumSignificantDigits: digits }));
  const known = (parts) => parts.filter(([value]) => value !== null && value !== undefined)
    .map(([value, unit, digits]) => amount(value, digits) + unit).join('; ');
  // A command as a shell takes it.
  const shell = (words) => words.map((word) => (/^[\w./:=@%+,-]+$/.test(word)
    ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');

  function describe(record) {
    const { backbone, dataset, protocol, commit, device, cost, pretraining } = record;
    const lines = [
      ['Run', `${record.task}, ${protocol.name} (version ${protocol.version}), seed ${plain(record.seed)}`],
      ['Method', [record.method, ...Object.entries(record.variant).map(([k, v]) => `${k}=${v}`)].join(', ')],
      ['Backbone', `${backbone.arch}, patch ${backbone.patch_size}, ${backbone.img_size} px`],
      ['Data', [dataset.name, dataset.description, dataset.split && `split ${dataset.split}`,
        dataset.n_train !== null && `${amount(dataset.n_train)} training images`,
        dataset.n_test !== null && `${amount(dataset.n_test)} test images`].filter(Boolean).join('; ')],
      ['Results', Object.entries(record.metrics).map(([name, m]) => `${name} ${amount(m.value)} ${m.unit}`).join('; ')],
      ['Command', element('code', {}, shell(record.command))],
      ['Config', element('code', {}, `${plain(record.config.path)} (sha256 ${record.config.sha256.slice(0, 12)}…)`)],
      ['Commit', element('code', {}, commit.hash ? commit.hash + (commit.dirty ? ' with changes' : '') : 'not from a checkout')],
      ['Versions', Object.entries(record.versions).map(([name, v]) => `${name} ${v}`).join(', ')],
      ['Device', `${device.count} × ${device.name}; CPU threads: ${plain(device.cpu_threads)}`],
      ['Cost', known([[cost.seconds, ' s'], [cost.images_seen, ' images'], [cost.flops, ' FLOPs'],
        [cost.peak_memory_bytes && cost.peak_memory_bytes / 2 ** 30, ' GiB peak memory', 3]]) || 'not measured'],
    ];
    for (const [name, run] of [['Pre-training', pretraining], ['Teacher', pretraining?.teacher]]) {
      if (!run) continue;
      lines.push([name, [run.checkpoint, run.config, run.dataset,
        known([[run.epochs, ' epochs'], [run.images_seen, ' images'], [run.seconds, ' s'], [run.flops, ' FLOPs']]),
        run.device && `${plain(run.device_count)} × ${run.device}`,
        run.labels_in_pretraining ? 'labels used' : 'no labels used'].filter(Boolean).join('; ')]);
    }
    if (record.budget) lines.push(['Budget', record.budget]);
    if (record.notes) lines.push(['Notes', record.notes]);
    const list = element('dl');
    for (const [name, value] of lines) list.append(element('dt', {}, name), element('dd', {}, value));
    const parts = [element('h3', {}, `${record.created} · ${record.id}`), list];
    if (record.config.text) {
      parts.push(element('details', {}, element('summary', {}, 'Configuration'), element('pre', {}, record.config.text)));
    }
    const whole = JSON.stringify(record, null, 2);
    parts.push(element('details', {}, element('summary', {}, 'Whole record (JSON)'), element('pre', {}, whole)));
    return parts;
  }

  const dialog = byId('record');
  function open(ids) {
    byId('record-title').textContent = ids.length === 1 ? 'Run record' : `${ids.length} run records`;
    byId('record-body').replaceChildren(...ids.flatMap((id) => describe(data.records[id])));
    dialog.showModal();
    dialog.scrollTop = 0;
  }
  byId('close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  body.addEventListener('click', (event) => {
    const button = event.target.closest('.open');
    if (button) open(button.dataset.records.split(' '));
  });

  // ---- plots ----
  const SVG = 'http://www.w3.org/2000/svg';
  function svg(name, attributes = {}, text = null) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    return made;
  }
  const pen = document.createElement('canvas').getContext('2d');
  function textWidth(text) {
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    return pen.measureText(text).width;
  }
  const colour = (index) => `var(--s${index % 6})`;
  const SHAPES = ['M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0', 'M-5,-5h10v10h-10z', 'M0,-6l6,11h-12z',
    'M0,-7l6,7l-6,7l-6,-7z', 'M-6,-5h12l-6,11z', 'M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z'];

  function ticks(low, high, wanted) {
    const raw = (high - low) / wanted;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
    const found = [];
    for (let value = Math.ceil(low / step); value * step <= high + step * 1e-9; value += 1) found.push(value * step);
    return found;
  }
  const short = (value) => (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)
    ? value.toExponential(1) : String(Number(value.toPrecision(4))));

  // Axes in pixels of the page, so that text stays readable at every width.
  function axes(place, [x0, x1], [y0, y1], xName, yName) {
    const width = Math.max(280, place.clientWidth - 16);
    const height = Math.min(420, Math.max(260, width * 0.55));
    const [left, right, top, bottom] = [58, 16, 28, 44];
    const x = (value) => left + ((value - x0) / (x1 - x0)) * (width - left - right);
    const y = (value) => height - bottom - ((value - y0) / (y1 - y0)) * (height - top - bottom);
    const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': `${yName} against ${xName}` });
    for (const value of ticks(x0, x1, width / 80)) {
      root.append(svg('line', { class: 'grid', x1: x(value), x2: x(value), y1: top, y2: height - bottom }));
      root.append(svg('text', { class: 'soft', x: x(value), y: height - bottom + 18, 'text-anchor': 'middle' }, short(value)));
    }
    for (const value of ticks(y0, y1, 6)) {
      root.append(svg('line', { class: 'grid', x1: left, x2: width - right, y1: y(value), y2: y(value) }));
      root.append(svg('text', { class: 'soft', x: left - 8, y: y(value) + 4, 'text-anchor': 'end' }, short(value)));
    }
    root.append(svg('text', { x: (left + width - right) / 2, y: height - 6, 'text-anchor': 'middle' }, xName));
    root.append(svg('text', { x: 4, y: 14 }, yName));
    return { root, x, y, left, right: width - right, top };
  }

  function span(values, share) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = (high - low || Math.abs(high) || 1) * share;
    return [low - room, high + room];
  }

  function legend(entries) {
    const list = element('ul', { class: 'legend' });
    for (const [name, mark] of entries) {
      const icon = svg('svg', { viewBox: '-10 -8 20 16', 'aria-hidden': 'true' });
      icon.append(mark);
      list.append(element('li', {}, icon, element('span', {}, name)));
    }
    return list;
  }

  const columns = Object.fromEntries(data.columns.map((column) => [column.id, column]));
  // A time is shown in the unit that suits the longest; the rest has one.
  const TIMES = [['hours of pre-training', 3600], ['minutes of pre-training', 60]];
  const COSTS = { device_hours: ['device hours', 1], images_seen: ['images seen', 1], flops: ['FLOPs', 1] };
  const methods = [...new Set(data.points.map((point) => point.method))];

  const plottable = (y, x) => data.points.filter((point) => point.cells[y] && point.cells[x]);
  const yColumns = data.columns.filter((column) => !column.cost
    && data.columns.some((other) => other.cost && plottable(column.id, other.id).length));
  const xColumns = data.columns.filter((column) => column.cost
    && yColumns.some((other) => plottable(other.id, column.id).length));

  function drawCost() {
    if (!yColumns.length) return;
    const place = byId('cost-plot');
    const [yKey, xKey] = [byId('plot-y').value, byId('plot-x').value];
    const points = plottable(yKey, xKey).filter((point) => !rows[data.points.indexOf(point)].hidden);
    if (!points.length) {
      place.replaceChildren(element('p', { class: 'hint' }, 'No row with both, as filtered.'));
      return;
    }
    byId('better').textContent = columns[yKey].up ? 'up' : 'down';
    const longest = Math.max(...points.map((point) => point.cells[xKey].mean));
    const [name, size] = COSTS[columns[xKey].cost] ?? TIMES[longest < 7200 ? 1 : 0];
    const xs = points.map((point) => point.cells[xKey].mean / size);
    const ys = points.flatMap(({ cells }) => [cells[yKey].mean - (cells[yKey].std ?? 0), cells[yKey].mean + (cells[yKey].std ?? 0)]);
    const plot = axes(place, [0, Math.max(...xs) * 1.12 || 1], span(ys, 0.12), name, columns[yKey].header);
    const taken = []; // boxes of labels and marks: a label goes where none of them is
    const spots = points.map((point, index) => ({ point, px: plot.x(xs[index]), py: plot.y(point.cells[yKey].mean) }));
    for (const { px, py } of spots) taken.push([px - 7, py - 7, px + 7, py + 7]);
    for (const { point, px, py } of spots) {
      const { mean, std, records } = point.cells[yKey];
      const paint = colour(methods.indexOf(point.method));
      const label = `${point.name}: ${short(mean)}${std === null ? '' : ` ± ${short(std)}`} at ${short(point.cells[xKey].mean / size)} ${name}`;
      const group = svg('g', { class: 'point', tabindex: '0', role: 'button', 'aria-label': label });
      if (std) {
        group.append(svg('line', { x1: px, x2: px, y1: plot.y(mean - std), y2: plot.y(mean + std), stroke: paint, 'stroke-width': 1.5 }));
      }
      group.append(svg('path', { d: SHAPES[methods.indexOf(point.method) % 6], fill: paint, transform: `translate(${px} ${py})` }));
      group.append(svg('title', {}, label));
      const words = point.name.length > 34 ? `${point.name.slice(0, 33)}…` : point.name;
      const wide = textWidth(words);
      for (const [dx, dy] of [[10, 4], [-10 - wide, 4], [-wide / 2, -12], [-wide / 2, 20], [10, -10], [10, 18]]) {
        const box = [px + dx, py + dy - 11, px + dx + wide, py + dy + 3];
        const free = box[0] >= plot.left && box[2] <= plot.right
          && taken.every((o) => box[2] < o[0] || box[0] > o[2] || box[3] < o[1] || box[1] > o[3]);
        if (free) {
          taken.push(box);
          group.append(svg('text', { x: px + dx, y: py + dy }, words));
          break;
        }
      }
      const act = () => open([...records]);
      group.addEventListener('click', act);
      group.addEventListener('keydown', (event) => {
        if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); act(); }
      });
      plot.root.append(group);
    }
    const present = methods.filter((method) => points.some((point) => point.method === method));
    place.replaceChildren(plot.root, legend(present.map((method) => {
      const index = methods.indexOf(method);
      return [method, svg('path', { d: SHAPES[index % 6], fill: colour(index) })];
    })));
  }

  const DASHES = ['', '6 3', '2 3', '8 3 2 3'];
  function drawCurve() {
    const curve = data.curves[Number(byId('curve').value)];
    const place = byId('curve-plot');
    const lines = Object.entries(curve.lines);
    const values = lines.flatMap(([, line]) => line).filter((value) => value !== null);
    const level = curve.reference ?? null;
    if (level !== null) values.push(level);
    if (!values.length || !curve.x.length) {
      place.replaceChildren(element('p', { class: 'hint' }, 'This curve has no points.'));
      return;
    }
    const [x0, x1] = [Math.min(...curve.x), Math.max(...curve.x)];
    const plot = axes(place, x0 === x1 ? [x0 - 1, x1 + 1] : [x0, x1], span(values, 0.08), curve.x_label, curve.y_label);
    const entries = [];
    lines.forEach(([name, line], index) => {
      const style = { fill: 'none', stroke: colour(index), 'stroke-width': 2, 'stroke-dasharray': DASHES[Math.floor(index / 6) % 4] };
      let path = '';
      let down = false;
      line.forEach((value, at) => {
        if (value !== null) path += `${down ? 'L' : 'M'}${plot.x(curve.x[at]).toFixed(1)},${plot.y(value).toFixed(1)}`;
        down = value !== null;
      });
      plot.root.append(svg('path', { d: path, ...style }));
      line.forEach((value, at) => {
        if (value === null) return;
        const dot = svg('circle', { cx: plot.x(curve.x[at]), cy: plot.y(value), r: 2.5, fill: colour(index) });
        dot.append(svg('title', {}, `${name}: ${short(value)} at ${curve.x_label} ${short(curve.x[at])}`));
        plot.root.append(dot);
      });
      entries.push([name, svg('path', { d: 'M-10,0h20', ...style })]);
    });
    if (level !== null) {
      const style = { stroke: 'var(--text)', 'stroke-dasharray': '3 4', 'stroke-width': 1.5 };
      plot.root.append(svg('line', { x1: plot.left, x2: plot.right, y1: plot.y(level), y2: plot.y(level), ...style }));
      entries.push([`${curve.reference_label ?? 'reference'} (${short(level)})`, svg('path', { d: 'M-10,0h20', ...style })]);
    }
    place.replaceChildren(plot.root, legend(entries));
  }

  // ---- start ----
  byId('filters').hidden = false;
  if (yColumns.length) {
    byId('cost').hidden = false;
    for (const [id, list] of [['plot-y', yColumns], ['plot-x', xColumns]]) {
      for (const column of list) byId(id).append(element('option', { value: column.id }, column.header));
      byId(id).addEventListener('change', drawCost);
    }
  }
  if (data.curves.length) {
    byId('curves').hidden = false;
    data.curves.forEach((curve, index) => byId('curve').append(element('option', { value: index }, `${curve.name.replaceAll('_', ' ')}: ${curve.run}`)));
    byId('curve').addEventListener('change', drawCurve);
    drawCurve();
  }
  filter();
  let width = window.innerWidth;
  window.addEventListener('resize', () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    drawCost();
    if (data.curves.length) drawCurve();
  });
})();
