//! Writes new orders to the database: one task, which no client can interrupt, writes all waiting
//! requests in one transaction.

mod drawing;
mod keys;
mod writer;

use crate::{feed::Feeds, store};
use events::{Item, Money, OrderId, PaymentMethod};
use keys::{BusyKeys, HeldKey};
use serde::Serialize;
use service::Context;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use telemetry::{Span, SpanKind};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub use writer::Writer;

/// How long a request waits for the writer, before it is given up.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// Old answers in one transaction.
const FORGOTTEN_MAX: u32 = 1000;

/// An order as requested, and valid.
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
    /// Whose order it is, where keys are required.
    pub client: Option<Arc<str>>,
    /// The `traceparent` of the customer.
    pub trace: Option<String>,
}

/// The answer for a placed order; for a key, the same at each repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub order_id: OrderId,
    pub body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue of requests is full.
    Full,
    /// The database cannot be reached, and the order is not placed.
    Away,
    /// The database went away while the order was written. It may have been placed all the same.
    Unknown(OrderId),
    /// The first request with this key is still at work.
    KeyBusy,
    /// The key was used for another order.
    KeyReused,
    /// The database answers, and refuses it for now: its key is locked, say. It is not placed.
    NotNow,
    /// The database refuses it, for a reason that validation should have found.
    Broken,
}

type Verdict = Result<Answered, Refusal>;

/// The client's side.
#[derive(Clone)]
pub struct Placing {
    queue: mpsc::Sender<Waiting>,
    busy: BusyKeys,
    taken_within: Duration,
}

struct Waiting {
    request: Request,
    held: Option<HeldKey>,
    claim: Claim,
    reply: oneshot::Sender<Verdict>,
    /// Kept here, so that it ends even if the client has gone and its order is placed.
    span: Span,
}

/// Decides who controls a request: its client, which may give it up, or the writer, which has then
/// begun to write it.
#[derive(Clone, Default)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    /// True for the first.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Placing {
    /// Both sides; so many requests may wait.
    pub fn channel(capacity: usize) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(capacity);
        let placing = Self { queue: sender, busy: BusyKeys::default(), taken_within: TAKEN_WITHIN };
        (placing, Writer::new(receiver, Feeds::default()))
    }

    pub async fn place(&self, mut request: Request) -> Verdict {
        request.key = request.key.map(|key| own_key(request.client.as_deref(), &key));
        let held = match &request.key {
            Some(key) => Some(self.busy.hold(key).ok_or(Refusal::KeyBusy)?),
            None => None,
        };
        let caller = request.trace.take();
        let span = Span::begin(caller.as_deref(), SpanKind::Server, format_args!("POST /orders"));
        request.trace = span.traceparent_or(caller.as_deref());
        let (reply, mut verdict) = oneshot::channel();
        let claim = Claim::default();
        let waiting = Waiting { request, held, claim: claim.clone(), reply, span };
        self.queue.try_send(waiting).map_err(|_| Refusal::Full)?;
        let said = tokio::select! {
            biased;
            said = &mut verdict => said,
            () = tokio::time::sleep(self.taken_within) => {
                if claim.take() {
                    return Err(Refusal::Away);
                }
                // It is being written, so a refusal would be wrong.
                verdict.await
            }
        };
        // Without a reply the writer has gone: the service is stopping.
        said.unwrap_or(Err(Refusal::Away))
    }
}

/// Each client has idempotency keys of its own: neither its name nor a key has a line break.
fn own_key(client: Option<&str>, key: &str) -> String {
    client.map_or_else(|| key.into(), |client| format!("{client}\n{key}"))
}

/// The key as it was stored while no client had keys of its own.
pub fn ownerless_key(key: &str) -> Option<&str> {
    key.split_once('\n').map(|(_, key)| key)
}

impl Waiting {
    fn answer(self, verdict: Verdict) {
        // Released first: a client with an answer may repeat the request at once.
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

/// Deletes all answers past their retention, in small transactions.
pub async fn forget(context: Context, retention: Duration) -> anyhow::Result<()> {
    let mut count = 0;
    while !context.stop.is_cancelled() {
        let gone =
            store::forget_answers(&context.message_store.pool, retention, FORGOTTEN_MAX).await?;
        count += gone;
        if gone < FORGOTTEN_MAX.into() {
            break;
        }
    }
    if count > 0 {
        tracing::debug!(count, "deleted expired HTTP idempotency keys");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
