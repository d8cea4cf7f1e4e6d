//! Holds all SQL of payment.

use crate::{
    charge_dispatch::{ChargeDispatch, Charges},
    payment::{Call, Charge, Payment, Status},
};
use database::{Failure, PgPool, Session, Transaction};
use events::{EventId, Money, OrderId, PaymentMethod, ProductId};
use futures::{FutureExt, TryFutureExt};
use messaging::{Batch, LoadedBatch, MessageStore, PgMessageStore, Reply, Store};
use reaction::Cause;
use rust_decimal::Decimal;
use std::time::Duration;
use uuid::Uuid;

pub struct Payments {
    dispatch: ChargeDispatch,
}

impl Payments {
    pub const fn new(dispatch: ChargeDispatch) -> Self {
        Self { dispatch }
    }
}

/// The columns of a `Row`.
macro_rules! columns {
    () => {
        "order_id, status, payment_method, amount, items::TEXT AS items, cancel_requested, \
         attempts, refund_attempts, next_call, in_doubt, look_ups, provider_ref, refund_ref, \
         last_error, caused_by, trace, charge_key, refund_key, claim"
    };
}

database::row! {
    struct Row {
        order_id: OrderId,
        status: String,
        payment_method: String,
        amount: Decimal,
        items: String,
        cancel_requested: bool,
        attempts: i32,
        refund_attempts: i32,
        next_call: String,
        in_doubt: bool,
        look_ups: i32,
        provider_ref: Option<String>,
        refund_ref: Option<String>,
        last_error: Option<String>,
        caused_by: EventId,
        trace: Option<String>,
        charge_key: EventId,
        refund_key: Option<EventId>,
        claim: Option<Uuid>,
    }
}

impl Store for Payments {
    type Tx = Transaction;
    type State = Payment;
    type Batch = Charges;

    fn load(
        &self,
        tx: &mut Transaction,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Charges> {
        load(tx, orders).map_ok(Charges::new).boxed()
    }

    fn decided(&self, charges: &mut Charges, order: OrderId) {
        self.dispatch.take_up(charges, order);
    }

    async fn save(&self, tx: &mut Transaction, charges: &Charges) -> Result<(), Failure> {
        save(tx, charges.batch());
        Ok(())
    }

    fn committed(&self, charges: Charges) {
        self.dispatch.committed(charges);
    }
}

/// Locks the rows too: the desk claims due charges without locking their orders.
pub fn load(tx: &Session, orders: &[OrderId]) -> Reply<'static, Batch<Payment>> {
    let query = tx.query(concat!(
        "SELECT ",
        columns!(),
        " FROM payments
              WHERE order_id = ANY($1)
              ORDER BY order_id
              FOR UPDATE",
    ));
    let rows = query.bind(orders).rows::<Row>();
    let batch = async move {
        let known = rows.await?.into_iter();
        let known = known.map(|row| Ok((row.order_id, Payment::from(charge(row)?))));
        Ok(Batch::new(known.collect::<Result<Vec<_>, Failure>>()?))
    };
    batch.boxed()
}

pub fn save(tx: &Session, batch: &Batch<Payment>) {
    let changed: Vec<&Charge> =
        batch.changed().filter_map(|(_, payment)| payment.charge.as_ref()).collect();
    if changed.is_empty() {
        return;
    }
    let of = |read: fn(&Charge) -> i32| changed.iter().map(|c| read(c)).collect::<Vec<_>>();
    let text =
        |read: fn(&Charge) -> Option<&str>| changed.iter().map(|c| read(c)).collect::<Vec<_>>();
    tx.batch(
        "INSERT INTO payments (order_id, status, payment_method, amount, items, cancel_requested,
             attempts, refund_attempts, provider_ref, refund_ref, last_error, caused_by, trace,
             charge_key, refund_key, claim, claimed_at, claimed_by, next_call, in_doubt, look_ups,
             due_at)
         SELECT order_id, status, payment_method, amount, items::JSONB, cancel_requested,
             attempts, refund_attempts, provider_ref, refund_ref, last_error, caused_by, trace,
             charge_key, refund_key, claim, CASE WHEN claim IS NOT NULL THEN now() END,
             CASE WHEN claim IS NOT NULL THEN current_setting('application_name') END,
             next_call, in_doubt, look_ups, now() + due_in_ms * INTERVAL '1 millisecond'
         FROM UNNEST($1::UUID[], $2::TEXT[], $3::TEXT[], $4::NUMERIC[], $5::TEXT[], $6::BOOLEAN[],
             $7::INTEGER[], $8::INTEGER[], $9::TEXT[], $10::TEXT[], $11::TEXT[], $12::UUID[],
             $13::TEXT[], $14::UUID[], $15::UUID[], $16::UUID[], $17::TEXT[], $18::BOOLEAN[],
             $19::INTEGER[], $20::BIGINT[])
             AS changed (order_id, status, payment_method, amount, items, cancel_requested,
             attempts, refund_attempts, provider_ref, refund_ref, last_error, caused_by, trace,
             charge_key, refund_key, claim, next_call, in_doubt, look_ups, due_in_ms)
         ON CONFLICT (order_id) DO UPDATE
         SET status = EXCLUDED.status,
             cancel_requested = EXCLUDED.cancel_requested,
             attempts = EXCLUDED.attempts,
             refund_attempts = EXCLUDED.refund_attempts,
             provider_ref = EXCLUDED.provider_ref,
             refund_ref = EXCLUDED.refund_ref,
             last_error = EXCLUDED.last_error,
             caused_by = EXCLUDED.caused_by,
             trace = EXCLUDED.trace,
             refund_key = EXCLUDED.refund_key,
             claim = EXCLUDED.claim,
             claimed_at = CASE WHEN EXCLUDED.claim = payments.claim THEN payments.claimed_at
                 ELSE now() END,
             claimed_by = CASE WHEN EXCLUDED.claim = payments.claim THEN payments.claimed_by
                 ELSE EXCLUDED.claimed_by END,
             next_call = EXCLUDED.next_call,
             in_doubt = EXCLUDED.in_doubt,
             look_ups = EXCLUDED.look_ups,
             due_at = EXCLUDED.due_at,
             updated_at = now()",
        changed.len(),
    )
    .each(changed.iter().map(|c| c.order_id))
    .each(changed.iter().map(|c| c.status.name()))
    .each(changed.iter().map(|c| c.method.name()))
    .each(changed.iter().map(|c| c.amount.decimal()))
    .each(changed.iter().map(|c| items_text(c)))
    .each(changed.iter().map(|c| c.cancel_requested))
    .each(of(|c| c.attempts.cast_signed()))
    .each(of(|c| c.refund_attempts.cast_signed()))
    .each(text(|c| c.provider_ref.as_deref()))
    .each(text(|c| c.refund_ref.as_deref()))
    .each(text(|c| c.last_error.as_deref()))
    .each(changed.iter().map(|c| c.cause.event_id))
    .each(text(|c| c.cause.trace.as_deref()))
    .each(changed.iter().map(|c| c.charge_key))
    .each(changed.iter().map(|c| c.refund_key))
    .each(changed.iter().map(|c| c.claim))
    .each(changed.iter().map(|c| c.next_call.name()))
    .each(changed.iter().map(|c| c.in_doubt))
    .each(of(|c| c.look_ups.cast_signed()))
    .each(changed.iter().map(|c| c.due_in.map(millis)))
    .run();
}

/// Claims what is due under `claim`: no other desk takes it, and a crash leaves the claim behind.
pub async fn take_due(
    message_store: &PgMessageStore,
    claim: Uuid,
    max: usize,
) -> Result<Vec<Charge>, Failure> {
    let tx = message_store.begin().await?;
    let query = tx.query(concat!(
        "SELECT ",
        columns!(),
        " FROM payments
              WHERE due_at <= now()
              ORDER BY due_at
              LIMIT $1
              FOR UPDATE SKIP LOCKED",
    ));
    let rows = query.bind(i64::try_from(max).unwrap_or(i64::MAX)).rows().await?;
    let (taken, unread) = change(&tx, rows, |charge| charge.take_up(claim));
    if !unread.is_empty() {
        let later = "UPDATE payments SET due_at = now() + INTERVAL '1 minute'
                     WHERE order_id = ANY($1)";
        tx.query(later).bind(unread).run();
    }
    tx.commit().await?;
    Ok(taken)
}

/// Releases the claims of dead copies, which have no connection any more, and expired ones.
pub async fn put_back(
    message_store: &PgMessageStore,
    age: Duration,
    max: usize,
) -> Result<usize, Failure> {
    let tx = message_store.begin().await?;
    let query = tx
        .query(concat!(
            "SELECT ",
            columns!(),
            " FROM payments
              WHERE claim IS NOT NULL
              AND (claimed_at <= now() - $1 * INTERVAL '1 millisecond'
                  OR claimed_by <> ALL (ARRAY(SELECT application_name FROM pg_stat_activity)))
              LIMIT $2
              FOR UPDATE SKIP LOCKED",
        ))
        .bind(millis(age))
        .bind(i64::try_from(max).unwrap_or(i64::MAX));
    let (left, _) = change(&tx, query.rows().await?, Charge::put_back);
    tx.commit().await?;
    Ok(left.len())
}

/// Releases the claims that are this copy's own and not held. They are read first: a claim that can
/// be read was held before, until its answer was written or its commit's answer was lost.
pub async fn put_back_lost(
    message_store: &PgMessageStore,
    age: Duration,
    is_held: impl Fn(Uuid) -> bool,
) -> Result<usize, Failure> {
    let own: Vec<Uuid> = sqlx::query_scalar(
        "SELECT DISTINCT claim
         FROM payments
         WHERE claim IS NOT NULL
             AND claimed_at <= now() - $1 * INTERVAL '1 millisecond'
             AND claimed_by = current_setting('application_name')",
    )
    .bind(millis(age))
    .fetch_all(&message_store.pool)
    .await?;
    let lost: Vec<_> = own.into_iter().filter(|claim| !is_held(*claim)).collect();
    if lost.is_empty() {
        return Ok(0);
    }
    let tx = message_store.begin().await?;
    let query = tx.query(concat!(
        "SELECT ",
        columns!(),
        " FROM payments
              WHERE claim = ANY($1) AND claimed_by = current_setting('application_name')
              FOR UPDATE SKIP LOCKED",
    ));
    let (lost, _) = change(&tx, query.bind(lost).rows().await?, Charge::put_back);
    tx.commit().await?;
    Ok(lost.len())
}

/// Saves the outcome of each; returns the orders apart that this release cannot read, as after a
/// newer one was rolled back. They hold up no other.
fn change(
    tx: &Session,
    rows: Vec<Row>,
    how: impl Fn(Charge) -> Charge,
) -> (Vec<Charge>, Vec<OrderId>) {
    let (mut charges, mut unread) = (Vec::with_capacity(rows.len()), Vec::new());
    let mut batch = Batch::new([]);
    for row in rows {
        let order_id = row.order_id;
        match charge(row).map(&how) {
            Ok(charge) => {
                batch.put(order_id, Payment::from(charge.clone()));
                charges.push(charge);
            }
            Err(why) => {
                tracing::error!(%order_id, "this release cannot read its payment: {why}");
                unread.push(order_id);
            }
        }
    }
    save(tx, &batch);
    (charges, unread)
}

/// The number of open payments by state, and the oldest event that started one; found by the
/// indexes of due and claimed charges, so that the number of settled ones does not matter.
pub async fn count_open(pool: &PgPool) -> Result<Vec<(Status, i64, Option<EventId>)>, Failure> {
    // As text, which has a least one; ids of version 7 are ordered by when they were made.
    let found: Vec<(String, i64, EventId)> = sqlx::query_as(
        "SELECT status, COUNT(*), MIN(caused_by::TEXT)::UUID
         FROM payments
         WHERE due_at IS NOT NULL OR claim IS NOT NULL
         GROUP BY status",
    )
    .fetch_all(pool)
    .await?;
    let of = |wanted: Status| {
        let found = found.iter().find(|(status, ..)| status == wanted.name());
        found.map_or((wanted, 0, None), |(_, count, oldest)| (wanted, *count, Some(*oldest)))
    };
    Ok(Status::OPEN.map(of).into())
}

/// The time until the next charge is due.
pub async fn next_due_in(pool: &PgPool) -> Result<Option<Duration>, Failure> {
    let wait: Option<i64> = sqlx::query_scalar(
        "SELECT CEIL(EXTRACT(EPOCH FROM MIN(due_at) - now()) * 1000)::BIGINT FROM payments
         WHERE due_at IS NOT NULL",
    )
    .fetch_one(pool)
    .await?;
    Ok(wait.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))))
}

fn charge(row: Row) -> Result<Charge, Failure> {
    let status = Status::ALL
        .into_iter()
        .find(|status| status.name() == row.status)
        .ok_or_else(|| Failure::permanent(format!("unknown payment status {:?}", row.status)))?;
    let next_call = Call::ALL
        .into_iter()
        .find(|call| call.name() == row.next_call)
        .ok_or_else(|| Failure::permanent(format!("unknown call {:?}", row.next_call)))?;
    Ok(Charge {
        order_id: row.order_id,
        status,
        method: row.payment_method.parse::<PaymentMethod>().map_err(Failure::permanent)?,
        amount: Money::new(row.amount).map_err(Failure::permanent)?,
        items: serde_json::from_str(&row.items).map_err(Failure::permanent)?,
        cancel_requested: row.cancel_requested,
        attempts: row.attempts.unsigned_abs(),
        refund_attempts: row.refund_attempts.unsigned_abs(),
        next_call,
        in_doubt: row.in_doubt,
        look_ups: row.look_ups.unsigned_abs(),
        provider_ref: row.provider_ref,
        refund_ref: row.refund_ref,
        last_error: row.last_error,
        cause: Cause { event_id: row.caused_by, trace: row.trace },
        charge_key: row.charge_key,
        refund_key: row.refund_key,
        due_in: None,
        claim: row.claim,
    })
}

fn items_text(charge: &Charge) -> String {
    serde_json::to_string(&charge.items).expect("items are plain data")
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
