//! Summarises all rounds: medians, and how they compare.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Bench;
use super::setup::{PAIRS, Pair};
use crate::load::{Latency, Report, Spread};
use crate::usage::{Group, Sum};

#[derive(Debug, Serialize)]
pub struct Summary {
    pub rounds: usize,
    pub orders: usize,
    pub trial_s: f64,
    pub in_flight: usize,
    pub rows: Vec<Row>,
    pub ratios: Vec<Ratio>,
    /// Why this run is not good; empty, where it is.
    pub breaks: Vec<String>,
}

/// One trial, over all rounds.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    pub name: String,
    /// The median of the rounds, like all values that follow.
    pub orders_per_s: f64,
    /// Over the orders of all rounds.
    pub final_ms: Spread,
    pub cpu_s_per_1000_orders: f64,
    /// By group, including the process that places the orders.
    pub groups: BTreeMap<Group, Sum>,
    pub pss_mb: f64,
    pub each_round: Vec<Round>,
    #[serde(skip)]
    finals: Latency,
}

#[derive(Clone, Debug, Serialize)]
pub struct Round {
    pub orders: usize,
    pub orders_per_s: f64,
    pub final_ms: Spread,
    pub groups: BTreeMap<Group, Sum>,
    pub total: Sum,
}

/// The ratio of one trial to the other.
#[derive(Debug, PartialEq, Serialize)]
pub struct Ratio {
    pub what: &'static str,
    pub orders_per_s: f64,
    pub cpu_s_per_1000_orders: f64,
    pub p99_ms: f64,
}

impl Summary {
    pub fn new(asked: &Bench) -> Self {
        let Bench { rounds, orders, length, in_flight, .. } = *asked;
        let trial_s = length.as_secs_f64();
        let (rows, ratios, breaks) = (Vec::new(), Vec::new(), Vec::new());
        Self { rounds, orders, trial_s, in_flight, rows, ratios, breaks }
    }

    pub fn add(&mut self, what: &str, report: &Report) {
        if !report.is_as_asked() {
            let Report { unfinished, refused, unexpected_ends, .. } = report;
            self.breaks.push(format!(
                "{what}: {unfinished} not final in time, {refused} never placed, otherwise than \
                 asked {unexpected_ends:?}"
            ));
        }
        let usage = report.usage.clone();
        let round = Round {
            orders: report.finished,
            orders_per_s: report.finished_per_s,
            final_ms: report.final_ms,
            groups: usage.iter().flat_map(|usage| usage.groups.clone()).collect(),
            total: usage.map(|usage| usage.total).unwrap_or_default(),
        };
        let row = self.row(what);
        row.each_round.push(round);
        row.finals.merge(&report.finals);
    }

    fn row(&mut self, what: &str) -> &mut Row {
        let place = self.rows.iter().position(|row| row.name == what).unwrap_or_else(|| {
            self.rows.push(Row { name: what.into(), ..Row::default() });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }

    pub fn is_broken(&mut self, how: impl IntoIterator<Item = String>) {
        self.breaks.extend(how);
    }

    pub fn finish(&mut self) {
        self.rows.iter_mut().for_each(Row::finish);
        let row = |name| self.rows.iter().find(|row| row.name == name);
        let ratio = |pair: &Pair| Some(Ratio::of(pair.what, row(pair.one)?, row(pair.other)?));
        self.ratios = PAIRS.iter().filter_map(ratio).collect();
    }
}

impl Row {
    fn finish(&mut self) {
        let of = |what: &dyn Fn(&Round) -> f64| median(self.each_round.iter().map(what).collect());
        self.orders_per_s = of(&|round| round.orders_per_s);
        self.cpu_s_per_1000_orders = of(&|round| round.total.cpu_s_per_1000_orders);
        self.pss_mb = of(&|round| round.total.pss_mb);
        let groups = self.each_round.iter().flat_map(|round| round.groups.keys().copied());
        let sum = |group: Group| {
            let of_group = |what: fn(Sum) -> f64| {
                of(&|round| round.groups.get(&group).copied().map_or(0.0, what))
            };
            Sum {
                cpu_s: of_group(|sum| sum.cpu_s),
                cpu_s_per_1000_orders: of_group(|sum| sum.cpu_s_per_1000_orders),
                rss_mb: of_group(|sum| sum.rss_mb),
                pss_mb: of_group(|sum| sum.pss_mb),
            }
        };
        self.groups = groups.map(|group| (group, sum(group))).collect();
        self.final_ms = self.finals.spread();
    }
}

impl Ratio {
    fn of(what: &'static str, one: &Row, other: &Row) -> Self {
        let ratio = |value: fn(&Row) -> f64| match value(other) {
            0.0 => 0.0,
            other => value(one) / other,
        };
        Self {
            what,
            orders_per_s: ratio(|row| row.orders_per_s),
            cpu_s_per_1000_orders: ratio(|row| row.cpu_s_per_1000_orders),
            p99_ms: ratio(|row| row.final_ms.p99),
        }
    }
}

/// Of an even number, the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        even if even.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::usage::Usage;

    fn nothing() -> Summary {
        let length = Duration::from_secs(1);
        Summary::new(&Bench { setups: Vec::new(), rounds: 3, orders: 10, length, in_flight: 4 })
    }

    fn report(per_s: f64, cpu: f64, ms: u64) -> Report {
        let sum = Sum { cpu_s: cpu, cpu_s_per_1000_orders: cpu, rss_mb: 2.0, pss_mb: 1.0 };
        let groups = [(Group::Services, sum), (Group::Load, sum)].into();
        let usage = Usage { parts: Vec::new(), groups, total: sum };
        let mut report = Report { finished_per_s: per_s, usage: Some(usage), ..Report::default() };
        report.finals.add(Duration::from_millis(ms));
        report
    }

    fn summary() -> Summary {
        let mut summary = nothing();
        for (per_s, cpu, ms) in [(300.0, 1.0, 10), (100.0, 3.0, 30), (200.0, 2.0, 90)] {
            summary.add("as it is", &report(per_s, cpu, ms));
            summary.add("no batches", &report(per_s / 4.0, cpu * 2.0, ms * 10));
        }
        summary.finish();
        summary
    }

    #[test]
    fn a_row_has_the_medians_of_its_rounds_and_the_percentiles_of_all_orders() {
        let summary = summary();
        let row = &summary.rows[0];
        assert_eq!((row.orders_per_s, row.cpu_s_per_1000_orders, row.pss_mb), (200.0, 2.0, 1.0));
        assert_eq!((row.final_ms.p50.round(), row.final_ms.max.round()), (30.0, 90.0));
        assert_eq!(row.groups[&Group::Services].cpu_s, 2.0);
        assert_eq!(row.each_round.len(), 3);
        assert!(summary.breaks.is_empty());
    }

    #[test]
    fn what_was_measured_is_compared() {
        let [ratio] = &summary().ratios[..] else { panic!("one pair has been measured") };
        assert_eq!(ratio.orders_per_s, 4.0);
        assert_eq!(ratio.cpu_s_per_1000_orders, 0.5);
        assert!((ratio.p99_ms - 0.1).abs() < 0.001);
    }

    #[test]
    fn a_trial_that_goes_wrong_is_a_break() {
        let mut summary = nothing();
        summary.add("as it is", &Report { refused: 2, ..report(1.0, 1.0, 1) });
        assert!(summary.breaks[0].contains("as it is: 0 not final in time, 2 never placed"));
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
