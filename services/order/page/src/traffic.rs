//! Places orders of all kinds, so that something moves on an open page of a demonstration. It is
//! gentle: only while a page is open, and not while others place orders or too many are open.

use crate::{PageFeed, scenarios};
use events::{Event, OrderCreated};
use order::http::App;
use serde::Deserialize;
use service::http::Problem;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Others' orders stop it for so long.
const GIVE_WAY_FOR: Duration = Duration::from_secs(5);
/// With so many open orders it waits: a service may be down.
const OPEN_MAX: i64 = 25;

/// Mostly well, and of each kind now and then.
const MIX: [&str; 12] = [
    "happy", "happy", "declined", "happy", "flaky", "happy", "sold-out", "happy", "happy",
    "carrier", "happy", "cancel",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    Off = 0,
    /// Gives way to others' orders.
    Gentle = 1,
    /// By the page's button.
    On = 2,
}

#[derive(Clone)]
pub struct Traffic {
    flow: Arc<AtomicU8>,
    every: Duration,
}

impl Traffic {
    /// So many orders a second by itself; zero: none, until the page's button.
    pub fn new(per_second: u8) -> Self {
        let flow = if per_second == 0 { Flow::Off } else { Flow::Gentle };
        let every = Duration::from_secs(1) / u32::from(per_second.max(1));
        Self { flow: Arc::new(AtomicU8::new(flow as u8)), every }
    }

    pub fn is_flowing(&self) -> bool {
        self.flow.load(Ordering::Relaxed) != Flow::Off as u8
    }

    pub fn set(&self, flow: Flow) {
        self.flow.store(flow as u8, Ordering::Relaxed);
    }

    pub async fn run(self, app: App, feed: PageFeed) {
        let (mut gate, mut number) = (Gate::new(), 0);
        loop {
            tokio::select! {
                () = app.context.stop.cancelled() => return,
                () = sleep(self.every) => {}
            }
            let placed = app.feeds.tally.read().get(OrderCreated::NAME).copied().unwrap_or(0);
            let flow = self.flow.load(Ordering::Relaxed);
            if !gate.is_open(placed, flow == Flow::Gentle as u8)
                || flow == Flow::Off as u8
                || !feed.is_watched()
                || !has_room(&app).await
            {
                continue;
            }
            // The page itself shows that the database is away.
            if place(&app, MIX[number % MIX.len()]).await.is_ok() {
                gate.own += 1;
            }
            number += 1;
        }
    }
}

/// Closed for a while after others have placed orders.
struct Gate {
    own: u64,
    others: u64,
    closed_until: Instant,
}

impl Gate {
    fn new() -> Self {
        Self { own: 0, others: 0, closed_until: Instant::now() }
    }

    /// `placed` are all orders, its own too.
    fn is_open(&mut self, placed: u64, gives_way: bool) -> bool {
        let others = placed.saturating_sub(self.own);
        if others > self.others {
            (self.others, self.closed_until) = (others, Instant::now() + GIVE_WAY_FOR);
        }
        !gives_way || Instant::now() >= self.closed_until
    }
}

async fn place(app: &App, name: &str) -> Result<(), Problem> {
    scenarios::place_one(app, name, None).await.map(drop)
}

async fn has_room(app: &App) -> bool {
    let counts = app.backend.count().await.unwrap_or_default();
    counts.iter().any(|(outcome, orders)| outcome.is_none() && *orders < OPEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn it_gives_way_to_others_orders_unless_a_person_has_asked_for_it() {
        let mut gate = Gate::new();
        assert!(gate.is_open(0, true));
        gate.own += 1;
        assert!(gate.is_open(1, true), "its own order");
        assert!(!gate.is_open(2, true) && gate.is_open(2, false));
        advance(GIVE_WAY_FOR / 2).await;
        assert!(!gate.is_open(3, true), "one more");
        advance(GIVE_WAY_FOR / 2).await;
        assert!(!gate.is_open(3, true));
        advance(GIVE_WAY_FOR / 2).await;
        assert!(gate.is_open(3, true));
    }
}
