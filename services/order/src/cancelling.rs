//! Requests the compensation of an order: for the customer, or at its deadline (`deadline.rs`).

use crate::{
    order::{Cancel, Order, Status},
    root_event::root_event,
    store::{self, Cancellable, OrderRepository},
};
use database::Failure;
use events::{CancelReason, EventId, OrderCancelRequested, OrderId};
use messaging::{CrashPoint, Reply, States, Store, Wanted, Work};
use serde_json::json;
use service::Context;
use std::{collections::HashMap, time::Duration};
use telemetry::{Span, SpanKind, trace_id};

/// The outcome of a request, and the order's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted(Status),
    TooLate(Status),
    Unknown,
}

/// Run it in a task of its own: a transaction must not end half-way with its client.
pub async fn cancel<L: OrderRepository, S: Store<Tx = L::Tx, State = Order>>(
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
pub(crate) async fn cancel_all<L: OrderRepository, S: Store<Tx = L::Tx, State = Order>>(
    context: &Context<L>,
    orders: &S,
    ids: &[OrderId],
    reason: CancelReason,
    trace: Option<String>,
) -> Result<Vec<Outcome>, Failure> {
    let (requested, outcomes) = Default::default();
    let mut requests = Requests { ids, reason, trace, requested, outcomes };
    context.committer(orders).commit(&mut requests).await?;
    for Requested { order_id, event_id, span, trace } in requests.requested {
        span.end();
        tracing::info!(%order_id, %event_id, ?reason, trace_id = trace_id(trace.as_deref()),
            "cancel requested");
    }
    Ok(requests.outcomes)
}

/// Requests to cancel, as a unit of work.
struct Requests<'a> {
    ids: &'a [OrderId],
    reason: CancelReason,
    trace: Option<String>,
    requested: Vec<Requested>,
    outcomes: Vec<Outcome>,
}

/// An event that is new.
struct Requested {
    order_id: OrderId,
    event_id: EventId,
    span: Span,
    trace: Option<String>,
}

impl<L: OrderRepository, S: Store<Tx = L::Tx, State = Order>> Work<S, L> for Requests<'_> {
    type Stop = Failure;
    type Locked = HashMap<OrderId, Cancellable>;

    const COMMITTED: CrashPoint = CrashPoint::CancelCommitted;

    fn wanted(&self) -> Wanted {
        Wanted::orders(self.ids.iter().copied())
    }

    async fn lock<'a>(
        &self,
        message_store: &'a L,
        tx: &mut L::Tx,
    ) -> Result<Reply<'a, Self::Locked>, Failure> {
        message_store.lock_orders(tx, self.ids).await?;
        Ok(message_store.cancellable(tx, self.ids))
    }

    fn decide(
        &mut self,
        mut known: Self::Locked,
        states: &mut States<'_, S>,
    ) -> Result<(), Failure> {
        for order_id in self.ids {
            let outcome = match known.remove(order_id) {
                Some(known) => self.request(states, *order_id, known),
                None => Outcome::Unknown,
            };
            self.outcomes.push(outcome);
        }
        Ok(())
    }
}

impl Requests<'_> {
    fn request<S: Store<State = Order>>(
        &mut self,
        states: &mut States<'_, S>,
        order_id: OrderId,
        known: Cancellable,
    ) -> Outcome {
        let mut order = states.get(order_id, &[]);
        match order.cancel() {
            Cancel::TooLate => return Outcome::TooLate(order.status()),
            Cancel::UnderWay => return Outcome::Accepted(order.status()),
            Cancel::Publish => {}
        }
        let Cancellable { payment_method, total_amount, trace } = known;
        let (reason, trace) = (self.reason, self.trace.clone().or(trace));
        let requested = OrderCancelRequested { order_id, reason, payment_method, total_amount };
        let span = Span::begin(trace.as_deref(), SpanKind::Internal, format_args!("cancel order"))
            .with("order_id", order_id);
        let trace = span.traceparent_or(trace.as_deref());
        let (fact, outgoing) =
            root_event(states.env(), &requested, json!({ "reason": reason }), trace);
        order.remember(fact);
        let (event_id, trace) = (outgoing.id, outgoing.trace.clone());
        self.requested.push(Requested { order_id, event_id, span, trace });
        let status = order.status();
        states.put(order_id, order);
        states.enqueue(outgoing);
        Outcome::Accepted(status)
    }
}

/// Logs the orders for which nothing will happen by itself any more.
pub async fn complain(context: Context, deadline: Duration) -> anyhow::Result<()> {
    if deadline.is_zero() {
        return Ok(());
    }
    let since = context.env.now() - deadline;
    if let Some((stuck, order_id)) = store::stuck(&context.message_store.pool, since).await? {
        tracing::warn!(
            stuck,
            %order_id,
            "compensations make no progress; run `saga why {order_id}` for the oldest order"
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
        let later = bench.context.env.now() + TimeDelta::hours(1);
        let stuck = async || store::stuck(&bench.context.message_store.pool, later).await.unwrap();
        assert_eq!(stuck().await, None, "{waits} only waits");
        ask(&bench, asked).await;
        assert_eq!(stuck().await, Some((1, asked)));
        bench.hear(short(short_of)).await;
        // Ids of one millisecond come in any order.
        assert_eq!(stuck().await, Some((2, asked.min(short_of))), "the oldest is told");
        let earlier = later - TimeDelta::hours(2);
        assert_eq!(store::stuck(&bench.context.message_store.pool, earlier).await.unwrap(), None);
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
