//! Orders and the answers to idempotency keys.

use crate::{
    disk::{Disk, Tx},
    faults::Mutant,
};
use chrono::{DateTime, TimeDelta, Utc};
use database::Failure;
use events::{Event, OrderCancelRequested, OrderId, ProductId};
use messaging::{Batch, Env, MessageStore, Reply, Store, reply};
use order::{Answer, Cancellable, Order, OrderRepository, Placed, Status, Unwritten, View};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

/// The error of a clock that was read over a slow connection, and the time from the drawing up of
/// an order, when its age begins, to its row: the writer retries for five seconds, and the last
/// attempt takes its time.
const TOLERANCE: TimeDelta = TimeDelta::seconds(4 + 10);

#[derive(Clone, Default)]
pub struct Orders {
    pub rows: BTreeMap<OrderId, Arc<Row>>,
    answers: BTreeMap<String, Arc<Answer>>,
}

#[derive(Clone)]
pub struct Row {
    pub view: View,
    trace: Option<String>,
    /// The true time, by no machine's clock.
    placed_at: DateTime<Utc>,
}

#[derive(Clone)]
pub struct OrderStore;

impl Store for OrderStore {
    type Tx = Tx<Orders>;
    type State = Order;
    type Batch = Batch<Order>;

    fn load(
        &self,
        tx: &mut Tx<Orders>,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Batch<Order>> {
        let rows = &tx.data().rows;
        let known = orders.iter().filter_map(|id| Some((*id, rows.get(id)?.view.order.clone())));
        reply(Ok(Batch::new(known)))
    }

    async fn save(&self, tx: &mut Tx<Orders>, batch: &Batch<Order>) -> Result<(), Failure> {
        for (id, order) in batch.changed() {
            let row = tx.data().rows.get_mut(&id);
            let row =
                row.ok_or_else(|| Failure::permanent("a fact of an order that is not there"))?;
            Arc::make_mut(row).view.order = order.clone();
        }
        Ok(())
    }
}

impl OrderRepository for Disk<Orders> {
    async fn place(&self, placed: &[Placed]) -> Result<HashMap<String, Answer>, Unwritten> {
        let placed_at = self.chaos.now();
        let mut tx = self.begin().await.map_err(|why| Unwritten::Away(why.into()))?;
        let (mut said, mut given) = (Vec::new(), HashMap::new());
        for new in placed {
            let Orders { rows, answers } = tx.data();
            if let Some(asked) = &new.answer {
                if let Some(first) = answers.get(&asked.key) {
                    given.insert(asked.key.clone(), Answer::clone(first));
                    continue;
                }
                answers.insert(asked.key.clone(), asked.clone().into());
            }
            let (view, trace) = (new.view.clone(), new.said.trace.clone());
            let row = Row { view, trace, placed_at };
            rows.insert(new.view.id, row.into());
            said.push(new.said.clone());
        }
        self.enqueue(&mut tx, &said).await?;
        self.commit(tx).await?;
        Ok(given)
    }

    async fn placed(&self, orders: &[OrderId]) -> Result<HashSet<OrderId>, Failure> {
        self.look(|book| orders.iter().copied().filter(|id| book.rows.contains_key(id)).collect())
            .await
    }

    fn cancellable<'a>(
        &'a self,
        tx: &mut Tx<Orders>,
        orders: &[OrderId],
    ) -> Reply<'a, HashMap<OrderId, Cancellable>> {
        let rows = &tx.data().rows;
        let known = orders.iter().filter_map(|id| {
            let Row { view, trace, .. } = &**rows.get(id)?;
            let trace = trace.clone();
            let (payment_method, total_amount) = (view.payment_method, view.total_amount);
            Some((*id, Cancellable { payment_method, total_amount, trace }))
        });
        reply(Ok(known.collect()))
    }

    async fn overdue(
        &self,
        age: Duration,
        after: OrderId,
        max: usize,
    ) -> Result<Vec<OrderId>, Failure> {
        let now = match self.chaos.is_broken(Mutant::DeadlineByItsOwnClock) {
            true => self.chaos.machine_now(self.place),
            false => self.chaos.database_now(self.place.service),
        };
        self.look(|orders| {
            let rows = orders.rows.range((Bound::Excluded(after), Bound::Unbounded));
            let is_late = |row: &Row| row.view.created_at < now - age && runs_on(&row.view.order);
            let late: Vec<_> = rows.filter(|(_, row)| is_late(row)).take(max).collect();
            for (id, row) in &late {
                if row.placed_at + age > self.chaos.now() + TOLERANCE {
                    self.chaos.cancels_early(**id);
                }
            }
            late.into_iter().map(|(id, _)| *id).collect()
        })
        .await
    }
}

fn runs_on(order: &Order) -> bool {
    Status::RUNNING.contains(&order.status()) && order.fact(OrderCancelRequested::NAME).is_none()
}
