//! All that is random in a run, from one seed: what fails, what waits, who crashes; and the time,
//! which each machine's clock shows as it can.

use crate::{
    faults::{Faults, Mutant},
    trace::Trace,
};
use chrono::{DateTime, TimeDelta, Utc};
use database::Failure;
use events::{OrderId, SERVICES};
use messaging::{BrokerError, Message, World};
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
    /// What each service was delivered last.
    overheard: Mutex<[Option<Message>; SERVICES.len()]>,
    /// How far each machine's clock is off, and each database's.
    machines_off: Mutex<[[TimeDelta; SERVICES.len()]; REPLICAS_MAX]>,
    databases_off: [TimeDelta; SERVICES.len()],
    /// Orders that were to be cancelled for their age before they had it.
    early: Mutex<BTreeSet<OrderId>>,
    /// Until when each service's database is away.
    away: Mutex<[Option<Instant>; SERVICES.len()]>,
    pub faults: Faults,
    pub mutant: Option<Mutant>,
    pub handled: AtomicU64,
}

pub const REPLICAS_MAX: usize = 2;

const SECOND: [&str; SERVICES.len()] = ["order 2", "payment 2", "inventory 2", "shipping 2"];

/// One process: of which service, by its place in `SERVICES`, and which of its replicas.
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

impl Chaos {
    /// Within the run's own runtime, whose clock it reads.
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

    /// From here on nothing fails any more.
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
            // Whoever ends the process drops this.
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
            return Err(Failure::World(anyhow::anyhow!(what)));
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

    /// What a database's clock shows.
    pub fn database_now(&self, service: usize) -> DateTime<Utc> {
        self.now() + self.databases_off[service]
    }

    /// What a machine's clock shows.
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

/// Nobody else runs: one thread is all.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every run begins at the same moment.
const BEGINNING_MS: u64 = 1_800_000_000_000;

impl World for Chaos {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_millis(BEGINNING_MS) + self.began.elapsed()
    }

    fn random(&self) -> u64 {
        self.dice().random()
    }
}

/// A machine as a process finds it.
pub struct Machine {
    pub chaos: Arc<Chaos>,
    pub place: Place,
}

impl World for Machine {
    fn now(&self) -> DateTime<Utc> {
        self.chaos.machine_now(self.place)
    }

    fn random(&self) -> u64 {
        self.chaos.random()
    }
}
