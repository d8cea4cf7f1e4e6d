//! Explains why an order is where it is: past steps, the missing step, the service that owes it,
//! and where its message is.

mod places;

use anyhow::{Context, Result, bail};
use audit::{Broker, Databases, Endpoints, OrderStatus, Sources};
use chrono::{DateTime, Utc};
use events::{
    ADD_ONS, Observed, OrderId, PendingStep, Step, pending_steps, said_at, said_by, services_in,
    unhandled,
};
use kit::api;
use messaging::{Env, SystemEnv, queue_name};
use order::audit::Listed;
use serde::Serialize;
use uuid::Uuid;

use places::{Found, Unsent};

pub use payment::audit::Charge;
pub use places::{Aside, Beside, Did};

/// The minimum length of an order id's prefix, hyphens not counted.
const PREFIX_MIN: usize = 4;

/// The page shows the last digits of young orders: those are looked for among so many at first,
/// which takes the same time however many there are.
const NEWEST: i64 = 100_000;

#[derive(Debug, Serialize)]
pub struct Report {
    pub order_id: OrderId,
    pub status: String,
    pub is_final: bool,
    pub placed_at: DateTime<Utc>,
    /// From the first step to the last, or until now while it is running.
    pub took_ms: i64,
    pub timeline: Vec<Passed>,
    /// What services beside the saga have done about it.
    pub beside: Vec<Beside>,
    pub missing: Vec<Missing>,
    /// Every dead letter of the order, also those that no step waits for.
    pub dead_letters: Vec<Aside>,
}

/// A completed step.
#[derive(Debug, Serialize)]
pub struct Passed {
    #[serde(flatten)]
    pub step: api::Step,
    /// The time since its cause; the first step has none.
    pub took_ms: Option<i64>,
}

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
    /// The number of consumers of that queue.
    pub consumers: u32,
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
}

pub async fn why(endpoints: &Endpoints, order: &str) -> Result<Report> {
    why_with(ADD_ONS, endpoints, order).await
}

/// The same with these steps beside the saga.
pub async fn why_with(
    add_ons: &'static [Step],
    endpoints: &Endpoints,
    order: &str,
) -> Result<Report> {
    let mut sources = Sources::connect(endpoints).await?;
    let (id, status, placed_at) = find_order(&mut sources.databases, order).await?;
    let is_final = status.parse().is_ok_and(OrderStatus::is_final);
    let passed = timeline(&mut sources.databases, id).await?;
    let last = passed.iter().map(|passed| passed.step.at).max().filter(|_| is_final);
    let now = SystemEnv.now();
    let end = last.unwrap_or(now);
    let Sources { databases, broker, .. } = &mut sources;
    let was_there = |service: &str| databases.started(service).is_some_and(|at| placed_at >= at);
    let beside: Vec<_> = services_in(add_ons).filter(|service| was_there(service)).collect();
    let pending = |known: &Observed| {
        let mut all = pending_steps(known);
        let mut others = unhandled(add_ons, known);
        others.retain(|debt| beside.contains(&debt.step().service));
        all.append(&mut others);
        all
    };
    let mut found = places::find(id, (placed_at, end), databases, broker).await?;
    if is_final && !pending(&known(&passed, &found)).is_empty() {
        // A repaired event may have come later, under a new id.
        found = places::find(id, (placed_at, now), databases, broker).await?;
    }
    // Read again, so that an event that has arrived meanwhile is not missed.
    let timeline = timeline(&mut sources.databases, id).await?;
    let mut missing = Vec::new();
    for debt in pending(&known(&timeline, &found)) {
        missing.push(explain(debt, &timeline, &found, &sources.broker).await?);
    }
    let took_ms = (end - placed_at).num_milliseconds();
    let dead = found.aside.into_iter().filter(|aside| aside.returns_at.is_none());
    let dead_letters = dead.collect();
    Ok(Report {
        order_id: id,
        status,
        is_final,
        placed_at,
        took_ms,
        timeline,
        beside: found.beside,
        missing,
        dead_letters,
    })
}

async fn find_order(databases: &mut Databases, text: &str) -> Result<Listed> {
    let (first, last) = range(text).with_context(|| {
        format!(
            "{text:?} is not an order id, nor a prefix or suffix of {PREFIX_MIN} or more digits"
        )
    })?;
    let orders = databases.of("order")?;
    let mut fitting = order::audit::between(orders, first, last).await?;
    let end = end(text);
    for newest in [Some(NEWEST), None] {
        if fitting.is_empty() {
            fitting = order::audit::ending(orders, &end, newest).await?;
        }
    }
    match (fitting.pop(), fitting.pop()) {
        (Some(order), None) => Ok(order),
        (Some((second, ..)), Some((first, ..))) => {
            bail!("{text} is ambiguous: {first}, {second}; give more digits")
        }
        _ => bail!("there is no order {text}: `saga order list` shows the newest"),
    }
}

/// The last digits of an id, with the hyphens that it has there.
fn end(text: &str) -> String {
    let digits: String = text.to_lowercase().chars().filter(|one| *one != '-').collect();
    let mut end = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && [12, 16, 20, 24].contains(&(digits.len() - at)) {
            end.push('-');
        }
        end.push(digit);
    }
    end
}

/// The first and the last id with this prefix.
fn range(prefix: &str) -> Option<(Uuid, Uuid)> {
    const DIGITS: usize = 32;
    let digits: String = prefix.chars().filter(|one| *one != '-').collect();
    let is_some = (PREFIX_MIN..=DIGITS).contains(&digits.len());
    let filled = |with: char| {
        let rest: String = std::iter::repeat_n(with, DIGITS - digits.len()).collect();
        format!("{digits}{rest}").parse().ok()
    };
    is_some.then(|| Some((filled('0')?, filled('f')?))).flatten()
}

async fn timeline(databases: &mut Databases, order: OrderId) -> Result<Vec<Passed>> {
    let rows = order::audit::timeline(databases.of("order")?, order).await?;
    let mut steps = Vec::with_capacity(rows.len());
    for (event, event_id, at, caused_by, detail) in rows {
        let (service, detail) = (said_by(&event).into(), serde_json::from_str(&detail)?);
        steps.push(api::Step { event, event_id, service, at, caused_by, detail });
    }
    let took = |step: &api::Step| {
        let cause = steps.iter().find(|other| step.caused_by == Some(other.event_id));
        // Not all causes are consumed by order: an id contains its time as well.
        let caused_at = cause.map(|cause| cause.at).or_else(|| said_at(step.caused_by?));
        caused_at.map(|at| (step.at - at).num_milliseconds())
    };
    let took: Vec<_> = steps.iter().map(took).collect();
    Ok(steps.into_iter().zip(took).map(|(step, took_ms)| Passed { step, took_ms }).collect())
}

/// Everything that any service has recorded of the order.
fn known(timeline: &[Passed], found: &Found) -> Observed {
    let mut known = Observed::default();
    known.said.extend(timeline.iter().map(|passed| passed.step.event.clone()));
    known.said.extend(found.outboxes.values().flatten().map(|row| row.event.clone()));
    known.said.extend(found.aside.iter().filter_map(|aside| aside.event.clone()));
    for (service, events) in &found.handled {
        known.said.extend(events.iter().cloned());
        known.heard.extend(events.iter().map(|event| (service.clone(), event.clone())));
    }
    known
}

async fn explain(
    debt: PendingStep,
    timeline: &[Passed],
    found: &Found,
    broker: &Broker,
) -> Result<Missing> {
    let step = debt.step();
    let queue = queue_name(step.service, step.hears);
    let state = broker.state(&queue).await?;
    let place = match debt {
        PendingStep::Handle(step) => {
            let in_queue = state.map_or(Place::NoQueue, |it| Place::Queue { ready: it.ready });
            unheard(step, &queue, found).unwrap_or(in_queue)
        }
        PendingStep::Answer(step) => match &found.charge {
            Some(charge) if step.service == "payment" && charge.is_open() => {
                Place::Desk(charge.clone())
            }
            _ => Place::OnItsWay { ready: waiting_for(step, broker).await? },
        },
    };
    let since = timeline.iter().find(|passed| passed.step.event == step.hears);
    Ok(Missing {
        service: step.service.into(),
        event: step.hears.into(),
        may_say: if matches!(debt, PendingStep::Answer(_)) { step.may_say } else { &[] },
        since: since.map(|passed| passed.step.at),
        queue,
        consumers: state.map_or(0, |state| state.consumers),
        place,
    })
}

/// The place of an event that its subscriber has not handled; none where it must be in the
/// subscriber's queue.
fn unheard(step: &Step, queue: &str, found: &Found) -> Option<Place> {
    let unsent = found.outboxes.get(said_by(step.hears)).into_iter().flatten();
    let unsent = unsent.filter(|row| row.event == step.hears).map(|row: &Unsent| Place::Outbox {
        service: said_by(step.hears).into(),
        attempts: row.attempts,
        last_error: row.last_error.clone(),
    });
    let aside = found.aside.iter().filter(|aside| aside.of == queue);
    let aside = aside.map(|aside| match aside.returns_at {
        Some(_) => Place::Tier(aside.clone()),
        None => Place::DeadLetter(aside.clone()),
    });
    let purged = found.purged.iter().filter(|purged| purged.queue == queue);
    let purged =
        purged.map(|purged| Place::Purged { at: purged.at, reason: purged.reason.clone() });
    unsent.chain(aside).chain(purged).next()
}

/// A reaction's answers are in the outbox once its event is handled. An answer that is no longer
/// there, and not yet handled, is in its subscriber's queue.
async fn waiting_for(step: &Step, broker: &Broker) -> Result<Vec<(String, u32)>> {
    let mut ready = Vec::new();
    for hearer in events::SAGA.iter().filter(|other| step.may_say.contains(&other.hears)) {
        let queue = queue_name(hearer.service, hearer.hears);
        let waiting = broker.state(&queue).await?;
        ready.push((queue, waiting.map_or(0, |state| state.ready)));
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_known_by_how_its_id_ends() {
        let id = "0198ab1c-2d3e-7f40-8b51-23456789abcd";
        let digits = id.replace('-', "");
        for count in 1..=32 {
            let ends = end(&digits[32 - count..]);
            assert!(id.ends_with(&ends) && ends.replace('-', "").len() == count, "{ends}");
        }
        assert_eq!(end("8B51-2345"), "8b512345");
    }

    #[test]
    fn an_order_is_known_by_how_its_id_begins() {
        let (first, last) = range("0198-ab").unwrap();
        assert_eq!(first.to_string(), "0198ab00-0000-0000-0000-000000000000");
        assert_eq!(last.to_string(), "0198abff-ffff-ffff-ffff-ffffffffffff");
        let id = Uuid::from_u128(5);
        assert_eq!(range(&id.to_string()), Some((id, id)));
        for wrong in ["019", "", "0198xy", &format!("{id}0")] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }
}
