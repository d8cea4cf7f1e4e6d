//! Turns counts into rates, and decides when orders are too many to be listed.

use events::{Event, OrderCreated};
use order::Tally;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Rates are of at least so long a time.
const SPAN: Duration = Duration::from_secs(1);
/// From so many orders a second on, the list is a summary, until there are fewer than half of it.
const BUSY: f64 = 25.0;

pub struct Rates {
    tally: Tally,
    last: (Instant, BTreeMap<&'static str, u64>),
    /// A second, by name.
    now: BTreeMap<&'static str, f64>,
    pub is_busy: bool,
}

impl Rates {
    pub fn new(tally: Tally) -> Self {
        let last = (Instant::now(), tally.read());
        Self { tally, last, now: BTreeMap::new(), is_busy: false }
    }

    pub fn of(&self, name: &str) -> f64 {
        self.now.get(name).copied().unwrap_or(0.0)
    }

    pub fn look(&mut self) {
        let (since, before) = &self.last;
        let (span, counts) = (since.elapsed(), self.tally.read());
        if span < SPAN {
            return;
        }
        let rate = |(name, count): (&&'static str, &u64)| {
            let more = count - before.get(name).copied().unwrap_or(0);
            (*name, more as f64 / span.as_secs_f64())
        };
        self.now = counts.iter().map(rate).collect();
        let orders = self.of(OrderCreated::NAME);
        self.is_busy = orders >= if self.is_busy { BUSY / 2.0 } else { BUSY };
        self.last = (Instant::now(), counts);
    }
}

/// Empty where almost nothing happens.
pub fn told(rate: f64) -> String {
    match rate {
        ..0.5 => String::new(),
        ..99.5 => format!("{rate:.0}/s"),
        _ => format!("{}/s", ((rate / 10.0).round() * 10.0) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_orders_a_second_are_too_many_to_list_until_they_are_few() {
        let tally = Tally::default();
        let mut rates = Rates::new(tally.clone());
        let mut second = async |orders: usize| {
            tally.add(std::iter::repeat_n(OrderCreated::NAME, orders));
            tokio::time::advance(SPAN).await;
            rates.look();
            (told(rates.of(OrderCreated::NAME)), rates.is_busy)
        };
        assert_eq!(second(1).await, ("1/s".into(), false));
        assert_eq!(second(1003).await, ("1000/s".into(), true));
        assert_eq!(second(20).await, ("20/s".into(), true));
        assert_eq!(second(0).await, (String::new(), false));
        assert_eq!(second(20).await, ("20/s".into(), false));
    }
}
