//! Defines counters, gauges and histograms that know their own name and labels.

use crate::meters;
use opentelemetry::{
    KeyValue,
    metrics::{self, Meter, MeterProvider},
};
use std::{sync::OnceLock, time::Duration};

/// A metric as the documentation lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub name: &'static str,
    pub kind: &'static str,
    pub labels: &'static [&'static str],
    /// The service that reports it.
    pub of: &'static str,
    pub tells: &'static str,
}

impl About {
    /// Its row in the table of the documentation.
    pub fn row(&self) -> String {
        let Self { name, of, tells, .. } = self;
        let kind = if self.kind == "Seconds" { "histogram" } else { self.kind };
        let labels: Vec<_> = self.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (kind.to_lowercase(), labels.join(", "));
        format!("| `{name}` | {kind} | {labels} | {of} | {tells} |")
    }
}

/// What it is bound to at its first use: nothing without a reader.
struct Instrument<I, const N: usize> {
    name: &'static str,
    tells: &'static str,
    labels: [&'static str; N],
    bound: OnceLock<Option<I>>,
}

impl<I, const N: usize> Instrument<I, N> {
    const fn new(name: &'static str, tells: &'static str, labels: [&'static str; N]) -> Self {
        Self { name, tells, labels, bound: OnceLock::new() }
    }

    fn bound(&self, bind: impl FnOnce(&Self, &Meter) -> I) -> Option<&I> {
        let bind = || Some(bind(self, &meters::PROVIDER.get()?.meter("quadrille")));
        self.bound.get_or_init(bind).as_ref()
    }

    fn labels(&self, values: [&str; N]) -> [KeyValue; N] {
        let mut at = 0;
        values.map(|value| {
            let label = self.labels[at];
            at += 1;
            KeyValue::new(label, value.to_owned())
        })
    }
}

/// Only grows.
pub struct Counter<const N: usize>(Instrument<metrics::Counter<u64>, N>);

impl<const N: usize> Counter<N> {
    pub const fn new(name: &'static str, tells: &'static str, labels: [&'static str; N]) -> Self {
        Self(Instrument::new(name, tells, labels))
    }

    pub fn add(&self, count: usize, labels: [&str; N]) {
        let bind = |of: &Instrument<_, N>, meter: &Meter| {
            meter.u64_counter(of.name).with_description(of.tells).build()
        };
        if count > 0
            && let Some(counter) = self.0.bound(bind)
        {
            counter.add(count as u64, &self.0.labels(labels));
        }
    }
}

/// The value of the last sample.
pub struct Gauge<const N: usize>(Instrument<metrics::Gauge<f64>, N>);

impl<const N: usize> Gauge<N> {
    pub const fn new(name: &'static str, tells: &'static str, labels: [&'static str; N]) -> Self {
        Self(Instrument::new(name, tells, labels))
    }

    pub fn set(&self, value: f64, labels: [&str; N]) {
        let bind = |of: &Instrument<_, N>, meter: &Meter| {
            meter.f64_gauge(of.name).with_description(of.tells).build()
        };
        if let Some(gauge) = self.0.bound(bind) {
            gauge.record(value, &self.0.labels(labels));
        }
    }
}

/// A histogram of durations.
pub struct Seconds<const N: usize>(Instrument<metrics::Histogram<f64>, N>);

/// From a query to an order that waits for a long retry.
const BOUNDARIES: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

impl<const N: usize> Seconds<N> {
    pub const fn new(name: &'static str, tells: &'static str, labels: [&'static str; N]) -> Self {
        Self(Instrument::new(name, tells, labels))
    }

    pub fn record(&self, took: Duration, labels: [&str; N]) {
        let bind = |of: &Instrument<_, N>, meter: &Meter| {
            let histogram = meter.f64_histogram(of.name).with_description(of.tells);
            histogram.with_boundaries(BOUNDARIES.into()).build()
        };
        if let Some(histogram) = self.0.bound(bind) {
            histogram.record(took.as_secs_f64(), &self.0.labels(labels));
        }
    }
}
