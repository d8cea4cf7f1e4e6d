//! Draws everything random in a run from one seed: failures, delays, crashes; and the time, with
//! each machine's clock error.

use crate::{
    faults::{Faults, Mutant},
    trace::Trace,
};
use chrono::{DateTime, TimeDelta, Utc};
use database::Failure;
use events::{OrderId, SERVICES};
use messaging::{BrokerError, Env, Message};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeSet,
    future::pending,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

pub struct Chaos {
    dice: Mutex<StdRng>,
    began: Instant,
    healed: AtomicBool,
    trace: Mutex<Trace>,
    crashes: [[Notify; SERVICES.len()]; REPLICAS_MAX],
    /// The last delivery to each service.
    overheard: Mutex<[Option<Message>; SERVICES.len()]>,
    /// The clock error of each machine, and of each database.
    machines_off: Mutex<[[TimeDelta; SERVICES.len()]; REPLICAS_MAX]>,
    databases_off: [TimeDelta; SERVICES.len()],
    /// Orders with a deadline cancel requested before they were old enough.
    early: Mutex<BTreeSet<OrderId>>,
    /// The end of each database's outage.
    away: Mutex<[Option<Instant>; SERVICES.len()]>,
    pub faults: Faults,
    pub mutant: Option<Mutant>,
    pub handled: AtomicU64,
}

pub const REPLICAS_MAX: usize = 2;

const SECOND: [&str; SERVICES.len()] = ["order 2", "payment 2", "inventory 2", "shipping 2"];

/// One process: its service, by its index in `SERVICES`, and its replica number.
#[derive(Clone, Copy)]
pub struct Place {
    pub service: usize,
    pub replica: usize,
}

impl Place {
    pub const fn name(self) -> &'static str {
        if self.replica == 0 { SERVICES[self.service] } else { SECOND[self.service] }
    }
}

/// What a database refuses while it answers others: it finds a lock.
const REFUSED: [&str; 3] = ["cannot note", "cannot lock", "commit refused"];

impl Chaos {
    /// Must be called in the run's own runtime, whose clock it reads.
    pub fn new(seed: u64, mutant: Option<Mutant>, trace: Trace) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let faults = Faults::draw(&mut dice, mutant);
        let mut each_off = |most_ms| [(); SERVICES.len()].map(|()| off(&mut dice, most_ms));
        let databases_off = each_off(faults.database_off_ms);
        let machines_off = [(); REPLICAS_MAX].map(|()| each_off(faults.machine_off_ms));
        Self {
            faults,
            dice: Mutex::new(dice),
            machines_off: Mutex::new(machines_off),
            databases_off,
            early: Mutex::default(),
            began: Instant::now(),
            healed: AtomicBool::new(false),
            trace: Mutex::new(trace),
            crashes: Default::default(),
            overheard: Mutex::default(),
            away: Mutex::default(),
            mutant,
            handled: AtomicU64::new(0),
        }
    }

    /// Stops all faults.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
        self.note("all", "heals", &[]);
    }

    pub fn is_healed(&self) -> bool {
        self.healed.load(Ordering::SeqCst)
    }

    pub fn is_broken(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub fn chance(&self, share: f64) -> bool {
        share > 0.0 && !self.is_healed() && self.dice().random_bool(share)
    }

    pub fn below(&self, end: usize) -> usize {
        self.dice().random_range(0..end)
    }

    pub fn among<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    pub fn within(&self, millis: Range<u64>) -> Duration {
        Duration::from_millis(self.dice().random_range(millis))
    }

    /// Between two steps: here a process may pause, or end for good.
    pub async fn step(&self, place: Place, what: &'static str, about: &[OrderId]) {
        self.note(place.name(), what, about);
        if self.chance(self.faults.crash) {
            self.note(place.name(), "crashes", about);
            self.crashes[place.replica][place.service].notify_one();
            // The task that ends the process drops this.
            pending::<()>().await;
        }
        if self.chance(self.faults.pause) {
            sleep(self.within(0..200)).await;
        }
    }

    pub async fn crashed(&self, place: Place) {
        self.crashes[place.replica][place.service].notified().await;
    }

    pub fn database_fails(
        &self,
        place: Place,
        share: f64,
        what: &'static str,
        about: &[OrderId],
    ) -> Result<(), Failure> {
        let is_away = !self.is_healed()
            && self.lock_away()[place.service].is_some_and(|until| Instant::now() < until);
        if is_away || self.chance(share) {
            self.note(place.name(), what, about);
            let is_refused = !is_away && REFUSED.contains(&what);
            let failure = if is_refused { Failure::Refused } else { Failure::Transient };
            return Err(failure(anyhow::anyhow!(what)));
        }
        Ok(())
    }

    pub fn broker_fails(
        &self,
        place: Place,
        share: f64,
        what: &'static str,
    ) -> Result<(), BrokerError> {
        if self.chance(share) {
            self.note(place.name(), what, &[]);
            return Err(BrokerError::away(what));
        }
        Ok(())
    }

    pub fn take_database_away(&self, service: usize, span: Duration) {
        self.note(SERVICES[service], "database away", &[]);
        self.lock_away()[service] = Some(Instant::now() + span);
    }

    /// The time of a database's clock.
    pub fn database_now(&self, service: usize) -> DateTime<Utc> {
        self.now() + self.databases_off[service]
    }

    /// The time of a machine's clock.
    pub fn machine_now(&self, place: Place) -> DateTime<Utc> {
        self.now() + lock(&self.machines_off)[place.replica][place.service]
    }

    pub fn set_machine(&self, place: Place) {
        self.note(place.name(), "has its clock set", &[]);
        let off = off(&mut self.dice(), self.faults.machine_off_ms);
        lock(&self.machines_off)[place.replica][place.service] = off;
    }

    pub fn cancels_early(&self, order: OrderId) {
        lock(&self.early).insert(order);
    }

    pub fn early(&self) -> Vec<OrderId> {
        lock(&self.early).iter().copied().collect()
    }

    pub fn overhear(&self, service: usize, message: &Message) {
        lock(&self.overheard)[service] = Some(message.clone());
    }

    pub fn overheard(&self, service: usize) -> Option<Message> {
        lock(&self.overheard)[service].clone()
    }

    pub fn note(&self, who: &'static str, what: &'static str, about: &[OrderId]) {
        self.trace().note(self.began.elapsed(), who, what, about);
    }

    pub fn trace(&self) -> MutexGuard<'_, Trace> {
        lock(&self.trace)
    }

    fn dice(&self) -> MutexGuard<'_, StdRng> {
        lock(&self.dice)
    }

    fn lock_away(&self) -> MutexGuard<'_, [Option<Instant>; SERVICES.len()]> {
        lock(&self.away)
    }
}

fn off(dice: &mut StdRng, most_ms: u64) -> TimeDelta {
    let most = most_ms.cast_signed();
    TimeDelta::milliseconds(dice.random_range(-most..=most))
}

/// Nothing else runs: there is one thread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every run begins at the same time.
const BEGINNING_MS: u64 = 1_800_000_000_000;

impl Env for Chaos {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_millis(BEGINNING_MS) + self.began.elapsed()
    }

    fn random(&self) -> u64 {
        self.dice().random()
    }
}

/// The environment of a process on its machine.
pub struct Machine {
    pub chaos: Arc<Chaos>,
    pub place: Place,
}

impl Env for Machine {
    fn now(&self) -> DateTime<Utc> {
        self.chaos.machine_now(self.place)
    }

    fn random(&self) -> u64 {
        self.chaos.random()
    }
}
