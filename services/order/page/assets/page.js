// Keeps the page as it is on the server. Everything it shows is drawn there.
'use strict';

const body = document.body;
const find = (selector) => document.querySelector(selector);
const all = (selector) => document.querySelectorAll(selector);
const list = find('#orders');
const detail = find('#detail');
const calm = matchMedia('(prefers-reduced-motion: reduce)');

let token = body.dataset.token || '';
let last = body.dataset.frame;
let stream = null;
let isPaused = false;

// The stream: one, and none while nobody looks.

function open() {
  if (stream || isPaused || document.hidden) return;
  stream = new EventSource('/page/frames?after=' + encodeURIComponent(last));
  stream.addEventListener('hello', (event) => {
    token = JSON.parse(event.data).token;
    live('on', 'live');
  });
  stream.addEventListener('message', (event) => {
    last = event.lastEventId;
    show(JSON.parse(event.data));
  });
  stream.addEventListener('error', () => {
    live('off', 'reconnecting');
    // A browser gives up on an answer that is no stream: we do not.
    if (stream && stream.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, 1000);
    }
  });
}

function close() {
  if (stream) stream.close();
  stream = null;
}

function live(state, word) {
  const shown = find('#live');
  shown.dataset.live = state;
  if (shown.textContent !== word) shown.textContent = word;
}

document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
addEventListener('pagehide', close);
addEventListener('pageshow', open);

find('#pause').hidden = false;
find('#pause').addEventListener('click', (event) => {
  isPaused = !isPaused;
  event.target.setAttribute('aria-pressed', isPaused);
  if (isPaused) {
    close();
    live('paused', 'paused');
  } else {
    open();
  }
});

// A frame: what has changed.

function show(frame) {
  for (const [name, text] of Object.entries(frame.counts || {})) {
    all(`[data-count="${name}"]`).forEach((it) => (it.textContent = text));
  }
  for (const [name, number] of Object.entries(frame.numbers || {})) {
    all(`[data-number="${name}"]`).forEach((it) => {
      it.textContent = number.text;
      it.classList.toggle('alarm', number.is_alarm);
    });
    if (name.endsWith('.consumers')) offer(name.split('.')[0], number.is_alarm);
  }
  if (frame.rows || frame.ids) showRows(frame.rows || [], frame.ids);
  for (const [event, rate] of Object.entries(frame.rates || {})) {
    all(`[data-rate="${event}"]`).forEach((it) => (it.textContent = rate));
  }
  if (frame.summary !== undefined) {
    find('#summary').innerHTML = frame.summary;
    filter();
  }
  if (frame.dead !== undefined) showDead(frame.dead);
  if (frame.trouble !== undefined) {
    const trouble = find('#trouble');
    trouble.textContent = frame.trouble;
    trouble.hidden = frame.trouble === '';
  }
  (frame.passed || []).forEach(light);
  age();
}

function row(id) {
  return list.querySelector(`[data-id="${id}"]`);
}

function showRows(rows, ids) {
  const focused = document.activeElement && document.activeElement.dataset.id;
  for (const { id, html } of rows) {
    const known = row(id);
    const item = known ? known.parentElement : document.createElement('li');
    item.innerHTML = html;
    if (!known) {
      item.className = 'new';
      list.append(item);
    }
    if (id === detail.dataset.order) load(id);
  }
  if (ids) {
    const items = new Map([...list.children].map((item) => [item.firstElementChild.dataset.id, item]));
    ids.forEach((id, place) => {
      const item = items.get(id);
      items.delete(id);
      if (list.children[place] !== item) list.insertBefore(item, list.children[place]);
    });
    items.forEach((item) => item.remove());
  }
  if (!detail.dataset.order && list.firstElementChild) select(list.firstElementChild.firstElementChild.dataset.id);
  if (focused && row(focused)) row(focused).focus({ preventScroll: true });
  mark();
  filter();
}

// An event passes along its edges.

function light(event) {
  all(`[data-event="${event}"]`).forEach((edge) => {
    edge.classList.remove('lit');
    void edge.getBoundingClientRect();
    edge.classList.add('lit');
    if (!calm.matches) edge.querySelector('animateMotion').beginElement();
  });
}

// Which orders are shown, and which one of them in its lanes.

function filter() {
  const wanted = find('input[name="filter"]:checked').value;
  let shown = 0;
  for (const item of list.children) {
    item.hidden = wanted !== 'all' && item.firstElementChild.dataset.state !== wanted;
    shown += !item.hidden;
  }
  find('#none').hidden = shown > 0 || find('#summary').childElementCount > 0;
}

all('input[name="filter"]').forEach((it) => it.addEventListener('change', filter));

function mark() {
  list.querySelectorAll('[aria-current]').forEach((it) => it.removeAttribute('aria-current'));
  const current = detail.dataset.order && row(detail.dataset.order);
  if (current) current.setAttribute('aria-current', 'true');
}

function select(id) {
  detail.dataset.order = id;
  mark();
  return load(id);
}

const loads = new Map();

// Never two at a time of one order: the latest is what counts.
async function load(id) {
  if (loads.has(id)) return loads.set(id, true);
  loads.set(id, false);
  try {
    const answer = await fetch('/page/orders/' + id);
    if (answer.ok && detail.dataset.order === id) {
      const html = await answer.text();
      if (detail.dataset.order === id) detail.innerHTML = html;
      age();
    }
  } catch {
    // The stream says that the service is away.
  }
  const again = loads.get(id);
  loads.delete(id);
  if (again) load(id);
}

list.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-id]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, '', link.getAttribute('href'));
  select(link.dataset.id);
});

list.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
  const link = step && event.target.closest('a[data-id]');
  if (!link) return;
  event.preventDefault();
  let item = link.parentElement[step];
  while (item && item.hidden) item = item[step];
  if (item) item.firstElementChild.focus();
});

addEventListener('popstate', () => {
  const id = new URLSearchParams(location.search).get('order');
  if (id) select(id);
});

// Waits until the page shows it, for as long as that may take.
async function until(isSo) {
  for (let turns = 0; turns < 600 && !isSo(); turns += 1) {
    await new Promise((done) => setTimeout(done, 50));
  }
  return isSo();
}

// How long something has lasted.

function age() {
  const now = Date.now();
  all('[data-since]').forEach((it) => {
    const seconds = Math.max(0, Math.floor((now - it.dataset.since) / 1000));
    const [size, unit] = seconds < 120 ? [1, 's'] : seconds < 7200 ? [60, 'min'] : [3600, 'h'];
    const text = `${Math.floor(seconds / size)} ${unit}`;
    if (it.textContent !== text) it.textContent = text;
  });
}

setInterval(() => {
  if (document.hidden) return;
  age();
  // It left the list, because it ended or newer ones came: no frame tells of it.
  const id = detail.dataset.order;
  if (stream && id && !row(id) && detail.querySelector('[data-since]')) load(id);
}, 1000);

// What a demonstration may do.

function say(text) {
  find('#said').textContent = text;
}

async function ask(path) {
  const answer = await fetch(path, { method: 'POST', headers: { 'X-Csrf-Token': token } });
  if (answer.ok) return answer;
  const problem = await answer.json();
  throw new Error(problem.detail);
}

async function place(name) {
  try {
    const { order_id: id } = await (await ask('/page/scenarios/' + name)).json();
    say(`Placed order ${id.slice(-6)}.`);
    return id;
  } catch (why) {
    say(`No order was placed: ${why.message}`);
  }
}

const scenarios = [...all('[data-scenario]')];
const names = scenarios.map((it) => it.dataset.scenario);

// The last one asked for is shown, whichever is placed first.
let turns = 0;
scenarios.forEach((it) =>
  it.addEventListener('click', async () => {
    const turn = (turns += 1);
    const id = await place(it.dataset.scenario);
    if (id && turn === turns) select(id);
  }),
);

// A service that does not run has no consumers.
function offer(service, isDown) {
  const button = find(`[data-service="${service}"]`);
  if (!button || button.disabled) return;
  button.dataset.switch = isDown ? 'start' : 'kill';
  button.textContent = `${button.dataset.switch} ${service}`;
}

all('[data-service]').forEach((it) => {
  const { service } = it.dataset;
  const isDown = () => find(`[data-number="${service}.consumers"]`).classList.contains('alarm');
  offer(service, isDown());
  it.addEventListener('click', async () => {
    const deed = it.dataset.switch;
    it.disabled = true;
    try {
      await ask(`/page/services/${service}/${deed}`);
      say(deed === 'kill' ? `${service} is killed.` : `${service} runs.`);
      await until(() => isDown() === (deed === 'kill'));
    } catch (why) {
      say(`Nothing was done: ${why.message}`);
    }
    it.disabled = false;
    offer(service, isDown());
  });
});

// Mostly well, and now and then not.
function mixed(number) {
  return number % 3 === 0 ? names[(number / 3) % names.length] : names[0];
}

let count = 0;
if (find('#twenty')) {
  find('#twenty').addEventListener('click', () => {
    for (let more = 0; more < 20; more += 1) place(mixed((count += 1)));
  });
  find('#traffic').addEventListener('click', async (event) => {
    const flow = event.target.getAttribute('aria-pressed') === 'true' ? 'off' : 'on';
    try {
      await ask('/page/traffic/' + flow);
      event.target.setAttribute('aria-pressed', flow === 'on');
    } catch (why) {
      say(`Nothing was done: ${why.message}`);
    }
  });
}

if (find('#sign-out')) {
  find('#sign-out').addEventListener('click', async () => {
    await fetch('/page/sign-in', { method: 'DELETE' });
    location.assign('/page/sign-in');
  });
}

detail.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy], [data-copy-curl]');
  if (!button) return;
  const { copy, copyCurl } = button.dataset;
  await navigator.clipboard.writeText(copy || `curl ${location.origin}/orders/${copyCurl}`);
  say('Copied.');
});

// A button that is replaced while it is pressed would not be clicked.
let isPressed = false;
let held = null;

find('#dead').addEventListener('pointerdown', () => (isPressed = true));
addEventListener('pointerup', () => setTimeout(() => {
  isPressed = false;
  if (held !== null) showDead(held);
}));

function showDead(html) {
  held = isPressed ? html : null;
  if (isPressed) return;
  const { queue, deed } = document.activeElement ? document.activeElement.dataset : {};
  find('#dead').innerHTML = html;
  const same = queue && find(`#dead [data-queue="${queue}"][data-deed="${deed}"]`);
  if (same) same.focus({ preventScroll: true });
}

find('#dead').addEventListener('click', async (event) => {
  const button = event.target.closest('[data-deed]');
  if (!button) return;
  const { queue, deed } = button.dataset;
  button.disabled = true;
  try {
    find('#letters').innerHTML = await (await ask(`/page/dead-letters/${queue}/${deed}`)).text();
  } catch (why) {
    find('#letters').textContent = `Nothing was done: ${why.message}`;
  }
  button.disabled = false;
});

mark();
filter();
age();
open();
