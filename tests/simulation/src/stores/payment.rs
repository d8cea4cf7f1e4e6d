//! Payments, and the charge desk's operations on them.

use crate::{
    disk::{Disk, Tx},
    faults::Mutant,
};
use database::Failure;
use events::{OrderId, ProductId};
use messaging::{Batch, Reply, Store, reply};
use payment::{Call, Charge, ChargeDispatch, ChargeRepository, Charges, Payment, Status};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

pub type Payments = BTreeMap<OrderId, Row>;

#[derive(Clone)]
pub struct Row {
    pub charge: Arc<Charge>,
    due_at: Option<Instant>,
    claimed_at: Option<Instant>,
}

impl Row {
    fn is_due(&self, now: Instant) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// It is not claimed, and must not be claimed.
    pub fn is_at_rest(&self) -> bool {
        self.due_at.is_none() && self.charge.claim.is_none()
    }
}

pub struct PaymentStore {
    pub dispatch: ChargeDispatch,
}

impl Store for PaymentStore {
    type Tx = Tx<Payments>;
    type State = Payment;
    type Batch = Charges;

    fn load(
        &self,
        tx: &mut Tx<Payments>,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Charges> {
        reply(Ok(Charges::new(load(tx, orders))))
    }

    fn decided(&self, charges: &mut Charges, order: OrderId) {
        self.dispatch.take_up(charges, order);
    }

    async fn save(&self, tx: &mut Tx<Payments>, charges: &Charges) -> Result<(), Failure> {
        save(tx, charges.batch());
        Ok(())
    }

    fn committed(&self, charges: Charges) {
        self.dispatch.committed(charges);
    }
}

fn load(tx: &mut Tx<Payments>, orders: &[OrderId]) -> Batch<Payment> {
    let rows = tx.data();
    let known = orders.iter().filter_map(|id| Some((*id, rows.get(id)?)));
    Batch::new(known.map(|(id, row)| (id, Charge::clone(&row.charge).into())))
}

fn save(tx: &mut Tx<Payments>, batch: &Batch<Payment>) {
    let rows = tx.data();
    for (order, payment) in batch.changed() {
        let Some(charge) = payment.charge.clone() else { continue };
        let due_at = charge.due_in.map(|wait| Instant::now() + wait);
        let known = rows.get(&order).filter(|row| row.charge.claim == charge.claim);
        let claimed_at = known.map_or_else(|| Some(Instant::now()), |row| row.claimed_at);
        let charge = Arc::new(Charge { due_in: None, ..charge });
        rows.insert(order, Row { charge, due_at, claimed_at });
    }
}

impl ChargeRepository for Disk<Payments> {
    async fn take_due(&self, claim: Uuid, max: usize) -> Result<Vec<Charge>, Failure> {
        let now = Instant::now();
        if !self.look(|rows| rows.values().any(|row| row.is_due(now))).await? {
            return Ok(Vec::new());
        }
        self.at_once("take up", |rows| {
            let mut due: Vec<_> = rows.values_mut().filter(|row| row.is_due(now)).collect();
            due.sort_by_key(|row| (row.due_at, row.charge.order_id));
            let mut taken = Vec::new();
            for row in due.into_iter().take(max) {
                let charge = Charge::clone(&row.charge).take_up(claim);
                taken.push(charge.clone());
                *row = Row { charge: charge.into(), due_at: None, claimed_at: Some(now) };
            }
            let about = taken.iter().map(|charge| charge.order_id).collect();
            (taken, about)
        })
        .await
    }

    async fn put_back(&self, age: Duration, max: usize) -> Result<usize, Failure> {
        let blindly = self.chaos.is_broken(Mutant::ReaperChargesBlindly);
        let now = Instant::now();
        let is_left = |row: &Row| {
            let claimed_at = row.charge.claim.and(row.claimed_at);
            claimed_at.is_some_and(|at| now.duration_since(at) >= age)
        };
        if !self.look(|rows| rows.values().any(is_left)).await? {
            return Ok(0);
        }
        self.at_once("put back", |rows| {
            let mut about = Vec::new();
            for row in rows.values_mut().filter(|row| is_left(row)).take(max) {
                let charge = put_back(Charge::clone(&row.charge), blindly);
                let charge = Charge { due_in: None, ..charge };
                about.push(charge.order_id);
                *row = Row { charge: charge.into(), due_at: Some(now), claimed_at: None };
            }
            (about.len(), about)
        })
        .await
    }

    async fn next_due_in(&self) -> Result<Option<Duration>, Failure> {
        self.look(|rows| {
            let next = rows.values().filter_map(|row| row.due_at).min();
            next.map(|at| at.saturating_duration_since(Instant::now()))
        })
        .await
    }

    fn load(&self, tx: &mut Tx<Payments>, orders: &[OrderId]) -> Reply<'static, Batch<Payment>> {
        reply(Ok(load(tx, orders)))
    }

    async fn save(&self, tx: &mut Tx<Payments>, payments: &Batch<Payment>) -> Result<(), Failure> {
        save(tx, payments);
        Ok(())
    }
}

fn put_back(charge: Charge, blindly: bool) -> Charge {
    let (was, in_doubt) = (charge.next_call, charge.in_doubt);
    let charge = charge.put_back();
    if blindly && charge.status != Status::Reversing && was == Call::Charge {
        let attempts = charge.attempts - 1;
        return Charge { next_call: Call::Charge, in_doubt, attempts, ..charge };
    }
    charge
}
