//! Payments, and the charge desk's operations on them.

use crate::Tables;
use database::Failure;
use events::{OrderId, ProductId};
use messaging::{Batch, Reply, Store, reply};
use payment::{Charge, ChargeDispatch, Charges, Payment};
use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};
use std::{marker::PhantomData, sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

#[derive(Clone, Default)]
pub struct Payments {
    rows: Map<OrderId, Row>,
    /// Those that are due or claimed; few, beside all that are at rest.
    open: Set<OrderId>,
}

#[derive(Clone)]
pub struct Row {
    pub charge: Arc<Charge>,
    due_at: Option<Instant>,
    claimed_at: Option<Instant>,
}

impl Row {
    pub fn is_due(&self, now: Instant) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// It is claimed, for that long.
    pub fn is_left(&self, now: Instant, age: Duration) -> bool {
        let claimed_at = self.charge.claim.and(self.claimed_at);
        claimed_at.is_some_and(|at| now.duration_since(at) >= age)
    }

    /// It is not claimed, and must not be claimed.
    fn is_at_rest(&self) -> bool {
        self.due_at.is_none() && self.charge.claim.is_none()
    }
}

impl Payments {
    pub fn get(&self, order: OrderId) -> Option<&Row> {
        self.rows.get(&order)
    }

    pub fn values(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Those that are due or claimed.
    pub fn open(&self) -> impl Iterator<Item = &Row> {
        self.open.iter().filter_map(|order| self.rows.get(order))
    }

    fn put(&mut self, row: Row) {
        let order = row.charge.order_id;
        match row.is_at_rest() {
            true => _ = self.open.remove_mut(&order),
            false => self.open.insert_mut(order),
        }
        self.rows.insert_mut(order, row);
    }
}

/// Claims so many of the charges that are due, those that have waited longest first.
pub fn take_due(rows: &mut Payments, now: Instant, claim: Uuid, max: usize) -> Vec<Charge> {
    let mut due: Vec<_> = rows.open().filter(|row| row.is_due(now)).collect();
    due.sort_by_key(|row| (row.due_at, row.charge.order_id));
    let due = due.into_iter().take(max).map(|row| Charge::clone(&row.charge).take_up(claim));
    let taken: Vec<_> = due.collect();
    for charge in taken.iter().cloned() {
        rows.put(Row { charge: charge.into(), due_at: None, claimed_at: Some(now) });
    }
    taken
}

/// Makes due again what has been claimed for that long.
pub fn put_back(
    rows: &mut Payments,
    now: Instant,
    age: Duration,
    max: usize,
    put_back: impl Fn(Charge) -> Charge,
) -> Vec<OrderId> {
    let left = rows.open().filter(|row| row.is_left(now, age)).take(max);
    let back: Vec<_> = left.map(|row| put_back(Charge::clone(&row.charge))).collect();
    for charge in back.iter().cloned() {
        let charge = Charge { due_in: None, ..charge };
        rows.put(Row { charge: charge.into(), due_at: Some(now), claimed_at: None });
    }
    back.iter().map(|charge| charge.order_id).collect()
}

pub fn next_due_in(rows: &Payments) -> Option<Duration> {
    let next = rows.open().filter_map(|row| row.due_at).min();
    next.map(|at| at.saturating_duration_since(Instant::now()))
}

pub fn load(rows: &Payments, orders: &[OrderId]) -> Batch<Payment> {
    let known = orders.iter().filter_map(|id| Some((*id, rows.get(*id)?)));
    Batch::new(known.map(|(id, row)| (id, Charge::clone(&row.charge).into())))
}

pub fn save(rows: &mut Payments, batch: &Batch<Payment>) {
    for (order, payment) in batch.changed() {
        let Some(charge) = payment.charge.clone() else { continue };
        let due_at = charge.due_in.map(|wait| Instant::now() + wait);
        let known = rows.get(order).filter(|row| row.charge.claim == charge.claim);
        let claimed_at = known.map_or_else(|| Some(Instant::now()), |row| row.claimed_at);
        let charge = Arc::new(Charge { due_in: None, ..charge });
        rows.put(Row { charge, due_at, claimed_at });
    }
}

pub struct PaymentStore<T> {
    dispatch: ChargeDispatch,
    tx: PhantomData<fn(T)>,
}

impl<T> PaymentStore<T> {
    pub const fn new(dispatch: ChargeDispatch) -> Self {
        Self { dispatch, tx: PhantomData }
    }
}

impl<T: Tables<Payments>> Store for PaymentStore<T> {
    type Tx = T;
    type State = Payment;
    type Batch = Charges;

    fn load(
        &self,
        tx: &mut T,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Charges> {
        reply(Ok(Charges::new(load(tx.data(), orders))))
    }

    fn decided(&self, charges: &mut Charges, order: OrderId) {
        self.dispatch.take_up(charges, order);
    }

    async fn save(&self, tx: &mut T, charges: &Charges) -> Result<(), Failure> {
        save(tx.data(), charges.batch());
        Ok(())
    }

    fn committed(&self, charges: Charges) {
        self.dispatch.committed(charges);
    }
}
