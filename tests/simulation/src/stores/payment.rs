//! Charges on a disk.

use crate::{disk::Disk, faults::Mutant};
use database::Failure;
use events::OrderId;
use memory_stores::payment::{self as tables, Payments};
use messaging::{Batch, Reply, reply};
use payment::{Call, Charge, ChargeRepository, Payment, Status};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

impl ChargeRepository for Disk<Payments> {
    async fn take_due(&self, claim: Uuid, max: usize) -> Result<Vec<Charge>, Failure> {
        let now = Instant::now();
        if !self.look(|rows| rows.open().any(|row| row.is_due(now))).await? {
            return Ok(Vec::new());
        }
        self.at_once("take up", |rows| {
            let taken = tables::take_due(rows, now, claim, max);
            let about = taken.iter().map(|charge| charge.order_id).collect();
            (taken, about)
        })
        .await
    }

    async fn put_back(&self, age: Duration, max: usize) -> Result<usize, Failure> {
        let blindly = self.chaos.is_broken(Mutant::ReaperChargesBlindly);
        let now = Instant::now();
        if !self.look(|rows| rows.open().any(|row| row.is_left(now, age))).await? {
            return Ok(0);
        }
        self.at_once("put back", |rows| {
            let back = tables::put_back(rows, now, age, max, |charge| put_back(charge, blindly));
            (back.len(), back)
        })
        .await
    }

    async fn next_due_in(&self) -> Result<Option<Duration>, Failure> {
        self.look(tables::next_due_in).await
    }

    fn load(&self, tx: &mut Self::Tx, orders: &[OrderId]) -> Reply<'static, Batch<Payment>> {
        reply(Ok(tables::load(tx.data(), orders)))
    }

    async fn save(&self, tx: &mut Self::Tx, payments: &Batch<Payment>) -> Result<(), Failure> {
        tables::save(tx.data(), payments);
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
