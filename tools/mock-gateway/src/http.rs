//! The provider's HTTP API, with two routes that only a mock has: `/behaviour` and the list of all
//! charges.

use crate::{
    behaviour::{Behaviour, Change},
    books::{Books, Charge, Key, Record, Refund, Word},
    guard::guard,
    ledger::Ledger,
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use events::PaymentMethod;
use futures::stream;
use mock_gateway::lies::{Answer, Lie, pending};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// `card_slow` is approved after this long.
const SLOW: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Provider(Arc<Mutex<Inner>>);

struct Inner {
    books: Books,
    ledger: Ledger,
    behaviour: Behaviour,
    calls: u32,
    /// The number of calls that were not let in.
    refused: u32,
    /// The number of each kind of wrong answer.
    lied: BTreeMap<Lie, u32>,
    /// Charges that are accepted and not decided.
    pending: BTreeSet<Key>,
}

pub fn routes(provider: Provider) -> Router {
    Router::new()
        .route("/charge", post(charge))
        .route("/refund", post(refund))
        .route("/charges/{key}", get(look_up))
        .route("/charges/{key}/void", post(void))
        .route_layer(from_fn_with_state(provider.clone(), guard))
        .route("/charges", get(charges))
        .route("/behaviour", get(behaviour).put(change))
        .route("/readyz", get(async || "ready"))
        .with_state(provider)
}

impl Provider {
    pub fn new(books: Books, ledger: Ledger, behaviour: Behaviour) -> Self {
        let (calls, refused, lied, pending) = Default::default();
        let inner = Inner { books, ledger, behaviour, calls, refused, lied, pending };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub fn behaviour(&self) -> Behaviour {
        self.inner().behaviour.clone()
    }

    pub fn refused(&self) {
        self.inner().refused += 1;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, executes the request, and answers; in a task of its own, so that a client that
    /// disconnects does not undo it. A new charge, named by its key, may be pending for a while.
    async fn work(
        self,
        thinks: Duration,
        charge: Option<Key>,
        act: impl FnOnce(&mut Inner) -> Answer + Send + 'static,
    ) -> Response {
        let working = tokio::spawn(async move {
            let latency = Duration::from_millis(self.inner().behaviour.latency_ms);
            sleep(latency + thinks).await;
            let (lie, behaviour) = self.inner().called();
            let new = charge.filter(|key| self.inner().books.look_up(key).is_none());
            let answer = match (lie, new) {
                _ if behaviour.down => unavailable(),
                (Some(Lie::Pending), Some(key)) => self.leave_undecided(key, act),
                (_, Some(key)) if self.inner().pending.contains(&key) => pending(),
                _ => act(&mut self.inner()),
            };
            sleep(Duration::from_millis(behaviour.answer_latency_ms)).await;
            match lie {
                _ if behaviour.hang_up => broken(answer),
                Some(lie) => lie.tell(answer),
                None => answer.into_response(),
            }
        });
        working
            .await
            .unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "a bug").into_response())
    }

    /// The charge is decided later, whether or not it is queried; once, however often it is
    /// requested.
    fn leave_undecided(
        &self,
        key: Key,
        act: impl FnOnce(&mut Inner) -> Answer + Send + 'static,
    ) -> Answer {
        let mut inner = self.inner();
        if inner.pending.insert(key.clone()) {
            let (provider, wait) = (self.clone(), inner.behaviour.pending_ms);
            tokio::spawn(async move {
                sleep(Duration::from_millis(wait)).await;
                let mut inner = provider.inner();
                inner.pending.remove(&key);
                let _decided = act(&mut inner);
            });
        }
        pending()
    }
}

impl Inner {
    /// Counts the call; returns its wrong answer, if any, and the current behaviour.
    fn called(&mut self) -> (Option<Lie>, Behaviour) {
        let call = self.calls;
        self.calls = self.calls.wrapping_add(1);
        let mut behaviour = self.behaviour.clone();
        behaviour.down = behaviour.fails(call);
        let lie = behaviour.lie(call).filter(|_| !behaviour.down && !behaviour.hang_up);
        if let Some(lie) = lie {
            *self.lied.entry(lie).or_default() += 1;
        }
        (lie, behaviour)
    }

    /// A promise is on disk before it is answered.
    fn answer(&mut self, word: Word) -> Answer {
        let (status, Json(mut body)) = self.promised(word);
        let amount = body["amount"].as_f64().filter(|_| self.behaviour.amount_off != 0);
        if let Some(amount) = amount {
            body["amount"] = json!(amount + self.behaviour.amount_off as f64 / 100.0);
        }
        (status, Json(body))
    }

    fn promised(&mut self, word: Word) -> Answer {
        match word {
            Word::Known(record) => answer_of(&record),
            Word::New(record) => match self.ledger.append(&record) {
                Ok(()) => {
                    self.books.note(record.clone());
                    answer_of(&record)
                }
                Err(why) => problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("{why:#}")),
            },
            Word::Conflict => problem(
                StatusCode::CONFLICT,
                "this Idempotency-Key belongs to another request: a new request needs a new key",
            ),
            Word::Unavailable => unavailable(),
            Word::NoRefund(reason) => problem(StatusCode::UNPROCESSABLE_ENTITY, reason),
        }
    }
}

async fn charge(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let (key, charge) = match (key(&headers), parse::<Charge>(&body)) {
        (Ok(key), Ok(charge)) => (key, charge),
        (Err(wrong), _) | (_, Err(wrong)) => return wrong.into_response(),
    };
    let slow = charge.payment_method == PaymentMethod::CardSlow;
    let thinks = if slow { SLOW } else { Duration::ZERO };
    let named = Some(key.clone());
    let act = move |inner: &mut Inner| {
        let word = inner.books.charge(&key, charge);
        match inner.answer(word) {
            // For a look-up these are normal answers; here they mean that nothing will be charged.
            (StatusCode::OK, body) if body["status"] == "declined" => {
                (StatusCode::UNPROCESSABLE_ENTITY, body)
            }
            (StatusCode::OK, body) if body["status"] == "voided" => (StatusCode::GONE, body),
            answer => answer,
        }
    };
    provider.work(thinks, named, act).await
}

async fn refund(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let (key, refund) = match (key(&headers), parse::<Refund>(&body)) {
        (Ok(key), Ok(refund)) => (key, refund),
        (Err(wrong), _) | (_, Err(wrong)) => return wrong.into_response(),
    };
    let act = move |inner: &mut Inner| {
        let word = match inner.books.refund(&key, refund) {
            Word::New(_) if inner.behaviour.refuse_refunds => {
                Word::NoRefund("the account is closed")
            }
            word => word,
        };
        inner.answer(word)
    };
    provider.work(Duration::ZERO, None, act).await
}

async fn look_up(State(provider): State<Provider>, Path(key): Path<Key>) -> Response {
    let act = move |inner: &mut Inner| match inner.books.look_up(&key) {
        Some(record) => {
            let record = record.clone();
            let (status, Json(mut body)) = inner.answer(Word::Known(record));
            body["asked"] = inner.books.asked(&key).into();
            (status, Json(body))
        }
        None if inner.pending.contains(&key) => pending(),
        None => problem(StatusCode::NOT_FOUND, "this key was never charged"),
    };
    provider.work(Duration::ZERO, None, act).await
}

async fn void(State(provider): State<Provider>, Path(key): Path<Key>) -> Response {
    let act = move |inner: &mut Inner| {
        let word = inner.books.void(&key);
        inner.answer(word)
    };
    provider.work(Duration::ZERO, None, act).await
}

/// All charges and refunds, one entry a key; served even while the provider is down.
async fn charges(State(provider): State<Provider>) -> Json<Value> {
    let inner = provider.inner();
    let (mut taken, mut declined, mut voided) = (Vec::new(), 0, 0);
    for record in inner.books.all() {
        match record {
            Record::Approved { key, charge, .. } => taken.push(json!({
                "key": key, "order_id": charge.order_id, "amount": charge.amount,
            })),
            Record::Declined { .. } => declined += 1,
            Record::Voided { .. } => voided += 1,
            Record::Refunded { .. } => {}
        }
    }
    let given_back: Vec<Value> = inner
        .books
        .refunds()
        .map(|(key, refund)| {
            json!({
                "key": key, "order_id": refund.order_id, "amount": refund.amount,
                "charge": refund.charge,
            })
        })
        .collect();
    Json(json!({
        "totals": {
            "charges": taken.len(), "refunds": given_back.len(),
            "declined": declined, "voided": voided, "calls": inner.calls,
            "refused": inner.refused,
            "pending": inner.pending.len(), "lies": inner.lied,
        },
        "charges": taken,
        "refunds": given_back,
    }))
}

async fn behaviour(State(provider): State<Provider>) -> Json<Behaviour> {
    Json(provider.inner().behaviour.clone())
}

async fn change(State(provider): State<Provider>, body: Bytes) -> Response {
    let change: Change = match parse(&body) {
        Ok(change) => change,
        Err(wrong) => return wrong.into_response(),
    };
    let mut inner = provider.inner();
    match inner.behaviour.with(change) {
        Ok(changed) => {
            inner.behaviour = changed.clone();
            Json(changed).into_response()
        }
        Err(why) => problem(StatusCode::BAD_REQUEST, &why.to_string()).into_response(),
    }
}

fn key(headers: &HeaderMap) -> Result<Key, Answer> {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    key.filter(|key| !key.is_empty()).map(ToOwned::to_owned).ok_or_else(|| {
        problem(
            StatusCode::BAD_REQUEST,
            "the header Idempotency-Key is missing: it names the charge",
        )
    })
}

/// An invalid request is answered 400: a 422 would be a declined card.
fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Answer> {
    serde_json::from_slice(body)
        .map_err(|why| problem(StatusCode::BAD_REQUEST, &format!("the body is wrong: {why}")))
}

fn answer_of(record: &Record) -> Answer {
    let body = match record {
        Record::Approved { charge, reference, .. } => json!({
            "status": "approved", "reference": reference,
            "order_id": charge.order_id, "amount": charge.amount,
        }),
        Record::Declined { reason, .. } => json!({"status": "declined", "reason": reason}),
        Record::Voided { .. } => json!({"status": "voided"}),
        Record::Refunded { reference, refund, .. } => json!({
            "status": "refunded", "reference": reference,
            "order_id": refund.order_id, "amount": refund.amount,
        }),
    };
    (StatusCode::OK, Json(body))
}

fn unavailable() -> Answer {
    problem(StatusCode::SERVICE_UNAVAILABLE, "the provider is unavailable")
}

fn problem(status: StatusCode, reason: &str) -> Answer {
    (status, Json(json!({"reason": reason})))
}

/// Half of the answer, and then the connection is closed.
fn broken((status, Json(body)): Answer) -> Response {
    let text = body.to_string();
    let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
    let parts = [Ok(half), Err(io::Error::other("hung up on purpose"))];
    (status, Body::from_stream(stream::iter(parts))).into_response()
}
