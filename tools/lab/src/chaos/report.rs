//! Reports what a run has shown, and why it is not good.

use std::collections::BTreeMap;
use std::time::Duration;

use audit::{OrderStatus, Outcome, Verdict};
use kit::output::some;
use kit::scenario::Scenario;
use serde::Serialize;

use super::Chaos;
use super::fault::Fault;
use super::faults::Done;
use super::memory::Peak;
use super::plan::Plan;
use super::poison::Poison;
use super::watch::Measure;
use crate::load;

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub asked: Chaos,
    /// The same seed gives the same plan.
    pub plan: String,
    pub took_s: f64,
    pub faults: Vec<Done>,
    pub faults_by_name: BTreeMap<&'static str, usize>,
    pub recovery: Vec<Recovered>,
    /// Each service's peak memory.
    pub memory: Vec<Peak>,
    pub orders: load::Report,
    /// Malformed messages that were put into queues: each must become a dead letter.
    pub poisoned: usize,
    pub dead_letters: usize,
    pub lost: usize,
    pub doubled: usize,
    pub verify: Option<Verdict>,
    /// Why this run is not good; empty, where it is.
    pub breaks: Vec<String>,
}

/// The recovery times of one kind of fault.
#[derive(Debug, Serialize)]
pub struct Recovered {
    pub fault: &'static str,
    pub measure: Measure,
    pub times: usize,
    pub p50_s: f64,
    pub max_s: f64,
    pub goal_s: Option<f64>,
    /// The number of recoveries that took too long.
    pub missed: usize,
}

impl Report {
    pub(super) fn new(
        asked: &Chaos,
        faults: Vec<Done>,
        orders: load::Report,
        (poison, memory): (&Poison, Vec<Peak>),
        verdict: Result<Verdict, String>,
        took: Duration,
    ) -> Self {
        let mut faults_by_name = BTreeMap::new();
        for done in &faults {
            *faults_by_name.entry(done.step.fault.name()).or_default() += 1;
        }
        let mut breaks = not_done(asked, &faults);
        breaks.extend(not_ended(asked, &orders));
        breaks.extend(otherwise_than_asked(&faults, &orders));
        breaks.extend(too_large(&memory));
        match &verdict {
            Ok(verdict) => {
                breaks.extend(not_held(verdict));
                breaks.extend(not_accounted_for(verdict, poison));
            }
            Err(why) => breaks.push(format!("cannot be verified: {why}")),
        }
        let verify = verdict.ok();
        let violations = verify.iter().flat_map(|verdict| &verdict.violations);
        let of = |kinds: [u8; 3]| {
            violations.clone().filter(|found| kinds.contains(&found.invariant)).count()
        };
        Self {
            plan: Plan::digest(asked.seed, &asked.faults, asked.every),
            asked: asked.clone(),
            took_s: took.as_secs_f64(),
            recovery: recovered(&faults),
            memory,
            faults_by_name,
            lost: of([1, 4, 5]) + orders.unfinished,
            doubled: of([2, 3, 6]),
            poisoned: poison.number(),
            dead_letters: verify.as_ref().map_or(0, |verdict| verdict.dead_letters.len()),
            faults,
            orders,
            verify,
            breaks,
        }
    }
}

fn not_done(asked: &Chaos, faults: &[Done]) -> Vec<String> {
    let failed = faults.iter().filter_map(|done| Some((done, done.error.as_ref()?)));
    let mut breaks: Vec<_> = failed
        .map(|(done, why)| {
            let (number, fault, target) = (done.step.number, done.step.fault, done.step.target);
            format!("fault {number}, {} {target}: {why}", fault.name())
        })
        .collect();
    if faults.is_empty() {
        breaks.push(format!("nothing went wrong within {:?}: give it more time", asked.length));
    }
    breaks
}

fn not_ended(asked: &Chaos, orders: &load::Report) -> Vec<String> {
    let missing = asked.orders.map_or(0, |wanted| wanted.saturating_sub(orders.placed));
    let none = usize::from(orders.placed == 0);
    let counts = [
        (orders.unfinished, "not final in the end"),
        (orders.refused, "refused"),
        (missing, "not placed in time"),
        (none, "placed too few: there is nothing to judge"),
    ];
    let bad = counts.into_iter().filter(|(number, _)| *number > 0);
    bad.map(|(number, what)| format!("{} {what}", some(number, "order"))).collect()
}

/// During a fault of the provider, a card that fails twice may fail for good.
fn otherwise_than_asked(faults: &[Done], orders: &load::Report) -> Vec<String> {
    const BY_PROVIDER: [Scenario; 2] = [Scenario::Flaky, Scenario::CancelUncharged];
    let is_his = |done: &Done| matches!(done.step.fault, Fault::ProviderKill | Fault::Lies);
    let was_away = faults.iter().any(is_his);
    let excused = BY_PROVIDER
        .map(|scenario| format!("{} ended {}", scenario.name(), OrderStatus::PaymentFailed.name()));
    let ends = orders.unexpected_ends.iter();
    let ends = ends.filter(|(end, _)| !(was_away && excused.contains(end)));
    ends.map(|(end, number)| format!("{}: {end}", some(*number, "order"))).collect()
}

fn not_held(verdict: &Verdict) -> Vec<String> {
    let mut breaks: Vec<_> = verdict.violations.iter().map(ToString::to_string).collect();
    if verdict.outcome == Outcome::Moving {
        breaks.push(format!("it does not come to rest: {}", verdict.restless.join(", ")));
    }
    breaks
}

/// Every poison message is a dead letter, once, and nothing else is.
fn not_accounted_for(verdict: &Verdict, poison: &Poison) -> Vec<String> {
    let mut breaks = poison.unaccounted(&verdict.dead_letters);
    let purged = verdict.purged.iter().map(|letter| &letter.queue);
    breaks.extend(purged.map(|queue| format!("somebody has purged {queue}")));
    breaks
}

fn too_large(memory: &[Peak]) -> impl Iterator<Item = String> {
    let large = memory.iter().filter(|peak| peak.is_too_much());
    large.map(|Peak { service, rss_mb, limit_mb, .. }| {
        format!("{service} took {rss_mb:.0} MB, and its container has {limit_mb:.0}")
    })
}

fn recovered(faults: &[Done]) -> Vec<Recovered> {
    let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for done in faults {
        for recovery in &done.recoveries {
            let kind = (done.step.fault, recovery.measure);
            all.entry(kind).or_default().push(recovery.took_s);
        }
    }
    let summary = all.into_iter().map(|((fault, measure), mut times)| {
        times.sort_by(f64::total_cmp);
        let goal_s = measure.goal().map(|goal| goal.as_secs_f64());
        Recovered {
            fault: fault.name(),
            measure,
            times: times.len(),
            p50_s: times[(times.len() - 1) / 2],
            max_s: times[times.len() - 1],
            goal_s,
            missed: times.iter().filter(|took| goal_s.is_some_and(|goal| **took > goal)).count(),
        }
    });
    summary.collect()
}

/// A completed fault, in one line.
pub fn line(done: &Done) -> String {
    let Done { step, took_s, detail, recoveries, error, .. } = done;
    let mut line =
        format!("{:<17} {:<18} {took_s:>5.1} s  ", step.fault.name(), step.target.to_string());
    line += error.as_ref().unwrap_or(detail);
    for recovery in recoveries {
        line += &format!("; {} {:.2} s", recovery.measure.text(), recovery.took_s);
    }
    line
}

#[cfg(test)]
mod tests;
