//! Orders and the answers to idempotency keys.

use crate::disk::{Disk, Tx};
use chrono::{DateTime, Utc};
use database::Failure;
use events::{Event, OrderCancelRequested, OrderId, ProductId};
use messaging::{Batch, Ledger, Store};
use order::{Answer, Cancellable, Order, OrderBook, Placed, Status, View};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

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
    async fn place(&self, placed: &[Placed]) -> Result<HashMap<String, Answer>, Failure> {
        let mut tx = self.begin().await?;
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
            let row = Row { view: new.view.clone(), trace: new.said.trace.clone() };
            rows.insert(new.view.id, row.into());
            said.push(new.said.clone());
        }
        self.enqueue(&mut tx, &said).await?;
        self.commit(tx).await?;
        Ok(given)
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
