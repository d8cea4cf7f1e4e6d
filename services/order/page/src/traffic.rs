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
        let (mut own, mut number) = (0, 0);
        let (mut others, mut give_way_until) = (0, Instant::now());
        loop {
            tokio::select! {
                () = app.context.stop.cancelled() => return,
                () = sleep(self.every) => {}
            }
            let placed = app.feeds.tally.read().get(OrderCreated::NAME).copied().unwrap_or(0);
            if placed - own > others {
                (others, give_way_until) = (placed - own, Instant::now() + GIVE_WAY_FOR);
            }
            let gives_way = match self.flow.load(Ordering::Relaxed) {
                0 => true,
                1 => Instant::now() < give_way_until,
                _ => false,
            };
            if gives_way || !feed.is_watched() || !has_room(&app).await {
                continue;
            }
            // A refusal is shown by the page's own trouble.
            if place(&app, MIX[number % MIX.len()]).await.is_ok() {
                own += 1;
            }
            number += 1;
        }
    }
}

async fn place(app: &App, name: &str) -> Result<(), Problem> {
    scenarios::place_one(app, name, None).await.map(drop)
}

async fn has_room(app: &App) -> bool {
    let counts = app.backend.count().await.unwrap_or_default();
    counts.iter().any(|(outcome, orders)| outcome.is_none() && *orders < OPEN_MAX)
}
