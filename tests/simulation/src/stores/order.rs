//! Orders and the answers to idempotency keys.

use crate::disk::{Disk, Tx};
use chrono::{DateTime, Utc};
use database::Failure;
use events::{Event, OrderCancelRequested, OrderId, ProductId};
use messaging::{Batch, Ledger, Store};
use order::{Answer, Cancellable, Keys, Order, OrderBook, Placed, Status, View};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone, Default)]
pub struct Orders {
    pub rows: BTreeMap<OrderId, Arc<Row>>,
    answers: BTreeMap<String, Arc<Answer>>,
}

#[derive(Clone)]
pub struct Row {
    pub view: View,
    trace: Option<String>,
}

#[derive(Clone)]
pub struct OrderStore;

impl Store for OrderStore {
    type Tx = Tx<Orders>;
    type State = Order;
    type Batch = Batch<Order>;

    async fn load(
        &self,
        tx: &mut Tx<Orders>,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Result<Batch<Order>, Failure> {
        let rows = &tx.data().rows;
        let known = orders.iter().filter_map(|id| Some((*id, rows.get(id)?.view.order.clone())));
        Ok(Batch::new(known))
    }

    async fn save(&self, tx: &mut Tx<Orders>, batch: &Batch<Order>) -> Result<(), Failure> {
        for (id, order) in batch.changed() {
            let row = tx.data().rows.get_mut(&id);
            let row = row.ok_or_else(|| Failure::data("a fact of an order that is not there"))?;
            Arc::make_mut(row).view.order = order.clone();
        }
        Ok(())
    }
}

impl OrderBook for Disk<Orders> {
    async fn claim_keys(&self, tx: &mut Tx<Orders>, keys: &[&str]) -> Result<Keys, Failure> {
        let known = &tx.data().answers;
        let known = keys.iter().filter_map(|key| known.get(*key));
        let answered = known.map(|answer| (answer.key.clone(), Answer::clone(answer))).collect();
        Ok(Keys { answered, ..Keys::default() })
    }

    async fn place(&self, tx: &mut Tx<Orders>, placed: &[Placed]) -> Result<(), Failure> {
        for new in placed {
            let Placed { view, answer, said } = new;
            let row = Row { view: view.clone(), trace: said.trace.clone() };
            tx.data().rows.insert(view.id, row.into());
            let answer = answer.iter().map(|answer| (answer.key.clone(), answer.clone().into()));
            tx.data().answers.extend(answer);
        }
        let said: Vec<_> = placed.iter().map(|new| new.said.clone()).collect();
        self.enqueue(tx, &said).await
    }

    async fn cancellable(
        &self,
        tx: &mut Tx<Orders>,
        order: OrderId,
    ) -> Result<Option<Cancellable>, Failure> {
        Ok(tx.data().rows.get(&order).map(|row| Cancellable {
            payment_method: row.view.payment_method,
            total_amount: row.view.total_amount,
            trace: row.trace.clone(),
        }))
    }

    async fn overdue(&self, before: DateTime<Utc>) -> Result<Vec<OrderId>, Failure> {
        self.look(|orders| {
            let mut late: Vec<_> = orders
                .rows
                .values()
                .map(|row| &row.view)
                .filter(|view| view.created_at < before && runs_on(&view.order))
                .map(|view| (view.created_at, view.id))
                .collect();
            late.sort_unstable();
            late.into_iter().map(|(_, id)| id).take(100).collect()
        })
        .await
    }
}

fn runs_on(order: &Order) -> bool {
    Status::RUNNING.contains(&order.status()) && order.fact(OrderCancelRequested::NAME).is_none()
}
