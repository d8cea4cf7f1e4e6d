//! Cancels all orders past their deadline, one batch per transaction.

use crate::{cancelling::cancel_all, order::Order, store::OrderRepository};
use anyhow::bail;
use database::Failure;
use events::{CancelReason, OrderId};
use messaging::{Bisection, Store};
use service::Context;
use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A queue that is empty here may have its messages at another copy, which handles them, or gives
/// them back, within this time.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// A database that fails this often ends the run.
const FAILURES_MAX: usize = 10;

pub struct Deadline<S> {
    orders: S,
    /// Zero is never.
    after: Duration,
    /// The backlog has been handled for at least this long before an order is cancelled.
    settled_after: Duration,
    caught_up_at: Mutex<Option<Instant>>,
    /// Where the next run begins, so that a run that was given up does not stop at the same order
    /// again.
    from: Mutex<OrderId>,
}

/// What a run could not do.
#[derive(Default)]
struct Troubles {
    failures: usize,
    orders: Vec<OrderId>,
    last: Option<Failure>,
}

impl<S> Deadline<S> {
    pub fn new(orders: S, after: Duration) -> Self {
        let settled_after = after.min(SETTLED_AFTER);
        let (caught_up_at, from) = (Mutex::new(None), Mutex::new(OrderId::nil()));
        Self { orders, after, settled_after, caught_up_at, from }
    }

    /// Whether all that waited is handled, here and by other copies.
    fn is_settled(&self, is_caught_up: bool) -> bool {
        let mut at = self.caught_up_at.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_caught_up {
            *at = None;
        }
        is_caught_up && at.get_or_insert_with(Instant::now).elapsed() >= self.settled_after
    }

    /// Not while there is a backlog: an order in it may have ended long ago.
    pub async fn enforce<L: OrderRepository>(&self, context: &Context<L>) -> anyhow::Result<()>
    where
        S: Store<Tx = L::Tx, State = Order>,
    {
        let mut from = mem::take(&mut *self.from.lock().unwrap_or_else(PoisonError::into_inner));
        let mut troubles = Troubles::default();
        let goes_on =
            || self.is_settled(context.health.caught_up()) && !context.stop.is_cancelled();
        while !self.after.is_zero() && goes_on() {
            let late = context.message_store.overdue(self.after, from, context.batch_max).await?;
            let Some(last) = late.last().copied() else { break };
            from = last;
            self.cancel(context, late, &mut troubles).await;
            if troubles.are_too_many() {
                *self.from.lock().unwrap_or_else(PoisonError::into_inner) = from;
                break;
            }
        }
        troubles.tell()
    }

    /// A failing order does not delay others.
    async fn cancel<L: OrderRepository>(
        &self,
        context: &Context<L>,
        late: Vec<OrderId>,
        troubles: &mut Troubles,
    ) where
        S: Store<Tx = L::Tx, State = Order>,
    {
        let mut groups = Bisection::new(late);
        while let Some(group) = groups.next_group()
            && !troubles.are_too_many()
        {
            let reason = CancelReason::Deadline;
            let Err(why) = cancel_all(context, &self.orders, &group, reason, None).await else {
                continue;
            };
            troubles.failures += usize::from(!matches!(why, Failure::Permanent(_)));
            troubles.last = Some(why);
            troubles.orders.extend(groups.halve(group));
        }
    }
}

impl Troubles {
    const fn are_too_many(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    fn tell(self) -> anyhow::Result<()> {
        match (self.last, self.orders.first()) {
            (None, _) => Ok(()),
            (Some(why), None) => bail!("cannot cancel overdue orders yet: {why}"),
            (Some(why), Some(order)) => {
                bail!(
                    "{} overdue orders cannot be cancelled, such as {order}: {why}",
                    self.orders.len()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store, testing::Bench};
    use messaging::{ConsumerState, MessageStore};
    use service::Health;
    use std::sync::Arc;
    use tokio::sync::watch;

    const SAID: &str = "SELECT count(*) FROM outbox WHERE event_type = 'order.cancel-requested'";
    const MINUTE: Duration = Duration::from_mins(1);

    async fn run(bench: &Bench, deadline: Duration) -> anyhow::Result<()> {
        let settled_after = Duration::ZERO;
        let deadline = Deadline::new(bench.orders.clone(), deadline);
        Deadline { settled_after, ..deadline }.enforce(&bench.context).await
    }

    /// All orders were placed so long ago.
    async fn placed_ago(bench: &Bench, minutes: i64) {
        sqlx::query("UPDATE orders SET created_at = now() - $1 * INTERVAL '1 minute'")
            .bind(minutes)
            .execute(&bench.context.message_store.pool)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn nothing_is_overdue_for_one_who_has_not_yet_heard_everything() {
        let mut bench = Bench::new().await;
        bench.placed().await;
        placed_ago(&bench, 60).await;
        for (standing, said) in
            [(ConsumerState::Away, 0), (ConsumerState::Behind, 0), (ConsumerState::CaughtUp, 1)]
        {
            bench.context.health = Arc::new(Health::new(watch::channel(standing).1));
            run(&bench, MINUTE).await.unwrap();
            assert_eq!(bench.count(SAID).await, said, "{standing:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_copy_may_still_have_is_waited_for() {
        let deadline = Deadline::new((), 20 * MINUTE);
        for (passes_s, is_caught_up, is_settled) in [
            (0, true, false),
            (29, true, false),
            (1, true, true),
            (9, false, false),
            (99, true, false),
        ] {
            tokio::time::advance(Duration::from_secs(passes_s)).await;
            assert_eq!(deadline.is_settled(is_caught_up), is_settled);
        }
        assert_eq!(Deadline::new((), 2 * SETTLED_AFTER / 3).settled_after, 2 * SETTLED_AFTER / 3);
    }

    #[tokio::test]
    async fn what_is_overdue_is_cancelled_once_and_only_if_there_is_a_deadline() {
        let bench = Bench::new().await;
        let order = bench.placed().await;
        placed_ago(&bench, 60).await;
        for (deadline, said) in [(0, 0), (7200, 0), (60, 1), (60, 1)] {
            run(&bench, Duration::from_secs(deadline)).await.unwrap();
            assert_eq!(bench.count(SAID).await, said);
        }
        let known =
            store::order(&bench.context.message_store.pool, order, None).await.unwrap().unwrap();
        let detail = &known.fact("order.cancel-requested").unwrap().detail;
        assert_eq!(detail["reason"], serde_json::to_value(CancelReason::Deadline).unwrap());
    }

    #[tokio::test]
    async fn the_databases_clock_decides_what_is_overdue() {
        let mut bench = Bench::new().await;
        bench.placed().await;
        let clock = crate::testing::Still::new();
        clock.forward(24 * 3_600_000);
        bench.context.env = clock;
        run(&bench, MINUTE).await.unwrap();
        assert_eq!(bench.count(SAID).await, 0);
    }

    /// So many orders as one that is there.
    async fn many(bench: &Bench, count: i32) {
        sqlx::query(
            "INSERT INTO orders (id, customer_id, payment_method, total_amount, items, created_at,
                 facts, status, updated_at)
             SELECT gen_random_uuid(), customer_id, payment_method, total_amount, items, created_at,
                 facts, status, updated_at
             FROM orders, generate_series(2, $1)",
        )
        .bind(count)
        .execute(&bench.context.message_store.pool)
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn after_an_outage_all_that_is_overdue_is_cancelled_in_one_run() {
        let bench = Bench::new().await;
        bench.placed().await;
        many(&bench, 1_000).await;
        placed_ago(&bench, 60).await;
        run(&bench, MINUTE).await.unwrap();
        assert_eq!(bench.count(SAID).await, 1_000);
    }

    #[tokio::test]
    async fn an_order_that_cannot_be_cancelled_holds_up_no_other() {
        let bench = Bench::new().await;
        bench.placed().await;
        many(&bench, 500).await;
        placed_ago(&bench, 60).await;
        let pool = &bench.context.message_store.pool;
        let broken: Vec<OrderId> = sqlx::query_scalar(
            "UPDATE orders
             SET facts = '[{}]'
             WHERE id IN ((SELECT id FROM orders ORDER BY id LIMIT 1)
                 UNION ALL (SELECT id FROM orders ORDER BY id OFFSET 300 LIMIT 1))
             RETURNING id",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        let why = run(&bench, MINUTE).await.unwrap_err().to_string();
        assert!(why.starts_with("2 overdue orders cannot be cancelled"), "{why}");
        assert!(broken.iter().any(|order| why.contains(&order.to_string())), "{why}");
        assert_eq!(bench.count(SAID).await, 498);
    }

    #[tokio::test]
    async fn an_order_that_is_locked_holds_up_no_other() {
        let mut bench = Bench::new().await;
        bench.placed().await;
        many(&bench, 20).await;
        placed_ago(&bench, 60).await;
        // Each try with it waits for as long as a lock may take.
        bench.context.batch_max = 2;
        let message_store = &bench.context.message_store;
        let oldest = "SELECT id FROM orders ORDER BY id LIMIT 1";
        let oldest: OrderId =
            sqlx::query_scalar(oldest).fetch_one(&message_store.pool).await.unwrap();
        let mut tx = message_store.begin().await.unwrap();
        message_store.lock_orders(&mut tx, &[oldest]).await.unwrap();
        let forever = "SET LOCAL idle_in_transaction_session_timeout = 0";
        tx.query(forever).done().await.unwrap();
        let why = run(&bench, MINUTE).await.unwrap_err().to_string();
        assert!(why.contains(&oldest.to_string()), "{why}");
        assert_eq!(bench.count(SAID).await, 19);
    }
}
