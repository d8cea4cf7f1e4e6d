//! Measures the time between the events of the happy path, from the orders' own timelines.

use std::time::Duration;

use events::{Event, InventoryReserved, OrderCreated, OrderId, PaymentApproved, ShippingScheduled};
use kit::api::{Api, Order, Step};
use serde::Serialize;

use super::latency::{Latency, Spread};

/// Enough for a median, and few enough to be read in a moment.
const SAMPLE: usize = 200;
const PATH: [&str; 4] =
    [OrderCreated::NAME, PaymentApproved::NAME, InventoryReserved::NAME, ShippingScheduled::NAME];

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hop {
    pub from: &'static str,
    pub to: &'static str,
    pub orders: usize,
    pub ms: Spread,
}

/// Reads some of these orders, from all over the run. Those that cannot be read are skipped.
pub async fn look(api: &Api, confirmed: &[OrderId]) -> Vec<Hop> {
    let mut timelines = Vec::new();
    for order in confirmed.iter().step_by(confirmed.len().div_ceil(SAMPLE).max(1)) {
        if let Ok(order) = api.order(*order).await.and_then(|answer| answer.read::<Order>()) {
            timelines.push(order.timeline);
        }
    }
    hops(&timelines)
}

fn hops(timelines: &[Vec<Step>]) -> Vec<Hop> {
    let pairs = PATH.iter().zip(&PATH[1..]);
    let hop = |(from, to): (&&'static str, &&'static str)| {
        let mut latency = Latency::default();
        let took: Vec<_> = timelines.iter().filter_map(|steps| between(steps, from, to)).collect();
        took.iter().for_each(|took| latency.add(*took));
        Hop { from, to, orders: took.len(), ms: latency.spread() }
    };
    pairs.map(hop).filter(|hop| hop.orders > 0).collect()
}

/// Clocks of several machines may differ: a negative time counts as zero.
fn between(steps: &[Step], from: &str, to: &str) -> Option<Duration> {
    let at = |event| steps.iter().find(|step| step.event == event).map(|step| step.at);
    Some((at(to)? - at(from)?).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    fn timeline(ms: &[i64]) -> Vec<Step> {
        let step = |(event, ms): (&&str, &i64)| Step {
            event: (*event).into(),
            event_id: Uuid::nil(),
            service: String::new(),
            at: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(*ms),
            caused_by: None,
            detail: Value::Null,
        };
        PATH.iter().zip(ms).map(step).collect()
    }

    #[test]
    fn each_hop_is_from_one_event_to_the_next() {
        let found = hops(&[timeline(&[0, 10, 14, 15]), timeline(&[100, 110, 116]), timeline(&[5])]);
        let medians: Vec<_> =
            found.iter().map(|hop| (hop.to, hop.orders, hop.ms.max.round())).collect();
        let expected = [
            ("payment.approved", 2, 10.0),
            ("inventory.reserved", 2, 6.0),
            ("shipping.scheduled", 1, 1.0),
        ];
        assert_eq!(medians, expected);
        assert!(hops(&[timeline(&[3])]).is_empty());
    }
}
