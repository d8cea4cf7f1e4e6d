//! Holds the state that every page shows, and writes the frame from one state to the next.

use crate::{
    order_labels::Ending,
    queues::Queues,
    rates::{Rates, told},
    rows,
};
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use events::{EVENTS, Event, OrderCreated, OrderId, SERVICES};
use order::{Status, View, store::COUNTED_MAX};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An event of an order that is new to the page counts as news for this long.
const NEWS_FOR: TimeDelta = TimeDelta::seconds(10);

/// An order of many is listed once it has waited so long.
const WAITS_AFTER: TimeDelta = TimeDelta::seconds(2);

/// The totals of all orders, a line for each ending.
#[derive(Template)]
#[template(path = "summary.html")]
struct Summary {
    placed: String,
    /// The number of order's processes: the rates are those of this one.
    copies: u32,
    lines: [Line; 3],
}

struct Line {
    ending: Ending,
    rate: String,
    count: String,
}

/// In HTML, where it is for people.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    pub rows: Vec<(OrderId, String)>,
    pub counts: BTreeMap<&'static str, String>,
    pub numbers: BTreeMap<String, Number>,
    pub dead: String,
    /// Events a second, for people; empty where there are hardly any.
    pub rates: BTreeMap<&'static str, String>,
    /// The totals, when there are too many orders to list; else empty.
    pub summary: String,
    /// What is wrong with the page itself.
    pub trouble: String,
    events: HashMap<OrderId, BTreeSet<&'static str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Number {
    pub text: String,
    /// It needs attention.
    pub is_alarm: bool,
}

/// What has changed; what is not there has not.
#[derive(Debug, Default, Serialize)]
pub struct Frame {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<RowNow>,
    /// All that are shown, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<OrderId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    numbers: BTreeMap<String, Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rates: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// Events that have passed.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    passed: BTreeSet<&'static str>,
}

#[derive(Debug, Serialize)]
struct RowNow {
    id: OrderId,
    html: String,
}

impl Scene {
    /// Lists only those that wait, when there are too many.
    pub fn show_orders(&mut self, views: &[View], queues: &Queues, now: DateTime<Utc>) {
        let waits =
            |view: &&View| !view.order.status().is_final() && view.updated_at() < now - WAITS_AFTER;
        let listed = views.iter().filter(|view| self.summary.is_empty() || waits(view));
        self.rows = listed.map(|view| (view.id, rows::row(view, queues))).collect();
    }

    /// Shows the rates of this process, which is one of so many copies of order.
    pub fn show_rates(&mut self, rates: &Rates, copies: u32) {
        let rate = |event: &&'static str| (*event, told(rates.of(event)));
        self.rates = EVENTS.iter().map(rate).collect();
        self.summary = match rates.is_busy {
            true => self.summarize(rates, copies),
            false => String::new(),
        };
    }

    fn summarize(&self, rates: &Rates, copies: u32) -> String {
        let line = |status: Status| {
            let ending = Ending::of(status);
            let count = self.counts.get(ending.class()).cloned().unwrap_or_default();
            Line { ending, rate: told(rates.of(status.name())), count }
        };
        let lines = [Status::Confirmed, Status::Cancelled, Status::PaymentFailed].map(line);
        let placed = told(rates.of(OrderCreated::NAME)).trim_end_matches("/s").to_owned();
        Summary { placed, copies, lines }.render().expect("a table is text")
    }

    /// Those events of these orders that were not known before.
    pub fn passed(&mut self, views: &[View], now: DateTime<Utc>) -> BTreeSet<&'static str> {
        let before = std::mem::take(&mut self.events);
        let mut passed = BTreeSet::new();
        for view in views {
            let known = before.get(&view.id);
            for fact in view.order.timeline() {
                let is_news = match known {
                    Some(known) => !known.contains(fact.event),
                    None => fact.at > now - NEWS_FOR,
                };
                if is_news {
                    passed.insert(fact.event);
                }
            }
            let events = view.order.timeline().iter().map(|fact| fact.event);
            self.events.insert(view.id, events.collect());
        }
        passed
    }

    pub fn show_counts(&mut self, counts: &[(Option<Status>, i64)]) {
        let told = |orders: i64, is_more: bool| {
            let more = if is_more { "+" } else { "" };
            format!("{}{more}", thousands(orders))
        };
        let each = counts.iter().map(|(outcome, orders)| {
            let ending = outcome.map_or(Ending::Open, Ending::of);
            (ending.class(), told(*orders, *orders >= COUNTED_MAX))
        });
        self.counts = each.collect();
        let all = counts.iter().map(|(_, orders)| orders).sum();
        let is_more = counts.iter().any(|(_, orders)| *orders >= COUNTED_MAX);
        self.counts.insert("all", told(all, is_more));
    }

    pub fn show_queues(&mut self, queues: &Queues) {
        self.numbers = SERVICES
            .iter()
            .flat_map(|service| {
                let sums = queues.of(service);
                let dead = sums.and_then(|it| it.dead);
                let number = |name: &str, text: Option<String>, is_alarm: bool| {
                    let text = text.unwrap_or_else(|| "–".into());
                    (format!("{service}.{name}"), Number { text, is_alarm })
                };
                let told = |count: u32| thousands(count.into());
                let consumers = sums.map(|sums| match sums.consumers {
                    0 => "0 consumers".into(),
                    1 => "1 consumer".into(),
                    more => format!("{more} consumers"),
                });
                [
                    number("consumers", consumers, sums.is_some_and(|it| it.consumers == 0)),
                    number("waiting", sums.map(|it| told(it.waiting)), false),
                    number("retrying", sums.and_then(|it| it.retrying).map(told), false),
                    number("dead", dead.map(told), dead.is_some_and(|dead| dead > 0)),
                ]
            })
            .collect();
    }

    /// The changes from an older scene to this one.
    pub fn since(&self, old: &Self, passed: BTreeSet<&'static str>) -> Frame {
        let rows: HashMap<_, _> = old.rows.iter().map(|(id, html)| (id, html)).collect();
        let changed = self.rows.iter().filter(|(id, html)| rows.get(id) != Some(&html));
        let ids = |scene: &Self| scene.rows.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        let numbers =
            self.numbers.iter().filter(|(name, number)| old.numbers.get(*name) != Some(number));
        let rates = self.rates.iter().filter(|(event, rate)| old.rates.get(*event) != Some(rate));
        Frame {
            rows: changed.map(|(id, html)| RowNow { id: *id, html: html.clone() }).collect(),
            ids: (ids(self) != ids(old)).then(|| ids(self)),
            counts: (self.counts != old.counts).then(|| self.counts.clone()),
            numbers: numbers.map(|(name, number)| (name.clone(), number.clone())).collect(),
            rates: rates.map(|(event, rate)| (*event, rate.clone())).collect(),
            summary: (self.summary != old.summary).then(|| self.summary.clone()),
            dead: (self.dead != old.dead).then(|| self.dead.clone()),
            trouble: (self.trouble != old.trouble).then(|| self.trouble.clone()),
            passed,
        }
    }

    /// For a page without a scene, or with one that is too old.
    pub fn whole(&self) -> Frame {
        Frame {
            ids: Some(self.rows.iter().map(|(id, _)| *id).collect()),
            counts: Some(self.counts.clone()),
            dead: Some(self.dead.clone()),
            summary: Some(self.summary.clone()),
            trouble: Some(self.trouble.clone()),
            ..self.since(&Self::default(), BTreeSet::new())
        }
    }
}

impl Frame {
    pub fn is_empty(&self) -> bool {
        let Self { rows, ids, counts, numbers, dead, rates, summary, trouble, passed } = self;
        rows.is_empty()
            && ids.is_none()
            && counts.is_none()
            && numbers.is_empty()
            && dead.is_none()
            && rates.is_empty()
            && summary.is_none()
            && trouble.is_none()
            && passed.is_empty()
    }
}

fn thousands(number: i64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    let groups = groups.iter().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(",")
}
