//! Puts new orders into the database: whatever waits is written in one transaction, by one task
//! that no client can interrupt.

mod keys;

use crate::{
    order::Order,
    saying::say,
    store::{self, Answer, OrderBook, Placed},
    telling::{News, Telling},
    view::View,
};
use database::Failure;
use events::{Item, Money, OrderCreated, OrderId, PaymentMethod};
use keys::{BusyKeys, HeldKey};
use messaging::{CrashPoint, World, crash_at};
use serde::Serialize;
use serde_json::json;
use service::Context;
use sha2::{Digest, Sha256};
use std::{pin::pin, time::Duration};
use telemetry::{Span, SpanKind, metrics, trace_id};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// How long requests in hand are still served after the word to stop: as long as HTTP does.
const FINISH_WITHIN: Duration = Duration::from_secs(6);
/// Old answers in one transaction.
const FORGOTTEN_MAX: u32 = 1000;

/// An order as it is asked for, and found possible.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Draft {
    pub customer_id: Uuid,
    pub payment_method: PaymentMethod,
    pub items: Vec<Item>,
    pub total_amount: Money,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub draft: Draft,
    pub key: Option<String>,
    /// The `traceparent` of the customer.
    pub trace: Option<String>,
}

/// What a placed order is answered with; for a key, the same at each repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub order_id: OrderId,
    pub body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many wait already.
    Full,
    /// The database cannot be reached. The order may have been placed all the same.
    Away,
    /// The first request with this key is still at work.
    KeyBusy,
    /// The key was used for another order.
    KeyReused,
    /// The database will not have it, for a reason that the checks before should have found.
    Broken,
}

type Verdict = Result<Answered, Refusal>;

/// The customer's side.
#[derive(Clone)]
pub struct Placing {
    queue: mpsc::Sender<Waiting>,
    busy: BusyKeys,
}

/// The database's side.
pub struct Writer {
    queue: mpsc::Receiver<Waiting>,
    news: Telling<News>,
}

struct Waiting {
    request: Request,
    held: Option<HeldKey>,
    reply: oneshot::Sender<Verdict>,
    /// Kept here, so that it is told even where the client has gone and his order is placed.
    span: Span,
}

impl Placing {
    /// Both sides; so many requests may wait.
    pub fn channel(capacity: usize) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(capacity);
        let writer = Writer { queue: receiver, news: Telling::default() };
        (Self { queue: sender, busy: BusyKeys::default() }, writer)
    }

    pub async fn place(&self, mut request: Request) -> Verdict {
        let held = match &request.key {
            Some(key) => Some(self.busy.hold(key).ok_or(Refusal::KeyBusy)?),
            None => None,
        };
        let caller = request.trace.take();
        let span = Span::begin(caller.as_deref(), SpanKind::Server, format_args!("POST /orders"));
        request.trace = span.traceparent_or(caller.as_deref());
        let (reply, verdict) = oneshot::channel();
        let waiting = Waiting { request, held, reply, span };
        self.queue.try_send(waiting).map_err(|_| Refusal::Full)?;
        // Without a reply the writer has gone: the service is stopping.
        verdict.await.unwrap_or(Err(Refusal::Away))
    }
}

impl Writer {
    /// Tells there of what it has written.
    #[must_use]
    pub(crate) fn telling(self, news: Telling<News>) -> Self {
        Self { news, ..self }
    }

    /// Writes until told to stop and nobody can ask any more.
    pub async fn run<L: OrderBook>(mut self, context: Context<L>) {
        let mut closing = pin!(async {
            context.stop.cancelled().await;
            tokio::time::sleep(FINISH_WITHIN).await;
        });
        let (mut batch, batch_max) = (Vec::new(), context.batch_max);
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, batch_max) => if count == 0 { return },
                () = &mut closing => return,
            }
            // Whoever has gone, or was told that it took too long, may have asked again elsewhere.
            batch.retain(|waiting: &Waiting| !waiting.reply.is_closed());
            if !self.write(&context, std::mem::take(&mut batch)).await {
                // Those who came meanwhile would only wait for the same answer.
                while let Ok(waiting) = self.queue.try_recv() {
                    waiting.answer(Err(Refusal::Away));
                }
            }
        }
    }

    /// False when the database is away.
    async fn write<L: OrderBook>(&self, context: &Context<L>, batch: Vec<Waiting>) -> bool {
        if batch.is_empty() {
            return true;
        }
        let busy = context.health.activities.begin("the writing of orders");
        let done = transact(context, &batch, &self.news).await;
        drop(busy);
        match done {
            Ok(verdicts) => {
                batch.into_iter().zip(verdicts).for_each(|(waiting, said)| waiting.answer(said));
                true
            }
            Err(Failure::World(why)) => {
                tracing::warn!(orders = batch.len(), "orders were not placed: {why:#}");
                batch.into_iter().for_each(|waiting| waiting.answer(Err(Refusal::Away)));
                false
            }
            Err(Failure::Data(why)) if batch.len() == 1 => {
                tracing::error!("an order was not placed, since the database refuses it: {why:#}");
                batch.into_iter().for_each(|waiting| waiting.answer(Err(Refusal::Broken)));
                true
            }
            // Only the culprit pays: one by one.
            Err(Failure::Data(_)) => {
                let mut reached = true;
                for waiting in batch {
                    reached = Box::pin(self.write(context, vec![waiting])).await;
                }
                reached
            }
        }
    }
}

impl Waiting {
    fn answer(self, verdict: Verdict) {
        // Given back first: whoever has his answer may ask again.
        drop(self.held);
        let span = self.span.with("http.request.method", "POST").with("http.route", "/orders");
        match &verdict {
            Ok(answered) => {
                let span = span.with("order_id", answered.order_id);
                span.with_number("http.response.status_code", 201).end();
            }
            Err(refusal) => span.fail(&format!("{refusal:?}")),
        }
        // A client that has gone finds its order by its key, or in the list.
        let _ = self.reply.send(verdict);
    }
}

/// All of the batch, or nothing of it.
async fn transact<L: OrderBook>(
    context: &Context<L>,
    batch: &[Waiting],
    news: &Telling<News>,
) -> Result<Vec<Verdict>, Failure> {
    let drawn_up = batch.iter().map(|waiting| draw_up(&*context.world, &waiting.request));
    let (new, answered): (Vec<_>, Vec<_>) = drawn_up.unzip();
    let given = context.ledger.place(&new).await?;
    crash_at(CrashPoint::OrderCommitted);
    let mut placed = Vec::with_capacity(batch.len());
    let mut verdicts = Vec::with_capacity(batch.len());
    for (new, answered) in new.into_iter().zip(answered) {
        let first = new.answer.as_ref().and_then(|asked| Some((asked, given.get(&asked.key)?)));
        verdicts.push(match first {
            Some((asked, first)) if asked.digest != first.digest => Err(Refusal::KeyReused),
            Some((_, first)) => Ok(Answered { order_id: first.order_id, body: first.body.clone() }),
            None => {
                placed.push(new);
                Ok(answered)
            }
        });
    }
    for Placed { view, said, .. } in &placed {
        tracing::info!(order_id = %view.id, event_id = %said.id, total = %view.total_amount,
            trace_id = trace_id(said.trace.as_deref()), "order placed");
    }
    metrics::PLACED.add(placed.len(), []);
    news.tell(placed.iter().flat_map(|new| News::all(new.view.id, &new.view.order)));
    context.outbox.wake(placed.into_iter().map(|new| new.said).collect());
    Ok(verdicts)
}

/// The order, what is said about it, and what is answered.
fn draw_up(world: &dyn World, request: &Request) -> (Placed, Answered) {
    let Draft { customer_id, payment_method, items, total_amount } = request.draft.clone();
    let order_id = world.new_id();
    let created =
        OrderCreated { order_id, customer_id, payment_method, total_amount, items: items.clone() };
    let detail = json!({ "payment_method": payment_method, "total_amount": total_amount });
    let (fact, said) = say(world, &created, detail, request.trace.clone());
    let created_at = fact.at;
    let order = Order::new([fact]);
    let view = View {
        id: order_id,
        customer_id,
        payment_method,
        total_amount,
        items,
        created_at,
        order,
        waits_for: None,
    };
    let body = serde_json::to_string(&view).expect("an order is plain data");
    let answer = request.key.clone().map(|key| Answer {
        key,
        digest: digest(&request.draft),
        order_id,
        body: body.clone(),
    });
    (Placed { view, said, answer }, Answered { order_id, body })
}

/// Of what is asked for, however the client writes it down.
fn digest(draft: &Draft) -> Vec<u8> {
    Sha256::digest(serde_json::to_vec(draft).expect("a draft is plain data")).to_vec()
}

/// Answers that nobody will ask for again: all of them, in small transactions.
pub async fn forget(context: Context, kept: Duration) -> anyhow::Result<()> {
    let mut count = 0;
    while !context.stop.is_cancelled() {
        let gone = store::forget_answers(&context.ledger.pool, kept, FORGOTTEN_MAX).await?;
        count += gone;
        if gone < FORGOTTEN_MAX.into() {
            break;
        }
    }
    if count > 0 {
        tracing::debug!(count, "old answers to idempotency keys are forgotten");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
