//! What happens to the system from outside: cut cables, servers that are away, poison, and people
//! who replay dead letters, perhaps twice.

use crate::{chaos::lock, fleet::Fleet};
use events::{SAGA, SERVICES};
use messaging::{Message, dead_letters, header, queue_name};
use std::{collections::BTreeSet, sync::Mutex, time::Duration};
use tokio::time::sleep;

#[derive(Default)]
pub struct Gremlins {
    poisoned: Mutex<BTreeSet<String>>,
    /// Of dead letters that nobody has poisoned, and nothing has made.
    innocent: Mutex<Vec<String>>,
}

/// What a message dies of in a simulation without having deserved it: its service ended whenever it
/// was handled, or the database refused it at each attempt.
const EXCUSES: [&str; 2] = ["it has ended the process", "chaos: "];

impl Gremlins {
    pub fn poisoned(&self) -> Vec<String> {
        lock(&self.poisoned).iter().cloned().collect()
    }

    pub fn innocent(&self) -> Vec<String> {
        lock(&self.innocent).clone()
    }

    /// Until all is healed.
    pub async fn run(&self, fleet: &Fleet) {
        let chaos = &fleet.chaos;
        while !chaos.is_healed() {
            sleep(chaos.within(1..chaos.faults.gremlin_every_ms)).await;
            match chaos.below(6) {
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
                    let place = chaos.below(SERVICES.len());
                    chaos.take_database_away(place, chaos.within(1..8000));
                }
                4 => self.poison(fleet),
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

    /// Sends back every dead letter that deserves another chance; tells how many there were.
    pub fn replay(&self, fleet: &Fleet) -> usize {
        let mut replayed = 0;
        for step in SAGA {
            let queue = queue_name(step.service, step.hears);
            for letter in fleet.broker.drain(&dead_letters(&queue)) {
                let id = letter.id.clone().unwrap_or_default();
                if lock(&self.poisoned).contains(&id) {
                    fleet.broker.inject(&dead_letters(&queue), letter);
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

    /// Waits until nothing moves any more, and no dead letter is left that may be helped; false
    /// when that does not come.
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
    let step = &SAGA[fleet.chaos.below(SAGA.len())];
    queue_name(step.service, step.hears)
}
