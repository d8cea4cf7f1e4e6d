//! Collects the results of a load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use audit::{OrderStatus, Told};
use events::OrderId;
use kit::api::Api;
use serde::Serialize;

use super::customer::Fate;
use super::goods::Goods;
use super::hops::{self, Hop};
use super::latency::{Latency, Point, Spread};
use super::pace::{Series, rate};
use crate::usage::Usage;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub warm_up_s: f64,
    /// Warm-up orders; they count only in errors and in the series.
    pub warm_up_orders: usize,
    pub placed: usize,
    pub finished: usize,
    /// Orders that ended after the warm-up, whenever they were placed: rate and usage refer to
    /// them.
    pub ended: usize,
    /// Placed, and not final within the time limit.
    pub unfinished: usize,
    /// Never placed.
    pub refused: usize,
    /// Orders with an unexpected ending.
    pub unexpected: usize,
    /// Their endings: `confirmed ended CANCELLED`.
    pub unexpected_ends: BTreeMap<String, usize>,
    /// From the end of the warm-up to that of the last order.
    pub seconds: f64,
    pub placed_per_s: f64,
    pub finished_per_s: f64,
    /// From the moment at which the order was due.
    pub post_ms: Spread,
    /// To the moment at which a client that polls all the time sees the end.
    pub final_ms: Spread,
    pub final_by_percentile: Vec<Point>,
    pub placed_each_s: Series,
    pub finished_each_s: Series,
    pub by_status: BTreeMap<String, usize>,
    /// Of products that could be sold out.
    pub sale: Option<Sale>,
    /// Failed requests by their error; most are repeated with success.
    pub errors: BTreeMap<String, usize>,
    pub hops: Vec<Hop>,
    pub usage: Option<Usage>,
    #[serde(skip)]
    pub told: Told,
    #[serde(skip)]
    pub finals: Latency,
    #[serde(skip)]
    pub(crate) posts: Latency,
    #[serde(skip)]
    pub(crate) confirmed: Vec<OrderId>,
    #[serde(skip)]
    pub(crate) last_placed: Option<Instant>,
}

/// Orders of one piece each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sale {
    /// The total stock, where it is known.
    pub stock: Option<u64>,
    pub wanted: u64,
    pub sold: u64,
}

impl Report {
    pub(super) fn new(warm_up: Duration) -> Self {
        Self { warm_up_s: warm_up.as_secs_f64(), ..Self::default() }
    }

    /// `at` is since the load began.
    pub(super) fn add(&mut self, fate: Fate, at: Duration) {
        for error in fate.errors {
            *self.errors.entry(error).or_default() += 1;
        }
        let Some(order) = fate.order else {
            self.refused += 1;
            return;
        };
        self.told.placed.get_or_insert_default().push(order);
        if fate.cancelled {
            self.told.cancelled.get_or_insert_default().push(order);
        }
        if fate.counts {
            self.placed += 1;
            self.posts.add(fate.post);
            self.last_placed = self.last_placed.max(Some(fate.since + fate.post));
        } else {
            self.warm_up_orders += 1;
        }
        let (Some(took), Some(status)) = (fate.to_final, fate.status) else {
            self.unfinished += 1;
            return;
        };
        self.finished_each_s.add(at);
        self.ended += usize::from(at.as_secs_f64() >= self.warm_up_s);
        // After a late cancel the order is confirmed; the same holds where the first cancel was
        // accepted, its answer lost, and the repetition refused as too late.
        let too_late = fate.scenario.cancel_after().is_some() && !fate.cancelled;
        let is_confirmed = status == OrderStatus::Confirmed.name();
        let as_asked = status == fate.scenario.ends().name();
        let sold_out = fate.is_limited && status == OrderStatus::Cancelled.name();
        let kept = too_late && is_confirmed;
        let is_expected = if too_late { kept || as_asked && fate.cancel_failed } else { as_asked };
        if !is_expected && !sold_out {
            self.is_not_as_asked(format!("{} ended {status}", fate.scenario.name()));
        }
        if !fate.counts {
            return;
        }
        self.finished += 1;
        self.finals.add(took);
        if fate.is_limited {
            let sale = self.sale.get_or_insert_default();
            sale.wanted += 1;
            sale.sold += u64::from(is_confirmed);
        }
        if is_confirmed {
            self.confirmed.push(order);
        }
        *self.by_status.entry(status).or_default() += 1;
    }

    fn is_not_as_asked(&mut self, how: String) {
        self.unexpected += 1;
        *self.unexpected_ends.entry(how).or_default() += 1;
    }

    pub(super) fn finish(&mut self, begin: Instant, goods: &Goods, usage: Option<Usage>) {
        let took = begin.elapsed();
        let placing = self.last_placed.map_or(Duration::ZERO, |last| last.duration_since(begin));
        self.seconds = took.as_secs_f64();
        self.placed_per_s = rate(self.placed, placing);
        self.finished_per_s = rate(self.ended, took);
        self.post_ms = self.posts.spread();
        self.final_ms = self.finals.spread();
        self.final_by_percentile = self.finals.curve();
        self.usage = usage;
        if let (Goods::Flash { stock, .. }, Some(sale)) = (goods, &mut self.sale) {
            sale.stock = Some(*stock);
            let Sale { wanted, sold, .. } = *sale;
            if sold != wanted.min(*stock) {
                self.is_not_as_asked(format!("{sold} sold of {stock}, and {wanted} were wanted"));
            }
        }
    }

    /// Reads from the service how long the steps of some orders took.
    pub async fn look_at_hops(&mut self, api: &Api) {
        self.hops = hops::look(api, &self.confirmed).await;
    }

    /// Every order was placed and had the expected ending.
    pub fn is_as_asked(&self) -> bool {
        self.unfinished + self.refused + self.unexpected == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::scenario::Scenario;
    use uuid::Uuid;

    fn fate(scenario: Scenario, status: Option<&str>) -> Fate {
        Fate {
            order: Some(Uuid::nil()),
            post: Duration::from_millis(2),
            to_final: status.map(|_| Duration::from_millis(40)),
            status: status.map(Into::into),
            cancelled: scenario.cancel_after().is_some(),
            ..Fate::of(scenario, Instant::now(), true)
        }
    }

    fn report(fates: impl IntoIterator<Item = Fate>) -> Report {
        let mut report = Report::default();
        fates.into_iter().for_each(|fate| report.add(fate, Duration::ZERO));
        report
    }

    #[test]
    fn what_ends_otherwise_than_asked_is_counted() {
        let good = report([fate(Scenario::Confirmed, Some("CONFIRMED"))]);
        assert!(good.is_as_asked());
        let report = report([
            fate(Scenario::Confirmed, Some("CONFIRMED")),
            fate(Scenario::Declined, Some("CONFIRMED")),
            fate(Scenario::Confirmed, None),
            Fate { order: None, errors: vec!["no".into()], ..fate(Scenario::Slow, None) },
        ]);
        assert_eq!((report.unexpected, report.unfinished, report.refused), (1, 1, 1));
        assert_eq!(report.unexpected_ends["declined ended CONFIRMED"], 1);
        assert_eq!((report.placed, report.finished, report.errors["no"]), (3, 2, 1));
        assert!(!report.is_as_asked());
    }

    #[test]
    fn what_warms_up_counts_only_where_it_goes_wrong() {
        let cold = |status| Fate { counts: false, ..fate(Scenario::Confirmed, status) };
        let mut report = report([cold(Some("CONFIRMED")), cold(Some("CANCELLED")), cold(None)]);
        report.finish(Instant::now(), &Goods::Usual, None);
        assert_eq!((report.warm_up_orders, report.placed, report.finished), (3, 0, 0));
        assert_eq!((report.unexpected, report.unfinished, report.ended), (1, 1, 2));
        assert_eq!((report.final_ms, report.finished_each_s.0), (Spread::default(), vec![2]));
        assert_eq!(report.told.placed.map(|told| told.len()), Some(3), "verify knows of them");
    }

    #[test]
    fn the_rate_is_of_all_that_end_after_the_warm_up() {
        let mut report = Report::new(Duration::from_secs(1));
        for (counts, at_ms) in [(false, 900), (false, 1500), (true, 1600)] {
            let fate = Fate { counts, ..fate(Scenario::Confirmed, Some("CONFIRMED")) };
            report.add(fate, Duration::from_millis(at_ms));
        }
        assert_eq!((report.ended, report.finished), (2, 1));
    }

    #[test]
    fn a_flash_sale_sells_exactly_what_is_there() {
        let limited = |status| Fate { is_limited: true, ..fate(Scenario::Confirmed, Some(status)) };
        let sold = |stock, sold, turned_away| {
            let one = std::iter::repeat_with(|| limited("CONFIRMED")).take(sold);
            let other = std::iter::repeat_with(|| limited("CANCELLED")).take(turned_away);
            let mut report = report(one.chain(other));
            report.finish(Instant::now(), &Goods::flash(stock), None);
            report
        };
        let good = sold(2, 2, 3);
        assert!(good.is_as_asked());
        assert_eq!(good.sale, Some(Sale { stock: Some(2), wanted: 5, sold: 2 }));
        assert!(sold(9, 3, 0).is_as_asked(), "nobody wanted the rest");
        assert!(!sold(3, 2, 3).is_as_asked(), "one was left");
        assert!(!sold(3, 4, 1).is_as_asked(), "one was sold twice");
    }

    #[test]
    fn a_cancel_whose_answer_was_lost_may_have_been_taken() {
        let late = |failed| Fate {
            cancelled: false,
            cancel_failed: failed,
            ..fate(Scenario::CancelCharged, Some("CANCELLED"))
        };
        let kept = |failed| Fate { status: Some("CONFIRMED".into()), ..late(failed) };
        assert!(report([late(true), kept(true), kept(false)]).is_as_asked());
        assert_eq!(report([late(false)]).unexpected, 1);
    }

    #[test]
    fn what_clients_were_told_is_kept() {
        let cancelled = fate(Scenario::CancelCharged, Some("CANCELLED"));
        let report = report([fate(Scenario::Confirmed, Some("CONFIRMED")), cancelled]);
        assert_eq!(report.told.placed.map(|told| told.len()), Some(2));
        assert_eq!(report.told.cancelled.map(|told| told.len()), Some(1));
    }
}
