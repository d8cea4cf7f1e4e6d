//! Explains why an order is where it is: past steps, the missing step, the service that owes it,
//! and where its message is.

mod missing;
mod places;
mod reach;

use anyhow::{Context, Result, bail};
use audit::{Databases, Endpoints, OrderStatus};
use chrono::{DateTime, Utc};
use events::{
    ADD_ONS, Observed, OrderId, Step, pending_steps, said_at, said_by, services_in, steps_of,
    unhandled,
};
use kit::api;
use messaging::{Env, SystemEnv};
use order::audit::Listed;
use serde::Serialize;
use uuid::Uuid;

use missing::explain;
use places::Found;
use reach::Reach;

pub use missing::{Missing, Place};
pub use payment::audit::Charge;
pub use places::{Aside, Beside, Did};
pub use reach::Unread;

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
    /// The parts of the system that could not be read, so that the rest may be incomplete.
    pub unread: Vec<Unread>,
}

/// A completed step.
#[derive(Debug, Serialize)]
pub struct Passed {
    #[serde(flatten)]
    pub step: api::Step,
    /// The time since its cause; the first step has none.
    pub took_ms: Option<i64>,
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
    let mut reach = Reach::connect(endpoints).await;
    let (id, status, placed_at) = find_order(&mut reach.databases, order).await?;
    let is_final = status.parse().is_ok_and(OrderStatus::is_final);
    let passed = timeline(&mut reach.databases, id).await?;
    let last = passed.iter().map(|passed| passed.step.at).max().filter(|_| is_final);
    let now = SystemEnv.now();
    let end = last.unwrap_or(now);
    let started = |service: &str| reach.databases.started(service);
    let was_there = |service: &str| started(service).is_some_and(|at| placed_at >= at);
    let beside: Vec<_> = services_in(add_ons).filter(|service| was_there(service)).collect();
    let pending = |known: &Observed| {
        let mut all = pending_steps(known);
        let mut others = unhandled(add_ons, known);
        others.retain(|debt| beside.contains(&debt.step().service));
        all.append(&mut others);
        all
    };
    let mut found = places::find(id, (placed_at, end), &mut reach).await;
    if is_final && !pending(&known(&passed, &found)).is_empty() {
        // A repaired event may have come later, under a new id.
        found = places::find(id, (placed_at, now), &mut reach).await;
    }
    // Read again, so that an event that has arrived meanwhile is not missed.
    let timeline = timeline(&mut reach.databases, id).await?;
    let mut missing = Vec::new();
    for debt in pending(&known(&timeline, &found)) {
        missing.push(explain(debt, &timeline, &found, &mut reach).await);
    }
    let took_ms = (end - placed_at).num_milliseconds();
    let dead = found.aside().filter(|aside| aside.returns_at.is_none());
    let dead_letters = dead.cloned().collect();
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
        unread: reach.unread(),
    })
}

async fn find_order(databases: &mut Databases, text: &str) -> Result<Listed> {
    let (first, last) = range(text).with_context(|| {
        format!(
            "{text:?} is not an order id, nor a prefix or suffix of {PREFIX_MIN} or more digits"
        )
    })?;
    let orders = databases.of("order").context(
        "no order can be found without order's database (`saga doctor` tells what to do)",
    )?;
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
    known.said.extend(found.aside().filter_map(|aside| aside.event.clone()));
    for (service, events) in &found.handled {
        known.said.extend(events.iter().cloned());
        known.heard.extend(events.iter().map(|event| (service.clone(), event.clone())));
    }
    infer(&mut known, timeline, found);
    known
}

/// A service that could not be read has handled what it has answered.
fn infer(known: &mut Observed, timeline: &[Passed], found: &Found) {
    let cause = |event: &str| {
        let caused_by = timeline.iter().find(|it| it.step.event == event)?.step.caused_by?;
        let recorded = timeline.iter().find(|it| it.step.event_id == caused_by);
        recorded.map(|it| it.step.event.as_str())
    };
    let heard_by_order = |event: &str| steps_of("order").any(|step| step.hears == event);
    loop {
        let mut more = Vec::new();
        for event in known.said.iter().filter(|event| !found.is_read(said_by(event))) {
            let steps = steps_of(said_by(event)).filter(|step| step.may_say.contains(&&**event));
            let steps: Vec<_> = match cause(event) {
                Some(cause) => steps.filter(|step| step.hears == cause).collect(),
                // Order records each cause that it consumes.
                None if timeline.iter().any(|it| it.step.event == **event) => {
                    steps.filter(|step| !heard_by_order(step.hears)).collect()
                }
                None => steps.collect(),
            };
            if let [step] = steps[..] {
                more.push(step);
            }
        }
        let mut is_new = false;
        for Step { service, hears, .. } in more {
            is_new |= known.said.insert((*hears).to_owned());
            known.heard.insert(((*service).to_owned(), (*hears).to_owned()));
        }
        if !is_new {
            break;
        }
    }
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
