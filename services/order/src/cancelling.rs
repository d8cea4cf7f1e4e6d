//! Asks the saga to undo an order, for the customer or because its time is up.

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
use std::{slice, time::Duration};
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
    let ledger = &context.ledger;
    let mut tx = ledger.begin().await?;
    ledger.lock_orders(&mut tx, &[order_id]).await?;
    let Some(known) = ledger.cancellable(&mut tx, order_id).await? else {
        return Ok(Outcome::Unknown);
    };
    let mut loaded = orders.load(&mut tx, &[order_id], &[]).await?;
    let mut order = loaded.of(order_id, &[]);
    match order.cancel() {
        Cancel::TooLate => return Ok(Outcome::TooLate(order.status())),
        Cancel::UnderWay => return Ok(Outcome::Accepted(order.status())),
        Cancel::Say => {}
    }
    let requested = OrderCancelRequested {
        order_id,
        reason,
        payment_method: known.payment_method,
        total_amount: known.total_amount,
    };
    let detail = json!({ "reason": reason });
    let trace = trace.or(known.trace);
    let span = Span::begin(trace.as_deref(), SpanKind::Internal, format_args!("cancel order"))
        .with("order_id", order_id);
    let trace = span.traceparent_or(trace.as_deref());
    let (fact, said) = say(&*context.world, &requested, detail, trace);
    order.remember(fact);
    let status = order.status();
    loaded.keep(order_id, order);
    orders.save(&mut tx, &loaded).await?;
    ledger.enqueue(&mut tx, slice::from_ref(&said)).await?;
    context.ledger.commit(tx).await?;
    crash_at(CrashPoint::CancelCommitted);
    span.end();
    tracing::info!(%order_id, event_id = %said.id, ?reason,
        trace_id = trace_id(said.trace.as_deref()), "cancel requested");
    context.outbox.wake(vec![said]);
    orders.committed(loaded);
    Ok(Outcome::Accepted(status))
}

/// Cancels what should have ended by now; but not what may have ended long ago, while we were deaf.
pub async fn overdue<L: OrderBook, S: Store<Tx = L::Tx, State = Order> + Clone>(
    context: Context<L>,
    orders: S,
    deadline: Duration,
) -> anyhow::Result<()> {
    if deadline.is_zero() || !context.health.caught_up() {
        return Ok(());
    }
    let before = context.world.now() - deadline;
    for order in context.ledger.overdue(before).await? {
        cancel(context.clone(), orders.clone(), order, CancelReason::Deadline, None).await?;
    }
    Ok(())
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
    use CancelReason::{Customer, Deadline};
    use chrono::TimeDelta;
    use messaging::Standing;
    use service::Health;
    use std::sync::Arc;
    use tokio::sync::watch;

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

    #[tokio::test]
    async fn nothing_is_overdue_for_one_who_has_not_yet_heard_everything() {
        let mut bench = Bench::new().await;
        bench.placed().await;
        let clock = crate::testing::Still::new();
        clock.forward(TimeDelta::hours(1).num_milliseconds());
        bench.context.world = clock;
        for (standing, said) in
            [(Standing::Away, 0), (Standing::Behind, 0), (Standing::CaughtUp, 1)]
        {
            bench.context.health = Arc::new(Health::new(watch::channel(standing).1));
            let (context, orders) = (bench.context.clone(), bench.orders.clone());
            overdue(context, orders, Duration::from_secs(60)).await.unwrap();
            assert_eq!(bench.count(SAID).await, said, "{standing:?}");
        }
    }

    #[tokio::test]
    async fn what_is_overdue_is_cancelled_once_and_only_if_there_is_a_deadline() {
        let mut bench = Bench::new().await;
        let order = bench.placed().await;
        let clock = crate::testing::Still::new();
        clock.forward(TimeDelta::hours(1).num_milliseconds());
        bench.context.world = clock;
        for (deadline, said) in [(0, 0), (7200, 0), (60, 1), (60, 1)] {
            let (context, orders) = (bench.context.clone(), bench.orders.clone());
            overdue(context, orders, Duration::from_secs(deadline)).await.unwrap();
            assert_eq!(bench.count(SAID).await, said);
        }
        let known = store::order(&bench.context.ledger.pool, order).await.unwrap().unwrap();
        let detail = &known.fact("order.cancel-requested").unwrap().detail;
        assert_eq!(detail["reason"], serde_json::to_value(Deadline).unwrap());
    }
}
