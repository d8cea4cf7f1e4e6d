//! What a load has shown.

use std::collections::BTreeMap;
use std::time::Duration;

use invariants::{OrderStatus, Told};
use serde::Serialize;

use super::{Fate, Progress};

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub placed: usize,
    pub finished: usize,
    /// Placed, and not final within the patience.
    pub unfinished: usize,
    /// Never placed.
    pub refused: usize,
    /// Ended otherwise than they were asked to.
    pub unexpected: usize,
    /// How: `confirmed ended CANCELLED`.
    pub unexpected_ends: BTreeMap<String, usize>,
    pub seconds: f64,
    pub placed_per_s: f64,
    pub finished_per_s: f64,
    pub post_ms: Spread,
    /// From the POST to the moment at which a client that looks all the time sees the end.
    pub final_ms: Spread,
    pub by_status: BTreeMap<String, usize>,
    /// Failed requests by what they failed of; most are repeated with success.
    pub errors: BTreeMap<String, usize>,
    #[serde(skip)]
    pub told: Told,
    #[serde(skip)]
    samples: Samples,
}

#[derive(Debug, Default)]
struct Samples {
    post: Vec<Duration>,
    to_final: Vec<Duration>,
    last_placed: Duration,
    errors: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Report {
    pub(super) fn add(&mut self, fate: Fate) {
        for error in fate.errors {
            *self.errors.entry(error).or_default() += 1;
            self.samples.errors += 1;
        }
        let Some(order) = fate.order else {
            self.refused += 1;
            return;
        };
        self.placed += 1;
        self.told.placed.get_or_insert_default().push(order);
        if fate.cancelled {
            self.told.cancelled.get_or_insert_default().push(order);
        }
        self.samples.post.push(fate.post);
        self.samples.last_placed = self.samples.last_placed.max(fate.placed_at);
        let (Some(took), Some(status)) = (fate.to_final, fate.status) else {
            self.unfinished += 1;
            return;
        };
        self.finished += 1;
        // Who asked too late to cancel has got what he ordered; whose first request was taken, and
        // the answer lost, is told that it is too late as well.
        let too_late = fate.scenario.cancel_after().is_some() && !fate.cancelled;
        let kept = too_late && status == OrderStatus::Confirmed.name();
        let as_asked = status == fate.scenario.ends().name();
        let is_expected = if too_late { kept || as_asked && fate.cancel_failed } else { as_asked };
        if !is_expected {
            self.unexpected += 1;
            let end = format!("{} ended {status}", fate.scenario.name());
            *self.unexpected_ends.entry(end).or_default() += 1;
        }
        self.samples.to_final.push(took);
        *self.by_status.entry(status).or_default() += 1;
    }

    pub(super) fn finish(&mut self, took: Duration) {
        self.seconds = took.as_secs_f64();
        self.placed_per_s = rate(self.placed, self.samples.last_placed);
        self.finished_per_s = rate(self.finished, took);
        self.post_ms = Spread::of(&mut self.samples.post);
        self.final_ms = Spread::of(&mut self.samples.to_final);
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { placed: self.placed, finished: self.finished, errors: self.samples.errors }
    }

    /// Every order was placed and ended as it was asked to.
    pub fn is_as_asked(&self) -> bool {
        self.unfinished + self.refused + self.unexpected == 0
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody places 2^52 orders")]
fn rate(number: usize, took: Duration) -> f64 {
    if took.is_zero() { 0.0 } else { number as f64 / took.as_secs_f64() }
}

impl Spread {
    fn of(samples: &mut [Duration]) -> Self {
        samples.sort_unstable();
        // The smallest that so many of a hundred do not exceed.
        let at = |percent: usize| {
            let rank = (samples.len() * percent).div_ceil(100);
            samples.get(rank.saturating_sub(1)).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        Self { p50: at(50), p95: at(95), p99: at(99), max: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use uuid::Uuid;

    fn fate(scenario: Scenario, status: Option<&str>) -> Fate {
        Fate {
            scenario,
            order: Some(Uuid::nil()),
            placed_at: Duration::from_secs(1),
            post: Duration::from_millis(2),
            to_final: status.map(|_| Duration::from_millis(40)),
            status: status.map(Into::into),
            cancelled: scenario.cancel_after().is_some(),
            cancel_failed: false,
            errors: Vec::new(),
        }
    }

    #[test]
    fn percentiles_are_samples() {
        let mut samples: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let spread = Spread::of(&mut samples);
        assert_eq!(spread, Spread { p50: 100.0, p95: 190.0, p99: 198.0, max: 200.0 });
        assert_eq!(Spread::of(&mut [Duration::from_millis(7)]).p50, 7.0);
        assert_eq!(Spread::of(&mut []), Spread::default());
    }

    #[test]
    fn what_ends_otherwise_than_asked_is_counted() {
        let mut report = Report::default();
        report.add(fate(Scenario::Confirmed, Some("CONFIRMED")));
        report.finish(Duration::from_secs(2));
        assert!(report.is_as_asked());
        assert_eq!((report.placed_per_s, report.finished_per_s), (1.0, 0.5));

        report.add(fate(Scenario::Declined, Some("CONFIRMED")));
        report.add(fate(Scenario::Confirmed, None));
        report.add(Fate { order: None, errors: vec!["no".into()], ..fate(Scenario::Slow, None) });
        assert_eq!((report.unexpected, report.unfinished, report.refused), (1, 1, 1));
        assert_eq!(report.unexpected_ends["declined ended CONFIRMED"], 1);
        assert_eq!((report.placed, report.finished, report.errors["no"]), (3, 2, 1));
        assert!(!report.is_as_asked());
    }

    #[test]
    fn a_cancel_whose_answer_was_lost_may_have_been_taken() {
        let late = |failed| Fate {
            cancelled: false,
            cancel_failed: failed,
            ..fate(Scenario::CancelCharged, Some("CANCELLED"))
        };
        let mut report = Report::default();
        report.add(late(true));
        report.add(Fate { status: Some("CONFIRMED".into()), ..late(true) });
        report.add(Fate { status: Some("CONFIRMED".into()), ..late(false) });
        assert!(report.is_as_asked());
        report.add(late(false));
        assert_eq!(report.unexpected, 1);
    }

    #[test]
    fn what_clients_were_told_is_kept() {
        let mut report = Report::default();
        report.add(fate(Scenario::Confirmed, Some("CONFIRMED")));
        report.add(fate(Scenario::CancelCharged, Some("CANCELLED")));
        assert_eq!(report.told.placed.map(|told| told.len()), Some(2));
        assert_eq!(report.told.cancelled.map(|told| told.len()), Some(1));
    }
}
