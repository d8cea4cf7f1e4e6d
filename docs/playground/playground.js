// Draws the saga that runs in playground.wasm: tells it what the visitor does and the time, and
// shows what it answers.

const PACE_MS = 330;
const root = document.getElementById("playground");
const text = new TextEncoder();
let saga;
let shown = { orders: [] };
let selected = null;
let timer = null;

function make(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

function ask(request) {
  const random = Math.floor(Math.random() * 2 ** 52);
  const bytes = text.encode(JSON.stringify({ now: Date.now(), random, ...request }));
  const { memory, input, answer, output } = saga.exports;
  const at = input(bytes.length);
  new Uint8Array(memory.buffer, at, bytes.length).set(bytes);
  const length = answer();
  return JSON.parse(new TextDecoder().decode(new Uint8Array(memory.buffer, output(), length)));
}

function act(request) {
  const seen = ask(request);
  if (request.do === "place") selected = seen.orders[0].id;
  show(seen);
  clearTimeout(timer);
  if (seen.is_busy) timer = setTimeout(() => act({ do: "tick" }), PACE_MS);
}

const parts = {};

function build(first) {
  const places = first.scenarios.map((scenario) =>
    make("button", { type: "button", textContent: scenario, onclick: () => act({ do: "place", scenario }) }));
  parts.services = first.services.map(({ name }) => {
    const service = { state: make("p", { className: "state" }), queue: make("ul") };
    service.power = make("button", { type: "button" });
    service.again = make("button", { type: "button", textContent: "repeat", title: `deliver to ${name} once more what it handled last` });
    service.again.onclick = () => act({ do: "repeat", service: name });
    service.card = make("section", { className: `service ${name}` }, make("h3", { textContent: name }), service.state, service.queue,
      make("p", { className: "buttons" }, service.power, service.again));
    return service;
  });
  parts.provider = make("button", { type: "button" });
  parts.services[1].card.lastChild.append(parts.provider);
  parts.said = make("p", { className: "said", role: "status" });
  parts.orders = make("ol", { className: "orders" });
  parts.order = make("section", { className: "detail" });
  root.replaceChildren(
    make("p", { className: "places" }, "Place an order: ", ...places),
    make("div", { className: "services" }, ...parts.services.map((service) => service.card)),
    parts.said,
    make("div", { className: "below" }, parts.orders, parts.order),
  );
}

// Replaces children only where they have changed, so that focus stays.
function update(element, key, children) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(...children());
}

function showService(service, { name, is_running, waiting, repetitions }) {
  service.card.classList.toggle("stopped", !is_running);
  const again = repetitions ? `, ${repetitions} repeated and ignored` : "";
  service.state.textContent = `${is_running ? "runs" : "stopped"}, ${waiting.length} waiting${again}`;
  service.power.textContent = is_running ? "stop" : "start";
  service.power.onclick = () => act({ do: is_running ? "stop" : "start", service: name });
  update(service.queue, JSON.stringify(waiting), () =>
    waiting.slice(0, 4).map(({ event, order }) => make("li", { textContent: `${event} ${order}` })));
}

function showOrder(order) {
  if (!order) {
    update(parts.order, "", () => [make("p", { textContent: "No order yet: place one." })]);
    return;
  }
  update(parts.order, JSON.stringify(order), () => {
    const steps = order.steps.map(({ service, words, more, after, event }) =>
      make("li", { className: service, title: event }, make("b", { textContent: service }), ` ${words} ${more}`, make("i", { textContent: after })));
    const waits = order.waits.map((wait) => make("li", { className: "waits", textContent: `… ${wait}` }));
    const cancel = make("button", { type: "button", textContent: "cancel this order", disabled: !order.can_cancel });
    cancel.onclick = () => act({ do: "cancel", order: order.id });
    return [make("h3", { textContent: `${order.short}: ${order.status}` }), make("ol", {}, ...steps, ...waits), cancel];
  });
}

function show(seen) {
  shown = seen;
  seen.services.forEach((service, number) => showService(parts.services[number], service));
  parts.provider.textContent = seen.is_provider_up ? "provider away" : "provider back";
  parts.provider.onclick = () => act({ do: "provider", is_up: !seen.is_provider_up });
  for (const { event } of seen.published) {
    const { card } = parts.services[seen.services.findIndex(({ name }) => event.startsWith(`${name}.`))];
    card.classList.remove("lit");
    void card.offsetWidth;
    card.classList.add("lit");
  }
  const { published } = seen;
  if (published.length) {
    parts.said.textContent = published.map(({ event, order }) => `${event} (${order})`).join(", ");
  }
  const list = seen.orders.map(({ id, short, method, status, is_final }) => ({ id, short, method, status, is_final }));
  update(parts.orders, JSON.stringify([list, selected]), () => list.map(({ id, short, method, status, is_final }) => {
    const button = make("button", { type: "button", className: is_final ? status.toLowerCase() : "open" },
      make("b", { textContent: short }), make("span", { textContent: method }), make("span", { textContent: status }));
    button.setAttribute("aria-pressed", id === selected);
    button.onclick = () => { selected = id; show(shown); };
    return make("li", {}, button);
  }));
  showOrder(seen.orders.find(({ id }) => id === selected));
}

try {
  const file = await fetch(new URL("playground.wasm", import.meta.url));
  if (!file.ok) throw new Error("this copy of the site was built without it (rustup target add wasm32-unknown-unknown, then make site)");
  saga = (await WebAssembly.instantiate(await file.arrayBuffer())).instance;
  const first = ask({ do: "tick" });
  build(first);
  show(first);
} catch (why) {
  root.replaceChildren(make("p", { textContent: `The playground cannot run: ${why.message}` }));
}
