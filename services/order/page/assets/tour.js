// A tour on the live system: each step does something and says what came of it.
'use strict';

const tour = find('#tour');
const QUEUE = 'payment.order-created.dlq';
// The orders of the tour: what waits, and what is a dead letter.
const toured = {};

const isDown = () => find('[data-number="payment.consumers"]').classList.contains('alarm');
const short = (id) => id.slice(-8);

async function order(id) {
  return (await fetch(`/page/orders/${id}/status`)).json();
}

// Waits for an order to end, and shows it.
async function ends(id) {
  await select(id);
  for (;;) {
    const { status, is_final: isFinal, took } = await order(id);
    if (isFinal) return `${status} after ${took}`;
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function placed() {
  const id = await place('happy');
  if (!id) throw new Error('no order was placed');
  return id;
}

async function service(deed, isSo) {
  const controls = find('[data-service="payment"]');
  if (controls) await ask(`/page/services/payment/${deed}`);
  if (!(await until(isSo))) throw new Error(`payment ${isDown() ? 'has no consumer' : 'still consumes'}`);
}

const STEPS = {
  async place() {
    const id = await placed();
    return `Order ${short(id)} is ${await ends(id)}. Its lanes are below: who published what, and why.`;
  },
  async kill() {
    await service('kill', isDown);
    return 'Payment has 0 consumers. Orders are still accepted.';
  },
  async wait() {
    toured.waits = await placed();
    toured.dead = await placed();
    await ask(`/page/orders/${toured.dead}/set-aside`);
    await select(toured.waits);
    return `Order ${short(toured.waits)} waits for payment. The message of ${short(toured.dead)} is a dead letter.`;
  },
  async start() {
    await service('start', () => !isDown());
    return `Order ${short(toured.waits)} is ${await ends(toured.waits)}. Order ${short(toured.dead)} still waits.`;
  },
  async replay() {
    find('#letters').innerHTML = await (await ask(`/page/dead-letters/${QUEUE}/replay`)).text();
    return `Order ${short(toured.dead)} is ${await ends(toured.dead)}. That was the tour; now break something yourself.`;
  },
};

async function take(step) {
  const button = step.querySelector('button');
  const told = step.querySelector('[role="status"]');
  button.disabled = true;
  told.textContent = 'at work …';
  try {
    told.textContent = await STEPS[step.dataset.step]();
    step.classList.add('is-done');
    const next = step.nextElementSibling;
    if (next) {
      next.hidden = false;
      next.querySelector('button').focus({ preventScroll: true });
    }
  } catch (why) {
    told.textContent = `It did not work: ${why.message}`;
    button.disabled = false;
  }
}

if (tour) {
  const begin = find('#tour-begin');
  const steps = find('#tour-steps');
  begin.addEventListener('click', () => {
    steps.hidden = !steps.hidden;
    begin.setAttribute('aria-expanded', !steps.hidden);
    begin.textContent = steps.hidden ? 'go on' : 'hide';
    const next = [...steps.children].find((step) => !step.hidden && !step.classList.contains('is-done'));
    if (!steps.hidden && next) next.querySelector('button').focus({ preventScroll: true });
  });
  tour.querySelectorAll('[data-step]').forEach((step) =>
    step.querySelector('button').addEventListener('click', () => take(step)),
  );
}
