//! Says of a missing step where its message is, as far as that could be read.

use std::collections::HashSet;

use audit::QueueState;
use chrono::{DateTime, Utc};
use events::{PendingStep, SAGA, Step, said_by};
use kit::output::some;
use messaging::queue_name;
use payment::audit::Charge;
use serde::Serialize;

use super::Passed;
use super::places::{Aside, Found, Unsent};
use super::reach::Reach;

/// A missing step.
#[derive(Debug, Serialize)]
pub struct Missing {
    /// The service that owes it.
    pub service: String,
    /// The event that it reacts to.
    pub event: String,
    /// The events that it may publish; empty where it only has to consume.
    pub may_say: &'static [&'static str],
    /// The time since which it has been possible.
    pub since: Option<DateTime<Utc>>,
    /// The queue from which the service consumes the event.
    pub queue: String,
    /// The number of consumers of that queue; none where the broker could not be read.
    pub consumers: Option<u32>,
    /// False where it may have happened, since a part that would show it could not be read.
    pub is_certain: bool,
    pub place: Place,
}

/// The place where the message is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "place")]
pub enum Place {
    /// In the outbox, not yet published.
    Outbox {
        service: String,
        attempts: i32,
        last_error: Option<String>,
    },
    /// In the service's queue, or being handled now.
    Queue {
        ready: u32,
    },
    /// There is no such queue: the event has nowhere to be.
    NoQueue,
    /// In a retry tier.
    Tier(Aside),
    DeadLetter(Aside),
    Purged {
        at: DateTime<Utc>,
        reason: Option<String>,
    },
    /// At the charge desk, which calls the provider.
    Desk(Charge),
    /// Handled, with no visible result: the answer is in one of these queues, which are the only
    /// ones that cannot be read.
    OnItsWay {
        ready: Vec<(String, u32)>,
    },
    /// One of these; the parts that tell which could not be read.
    Unknown {
        may_be: Vec<String>,
    },
}

type State = Option<QueueState>;

pub async fn explain(
    debt: PendingStep,
    timeline: &[Passed],
    found: &Found,
    reach: &mut Reach,
) -> Missing {
    let step = debt.step();
    let queue = queue_name(step.service, step.hears);
    let state = state(&queue, reach).await;
    let place = match debt {
        PendingStep::Handle(step) => {
            seen(step, &queue, found).unwrap_or_else(|| unseen(step, &queue, found, state))
        }
        PendingStep::Answer(step) => match &found.charge {
            Some(charge) if step.service == "payment" && charge.is_open() => {
                Place::Desk(charge.clone())
            }
            _ => answer(step, found, reach).await,
        },
    };
    let since = timeline.iter().find(|passed| passed.step.event == step.hears);
    let is_handled = matches!(debt, PendingStep::Answer(_));
    Missing {
        service: step.service.into(),
        event: step.hears.into(),
        may_say: if is_handled { step.may_say } else { &[] },
        since: since.map(|passed| passed.step.at),
        queue,
        consumers: state.map(|state| state.map_or(0, |state| state.consumers)),
        is_certain: match debt {
            PendingStep::Handle(step) => found.is_read(step.service),
            PendingStep::Answer(_) => !matches!(place, Place::Unknown { .. }),
        },
        place,
    }
}

/// None where the broker could not be read.
async fn state(queue: &str, reach: &mut Reach) -> Option<State> {
    reach.broker(async |broker| broker.state(queue).await).await
}

/// The place of an event that its subscriber has not handled, where it was seen.
fn seen(step: &Step, queue: &str, found: &Found) -> Option<Place> {
    let unsent = found.outboxes.get(said_by(step.hears)).into_iter().flatten();
    let unsent = unsent.filter(|row| row.event == step.hears).map(|row: &Unsent| Place::Outbox {
        service: said_by(step.hears).into(),
        attempts: row.attempts,
        last_error: row.last_error.clone(),
    });
    let aside = found.aside().filter(|aside| aside.of == queue);
    let aside = aside.map(|aside| match aside.returns_at {
        Some(_) => Place::Tier(aside.clone()),
        None => Place::DeadLetter(aside.clone()),
    });
    let purged = found.purged.iter().filter(|purged| purged.queue == queue);
    let purged =
        purged.map(|purged| Place::Purged { at: purged.at, reason: purged.reason.clone() });
    unsent.chain(aside).chain(purged).next()
}

/// What was seen nowhere is in its subscriber's queue, if nothing else is left that it may be.
fn unseen(step: &Step, queue: &str, found: &Found, state: Option<State>) -> Place {
    let publisher = said_by(step.hears);
    let mut may_be = Vec::new();
    if !found.is_read(step.service) {
        may_be.push(format!("handled by {}", step.service));
    }
    if !found.is_read(publisher) {
        may_be.push(format!("in {publisher}'s outbox"));
    }
    match state.filter(|_| may_be.is_empty() && found.aside.is_some()) {
        Some(Some(state)) => Place::Queue { ready: state.ready },
        Some(None) => Place::NoQueue,
        None => {
            may_be.extend(in_broker(queue, found, state));
            Place::Unknown { may_be }
        }
    }
}

/// A reaction's answers are in the outbox once its event is handled. An answer that is no longer
/// there, and not yet handled, is in its subscriber's queue.
async fn answer(step: &Step, found: &Found, reach: &mut Reach) -> Place {
    let (mut ready, mut may_be) = (Vec::new(), vec!["not published".to_owned()]);
    let mut is_read = found.aside.is_some();
    for hearer in SAGA.iter().filter(|other| step.may_say.contains(&other.hears)) {
        let queue = queue_name(hearer.service, hearer.hears);
        let waiting = state(&queue, reach).await;
        is_read &= waiting.is_some() && found.is_read(hearer.service);
        if !found.is_read(hearer.service) {
            may_be.push(format!("handled by {}", hearer.service));
        }
        may_be.extend(in_broker(&queue, found, waiting));
        ready.push((queue, waiting.flatten().map_or(0, |state| state.ready)));
    }
    let mut told = HashSet::new();
    may_be.retain(|one| told.insert(one.clone()));
    if is_read { Place::OnItsWay { ready } } else { Place::Unknown { may_be } }
}

/// Where a message of this queue may be in the broker.
fn in_broker(queue: &str, found: &Found, state: Option<State>) -> Vec<String> {
    let mut may_be = match state {
        Some(Some(state)) => {
            vec![format!("in {queue} ({} ready)", some(state.ready as usize, "message"))]
        }
        Some(None) => vec![format!("nowhere, since there is no queue {queue}")],
        None => vec![format!("in {queue}")],
    };
    if found.aside.is_none() {
        may_be.extend(["in a retry tier", "a dead letter"].map(str::to_owned));
    }
    may_be
}
