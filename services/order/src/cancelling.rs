//! Asks the saga to undo an order, for the customer or because its time is up (`deadline.rs`).

use crate::{
    order::{Cancel, Order, Status},
    saying::say,
    store::{self, OrderBook},
};
use database::Failure;
use events::{CancelReason, OrderCancelRequested, OrderId};
use messaging::{CrashPoint, Known, Store, crash_at};
use serde_json::json;
use service::Context;
use std::time::Duration;
use telemetry::{Span, SpanKind, trace_id};

/// What came of a request, and how the order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted(Status),
    TooLate(Status),
    Unknown,
}

/// Run it in a task of its own: a transaction must not end half-way with its client.
pub async fn cancel<L: OrderBook, S: Store<Tx = L::Tx, State = Order>>(
    context: Context<L>,
    orders: S,
    order_id: OrderId,
    reason: CancelReason,
    trace: Option<String>,
) -> Result<Outcome, Failure> {
    let outcomes = cancel_all(&context, &orders, &[order_id], reason, trace).await?;
    Ok(outcomes.into_iter().next().unwrap_or(Outcome::Unknown))
}

/// All of them, or none.
pub(crate) async fn cancel_all<L: OrderBook, S: Store<Tx = L::Tx, State = Order>>(
    context: &Context<L>,
    orders: &S,
    ids: &[OrderId],
    reason: CancelReason,
    trace: Option<String>,
) -> Result<Vec<Outcome>, Failure> {
    let ledger = &context.ledger;
    let mut tx = ledger.begin().await?;
    ledger.lock_orders(&mut tx, ids).await?;
    let mut known = ledger.cancellable(&mut tx, ids).await?;
    let mut loaded = orders.load(&mut tx, ids, &[]).await?;
    let (mut said, mut spans) = (Vec::new(), Vec::new());
    let mut outcomes = Vec::with_capacity(ids.len());
    for order_id in ids {
        let mut order = loaded.of(*order_id, &[]);
        let asked = order.cancel();
        let Some(known) = known.remove(order_id) else {
            outcomes.push(Outcome::Unknown);
            continue;
        };
        if asked == Cancel::Say {
            let trace = trace.clone().or(known.trace);
            let requested = OrderCancelRequested {
                order_id: *order_id,
                reason,
                payment_method: known.payment_method,
                total_amount: known.total_amount,
            };
            let span =
                Span::begin(trace.as_deref(), SpanKind::Internal, format_args!("cancel order"))
                    .with("order_id", order_id);
            let trace = span.traceparent_or(trace.as_deref());
            let detail = json!({ "reason": reason });
            let (fact, outgoing) = say(&*context.world, &requested, detail, trace);
            order.remember(fact);
            loaded.keep(*order_id, order.clone());
            said.push(outgoing);
            spans.push(span);
        }
        outcomes.push(match asked {
            Cancel::TooLate => Outcome::TooLate(order.status()),
            Cancel::UnderWay | Cancel::Say => Outcome::Accepted(order.status()),
        });
    }
    if said.is_empty() {
        return Ok(outcomes);
    }
    orders.save(&mut tx, &loaded).await?;
    ledger.enqueue(&mut tx, &said).await?;
    ledger.commit(tx).await?;
    crash_at(CrashPoint::CancelCommitted);
    spans.into_iter().for_each(Span::end);
    for request in &said {
        tracing::info!(order_id = %request.order_id, event_id = %request.id, ?reason,
            trace_id = trace_id(request.trace.as_deref()), "cancel requested");
    }
    context.outbox.wake(said);
    orders.committed(loaded);
    Ok(outcomes)
}

/// Says which orders nothing will happen to by itself any more.
pub async fn complain(context: Context, deadline: Duration) -> anyhow::Result<()> {
    if deadline.is_zero() {
        return Ok(());
    }
    let since = context.world.now() - deadline;
    if let Some((stuck, order_id)) = store::stuck(&context.ledger.pool, since).await? {
        tracing::warn!(
            stuck,
            %order_id,
            "orders are being undone and make no progress; `saga why {order_id}` tells of the oldest"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, short};
    use CancelReason::Customer;
    use chrono::TimeDelta;

    async fn ask(bench: &Bench, order: OrderId) -> Outcome {
        let (context, orders) = (bench.context.clone(), bench.orders.clone());
        cancel(context, orders, order, Customer, None).await.unwrap()
    }

    #[tokio::test]
    async fn an_order_is_stuck_when_it_is_being_undone_and_nothing_happens() {
        let bench = Bench::new().await;
        let (waits, asked, short_of) =
            (bench.placed().await, bench.placed().await, bench.placed().await);
        let later = bench.context.world.now() + TimeDelta::hours(1);
        let stuck = async || store::stuck(&bench.context.ledger.pool, later).await.unwrap();
        assert_eq!(stuck().await, None, "{waits} only waits");
        ask(&bench, asked).await;
        assert_eq!(stuck().await, Some((1, asked)));
        bench.hear(short(short_of)).await;
        assert_eq!(stuck().await, Some((2, asked)), "the oldest is told");
        let earlier = later - TimeDelta::hours(2);
        assert_eq!(store::stuck(&bench.context.ledger.pool, earlier).await.unwrap(), None);
    }

    const SAID: &str = "SELECT count(*) FROM outbox WHERE event_type = 'order.cancel-requested'";

    #[tokio::test]
    async fn many_requests_at_once_say_it_once() {
        let bench = Bench::new().await;
        let order = bench.placed().await;
        let asked = (0..8).map(|_| ask(&bench, order));
        let outcomes = futures::future::join_all(asked).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted(Status::Pending)));
        assert_eq!(bench.count(SAID).await, 1);
    }

    #[tokio::test]
    async fn an_order_that_is_undone_anyway_needs_no_second_event() {
        let bench = Bench::new().await;
        let order = bench.placed().await;
        bench.hear(short(order)).await;
        assert_eq!(ask(&bench, order).await, Outcome::Accepted(Status::InventoryFailed));
        assert_eq!(bench.count(SAID).await, 0);
    }

    #[tokio::test]
    async fn an_order_that_is_asked_to_be_cancelled_is_never_confirmed() {
        let bench = Bench::new().await;
        let order = bench.placed().await;
        ask(&bench, order).await;
        bench.confirm(order).await;
        assert_eq!(ask(&bench, order).await, Outcome::Accepted(Status::InventoryReserved));
    }

    #[tokio::test]
    async fn a_confirmed_order_stays_so() {
        let bench = Bench::new().await;
        let order = bench.placed().await;
        bench.confirm(order).await;
        assert_eq!(ask(&bench, order).await, Outcome::TooLate(Status::Confirmed));
        assert_eq!(ask(&bench, OrderId::nil()).await, Outcome::Unknown);
        assert_eq!(bench.count(SAID).await, 0);
    }
}
