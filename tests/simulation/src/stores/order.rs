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
    pub views: BTreeMap<OrderId, Arc<View>>,
    answers: BTreeMap<String, Arc<Answer>>,
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
        let views = &tx.data().views;
        let known = orders.iter().filter_map(|id| Some((*id, views.get(id)?.order.clone())));
        Ok(Batch::new(known))
    }

    async fn save(&self, tx: &mut Tx<Orders>, batch: Batch<Order>) -> Result<(), Failure> {
        for (id, order) in batch.changed() {
            let view = tx.data().views.get_mut(&id);
            let view = view.ok_or_else(|| Failure::data("a fact of an order that is not there"))?;
            Arc::make_mut(view).order = order.clone();
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
            let Placed { view, answer, .. } = new;
            tx.data().views.insert(view.id, Arc::new(view.clone()));
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
        Ok(tx.data().views.get(&order).map(|view| Cancellable {
            payment_method: view.payment_method,
            total_amount: view.total_amount,
            trace: None,
        }))
    }

    async fn overdue(&self, before: DateTime<Utc>) -> Result<Vec<OrderId>, Failure> {
        self.look(|orders| {
            let mut late: Vec<_> = orders
                .views
                .values()
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
