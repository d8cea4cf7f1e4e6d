//! Hands charges that are due at once from the reactions to the charge desk: such a charge is
//! written as claimed, which saves a round trip through the database. Only while the breaker is
//! closed and the desk has room; otherwise it is written as due, and the desk finds it there.

use crate::{
    breaker::{Breaker, Limits, Opened, Room},
    payment::{Charge, Payment},
};
use events::{OrderId, ProductId};
use messaging::{Batch, LoadedBatch};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use uuid::Uuid;

#[derive(Clone)]
pub struct ChargeDispatch(Arc<Inner>);

/// A claimed charge, in hand.
pub(super) struct Taken {
    pub charge: Charge,
    pub hand: Hand,
}

/// Held from before the claim is committed until the answer is written.
pub(super) struct Hand {
    /// To call the provider.
    _permit: OwnedSemaphorePermit,
    _claim: Arc<HeldClaim>,
}

/// While it lives, the reaper leaves the claim alone.
pub(super) struct HeldClaim {
    claim: Uuid,
    dispatch: ChargeDispatch,
}

impl Hand {
    pub(super) const fn new(permit: OwnedSemaphorePermit, claim: Arc<HeldClaim>) -> Self {
        Self { _permit: permit, _claim: claim }
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        let mut held = self.dispatch.held();
        if let Some(place) = held.iter().position(|claim| *claim == self.claim) {
            held.swap_remove(place);
        }
    }
}

struct Inner {
    /// Bounds the charges in hand: a permit is held until the answer is written.
    room: Arc<Semaphore>,
    /// The claims in hand.
    held: Mutex<Vec<Uuid>>,
    in_flight_max: usize,
    breaker: Mutex<Breaker>,
    began: Instant,
    /// Something may be due.
    due: Notify,
    /// For a permit: the provider's limit of concurrent calls is reached.
    is_waiting: AtomicBool,
    handed: mpsc::UnboundedSender<Taken>,
}

impl ChargeDispatch {
    pub(super) fn new(limits: Limits) -> (Self, mpsc::UnboundedReceiver<Taken>) {
        let (handed, taken) = mpsc::unbounded_channel();
        let inner = Inner {
            room: Arc::new(Semaphore::new(limits.in_flight_max)),
            held: Mutex::default(),
            in_flight_max: limits.in_flight_max,
            breaker: Mutex::new(Breaker::new(limits)),
            began: Instant::now(),
            due: Notify::new(),
            is_waiting: false.into(),
            handed,
        };
        (Self(Arc::new(inner)), taken)
    }

    /// Without a desk: every due charge is written as due.
    pub fn unmanned() -> Self {
        Self::new(Limits { in_flight_max: 0, ..Limits::default() }).0
    }

    /// Claims an order's charge if it is due at once, under the id of the event that made it due,
    /// which is handled once.
    pub fn take_up(&self, charges: &mut Charges, order: OrderId) {
        let is_due_now = |charge: &&Charge| charge.due_in.is_some_and(|wait| wait.is_zero());
        let payment = charges.batch.find(order);
        let Some(charge) = payment.and_then(|payment| payment.charge.as_ref()).filter(is_due_now)
        else {
            return;
        };
        let is_well = self.breaker(|breaker| breaker.is_closed());
        if let Some(permit) = self.permit_now().filter(|_| is_well) {
            let claim = charge.cause.event_id;
            let taken = charge.clone().take_up(claim);
            charges.put(order, taken.into());
            charges.taken.insert(order, Hand::new(permit, self.hold(claim)));
        }
    }

    /// The reactions' decisions are committed.
    pub fn committed(&self, charges: Charges) {
        let Charges { batch, taken } = charges;
        let is_due = any_due(&batch);
        for (order, hand) in taken {
            if let Some(charge) = batch.get(order, &[]).charge
                && charge.claim.is_some()
            {
                // Without a desk that receives it, the reaper takes it over.
                let _ = self.0.handed.send(Taken { charge, hand });
            }
        }
        if is_due {
            self.wake();
        }
    }

    /// The answers are written, and some charges may be due again.
    pub(super) fn answered(&self, batch: &Batch<Payment>) {
        if any_due(batch) {
            self.wake();
        }
    }

    /// The next permit returned must wake the desk.
    pub(super) fn wait_for_room(&self) {
        self.0.is_waiting.store(true, Ordering::SeqCst);
    }

    pub(super) fn gave_back(&self) {
        if self.0.is_waiting.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        self.0.due.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.0.due.notified().await;
    }

    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        self.0.room.clone().acquire_owned().await.expect("nobody closes it")
    }

    pub(super) fn permit_now(&self) -> Option<OwnedSemaphorePermit> {
        self.0.room.clone().try_acquire_owned().ok()
    }

    /// A claim is in hand from here on: before it is committed.
    pub(super) fn hold(&self, claim: Uuid) -> Arc<HeldClaim> {
        self.held().push(claim);
        Arc::new(HeldClaim { claim, dispatch: self.clone() })
    }

    pub(super) fn holds(&self, claim: Uuid) -> bool {
        self.held().contains(&claim)
    }

    fn held(&self) -> MutexGuard<'_, Vec<Uuid>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.0.in_flight_max - self.0.room.available_permits()
    }

    pub(super) fn room(&self) -> Room {
        self.breaker(|breaker| breaker.room(self.0.began.elapsed()))
    }

    pub(super) fn probed(&self, failed: bool) {
        self.breaker(|breaker| breaker.probed(self.0.began.elapsed(), failed));
    }

    pub(super) fn record(&self, failed: bool) -> Option<Opened> {
        self.breaker(|breaker| breaker.record(self.0.began.elapsed(), failed))
    }

    fn breaker<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> T {
        act(&mut self.0.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn any_due(batch: &Batch<Payment>) -> bool {
    let mut charges = batch.changed().filter_map(|(_, payment)| payment.charge.as_ref());
    charges.any(|charge| charge.due_in.is_some())
}

/// A batch of payments, and those of them that are in hand.
pub struct Charges {
    batch: Batch<Payment>,
    taken: BTreeMap<OrderId, Hand>,
}

impl Charges {
    pub const fn new(batch: Batch<Payment>) -> Self {
        Self { batch, taken: BTreeMap::new() }
    }

    /// What is to be saved.
    pub const fn batch(&self) -> &Batch<Payment> {
        &self.batch
    }
}

impl LoadedBatch<Payment> for Charges {
    fn get(&self, order: OrderId, touched: &[ProductId]) -> Payment {
        self.batch.get(order, touched)
    }

    fn put(&mut self, order: OrderId, payment: Payment) {
        self.batch.put(order, payment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        on::examples::{ORDER, charge},
        payment::Status,
        settings::usual,
    };
    use std::time::Duration;

    fn dispatch(room: usize) -> (ChargeDispatch, mpsc::UnboundedReceiver<Taken>) {
        ChargeDispatch::new(Limits { in_flight_max: room, ..usual().limits() })
    }

    fn decided(dispatch: &ChargeDispatch, orders: u128) -> Charges {
        let mut charges = Charges::new(Batch::new([]));
        for order_id in (1..=orders).map(OrderId::from_u128) {
            let due = charge(Status::Pending).due(Status::Pending, Duration::ZERO);
            charges.put(order_id, Charge { order_id, ..due }.into());
            dispatch.take_up(&mut charges, order_id);
        }
        charges
    }

    fn statuses(charges: &Charges) -> Vec<Status> {
        let changed = charges.batch().changed();
        changed.filter_map(|(_, payment)| Some(payment.charge.as_ref()?.status)).collect()
    }

    #[test]
    fn what_is_due_is_taken_up_as_long_as_there_is_room() {
        let (dispatch, mut handed) = dispatch(2);
        let charges = decided(&dispatch, 3);
        assert_eq!(statuses(&charges), [Status::Processing, Status::Processing, Status::Pending]);
        dispatch.committed(charges);
        let taken: Vec<_> = std::iter::from_fn(|| handed.try_recv().ok()).collect();
        assert!(taken.iter().all(|taken| taken.charge.claim == Some(taken.charge.cause.event_id)));
        assert_eq!((taken.len(), dispatch.in_flight()), (2, 2));
        let claim = taken[0].charge.claim.unwrap();
        assert!(dispatch.holds(claim));
        drop(taken);
        assert_eq!((dispatch.in_flight(), dispatch.holds(claim)), (0, false));
    }

    #[test]
    fn what_is_not_committed_leaves_its_room_to_others() {
        let (dispatch, mut handed) = dispatch(2);
        let charges = decided(&dispatch, 2);
        let claim = charges.get(OrderId::from_u128(1), &[]).charge.unwrap().claim.unwrap();
        assert!(dispatch.holds(claim), "it may be committed at any time");
        drop(charges);
        assert_eq!((dispatch.in_flight(), dispatch.holds(claim)), (0, false));
        assert!(handed.try_recv().is_err());
    }

    #[test]
    fn a_provider_that_fails_is_left_to_the_desk() {
        let (dispatch, _handed) = dispatch(9);
        while dispatch.record(true).is_none() {}
        assert_eq!(statuses(&decided(&dispatch, 1)), [Status::Pending]);
    }

    #[test]
    fn a_later_message_of_the_same_batch_sees_what_was_taken_up() {
        let (dispatch, mut handed) = dispatch(9);
        let mut charges = Charges::new(Batch::new([]));
        charges.put(ORDER, charge(Status::Pending).due(Status::Pending, Duration::ZERO).into());
        dispatch.take_up(&mut charges, ORDER);
        let charge = charges.get(ORDER, &[]).charge.unwrap();
        assert_eq!(charge.status, Status::Processing);
        charges.put(ORDER, Charge { cancel_requested: true, ..charge }.into());
        dispatch.take_up(&mut charges, ORDER);
        dispatch.committed(charges);
        assert!(handed.try_recv().unwrap().charge.cancel_requested);
    }
}
