//! Disturbs the system from outside: cut connections, servers that are down, clocks that change,
//! poison messages, forgeries, and operators who replay dead letters, perhaps twice.

use crate::{chaos::lock, fleet::Fleet};
use chrono::TimeDelta;
use events::SERVICES;
use messaging::{Env, Message, Retention, dead_letters, header, queue_name};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};
use tokio::time::sleep;

#[derive(Default)]
pub struct Gremlins {
    poisoned: Mutex<BTreeSet<String>>,
    /// The number of dead letters without a poison message or a known cause.
    innocent: Mutex<Vec<String>>,
    /// Poison messages, by their digests.
    forged: Mutex<BTreeMap<Vec<u8>, Forgery>>,
}

struct Forgery {
    what: String,
    /// It has been a dead letter.
    refused: bool,
}

/// The reasons of dead letters that are not poison: their service crashed each time it handled the
/// message, or the database refused it at each attempt.
const EXCUSES: [&str; 2] = ["quarantined: it has crashed the process", "chaos: "];

impl Gremlins {
    pub fn poisoned(&self) -> Vec<String> {
        lock(&self.poisoned).iter().cloned().collect()
    }

    pub fn innocent(&self) -> Vec<String> {
        lock(&self.innocent).clone()
    }

    /// Forgeries that are not among the dead letters.
    pub fn unrefused(&self) -> Vec<String> {
        let forged = lock(&self.forged);
        let passed = forged.values().filter(|forgery| !forgery.refused);
        passed.map(|forgery| forgery.what.clone()).collect()
    }

    /// Runs until all faults stop.
    pub async fn run(&self, fleet: &Fleet) {
        let chaos = &fleet.chaos;
        while !chaos.is_healed() {
            sleep(chaos.within(1..chaos.faults.gremlin_every_ms)).await;
            match chaos.below(9) {
                0 | 1 => {
                    chaos.note("broker", "cut", &[]);
                    fleet.broker.cut();
                }
                2 => {
                    chaos.note("broker", "broker away", &[]);
                    fleet.broker.set_down(true);
                    sleep(chaos.within(1..8000)).await;
                    fleet.broker.set_down(false);
                }
                3 => {
                    let service = chaos.below(SERVICES.len());
                    chaos.take_database_away(service, chaos.within(1..8000));
                }
                4 => self.poison(fleet),
                5 => self.forge(fleet).await,
                6 => self.bring_old(fleet),
                7 => {
                    let places: Vec<_> = fleet.places().collect();
                    chaos.set_machine(chaos.among(&places));
                }
                _ => drop(self.replay(fleet)),
            }
        }
        fleet.broker.set_down(false);
    }

    fn poison(&self, fleet: &Fleet) {
        let queue = pick_queue(fleet);
        let id = format!("poison {}", lock(&self.poisoned).len());
        fleet.chaos.note("person", "poisons", &[]);
        let message = Message { id: Some(id.clone()), body: b"{".into(), ..Message::default() };
        lock(&self.poisoned).insert(id);
        fleet.broker.inject(&queue, message);
    }

    /// Publishes another content for an event that a service has handled.
    async fn forge(&self, fleet: &Fleet) {
        let service = fleet.chaos.below(SERVICES.len());
        let Some(message) = fleet.chaos.overheard(service) else { return };
        let Some(event) = message.id.as_ref().and_then(|id| id.parse().ok()) else { return };
        if !fleet.has_handled(service, event).await {
            return;
        }
        fleet.chaos.note("person", "forges", &[]);
        self.inject_forged(fleet, service, message, &format!("another content of {event}"));
    }

    /// Publishes a handled event again, with an id from before the inbox' retention.
    fn bring_old(&self, fleet: &Fleet) {
        let service = fleet.chaos.below(SERVICES.len());
        let message = fleet.chaos.overheard(service);
        // A poison message is no event.
        let Some(mut message) = message.filter(|message| message.kind.is_some()) else { return };
        fleet.chaos.note("person", "brings an old event", &[]);
        let said_at = Retention::default().since(fleet.chaos.now()) - TimeDelta::days(1);
        let millis = said_at.timestamp_millis().unsigned_abs();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid();
        message.id = Some(id.to_string());
        self.inject_forged(fleet, service, message, "an expired event");
    }

    fn inject_forged(&self, fleet: &Fleet, service: usize, mut message: Message, what: &str) {
        let queue = queue_name(SERVICES[service], message.kind.as_deref().unwrap_or_default());
        // The content means the same, but its bytes differ; from each other forgery's, too.
        message.body.extend(vec![b' '; 1 + lock(&self.forged).len()]);
        let what = format!("{queue} has let pass {what}");
        lock(&self.forged).insert(message.digest(), Forgery { what, refused: false });
        fleet.broker.inject(&queue, message);
    }

    /// Replays every dead letter that may succeed; returns their number.
    pub fn replay(&self, fleet: &Fleet) -> usize {
        let mut replayed = 0;
        for (service, event) in fleet.steps() {
            let queue = queue_name(service, event);
            for letter in fleet.broker.drain(&dead_letters(&queue)) {
                let id = letter.id.clone().unwrap_or_default();
                if lock(&self.poisoned).contains(&id) {
                    fleet.broker.inject(&dead_letters(&queue), letter);
                    continue;
                }
                // Purged, as an operator would after inspecting it.
                if let Some(forgery) = lock(&self.forged).get_mut(&letter.digest()) {
                    forgery.refused = true;
                    continue;
                }
                let reason = letter.text(header::REASON).unwrap_or_default();
                if !EXCUSES.iter().any(|excuse| reason.contains(excuse)) {
                    lock(&self.innocent).push(format!("{queue} has given up {id}: {reason}"));
                }
                replayed += 1;
                let order = letter.correlation_id.as_ref().and_then(|id| id.parse().ok());
                fleet.chaos.note("person", "replays", order.as_slice());
                let mut again = letter.with(header::REPLAYED, 1);
                again.headers.remove(header::ATTEMPT);
                if fleet.chaos.chance(0.3) {
                    fleet.broker.inject(&queue, again.clone());
                }
                fleet.broker.inject(&queue, again);
            }
        }
        replayed
    }

    /// Waits until the system is idle, and no dead letter is left that a replay may help; false
    /// when that does not happen.
    pub async fn calm(&self, fleet: &Fleet) -> bool {
        for _ in 0..3600 {
            if self.replay(fleet) == 0 && fleet.is_quiet().await {
                return true;
            }
            sleep(Duration::from_secs(1)).await;
        }
        false
    }
}

fn pick_queue(fleet: &Fleet) -> String {
    let (service, event) = fleet.chaos.among(&fleet.steps());
    queue_name(service, event)
}
