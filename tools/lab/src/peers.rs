//! Measures Quadrille beside its peers, which are other programs that run the same saga: by turns
//! in one run, under one load, and each order is final where order's database says so.

mod figures;
mod shop;
mod system;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use shop::Load;
use system::Started;

pub use figures::{Round, Summary};
pub use shop::IN_FLIGHT;
pub use system::Peer;

/// Orders a second in the open loop.
pub const RATE: u32 = 50;
/// Placed first, and not counted: one-time work is done then, and connections are open.
const WARM_UP: usize = 500;

pub struct Comparison {
    pub peers: Vec<Peer>,
    pub rounds: usize,
    /// In the closed loop of each round.
    pub orders: usize,
    /// Of the open loop of each round.
    pub length: Duration,
    /// Holds what `make peers` has built, and Restate's server.
    pub built: PathBuf,
}

/// The progress of the run.
#[derive(Clone, Copy)]
pub enum News<'a> {
    Begins { round: usize, peer: Peer },
    Measured { round: usize, peer: Peer, figures: &'a Round },
}

impl Comparison {
    /// Each system has a directory of its own in `folder`, which is deleted with it.
    pub async fn run(&self, folder: &Path, mut news: impl FnMut(News)) -> Result<Summary> {
        self.peers.iter().try_for_each(|peer| peer.prepare(&self.built))?;
        let mut summary = Summary::new(self);
        for round in 1..=self.rounds {
            // The order rotates, so that no peer always runs first.
            for place in 0..self.peers.len() {
                let peer = self.peers[(place + round - 1) % self.peers.len()];
                news(News::Begins { round, peer });
                let dir = folder.join(format!("run-{}-{round}-{place}", std::process::id()));
                let figures = self.measure(peer, &dir).await;
                let figures = figures.with_context(|| format!("{} fails", peer.title()))?;
                news(News::Measured { round, peer, figures: &figures });
                summary.add(peer, figures);
            }
        }
        summary.finish();
        Ok(summary)
    }

    async fn measure(&self, peer: Peer, dir: &Path) -> Result<Round> {
        let mut system = Started::start(peer, dir, &self.built).await?;
        system.shop.open().await?;
        system.shop.sell(Load::closed(WARM_UP)).await?;
        let before = system.meter.read();
        let closed = system.shop.sell(Load::closed(self.orders)).await?;
        let usage = system.meter.since(&before, self.orders);
        let open = system.shop.sell(Load::open(RATE, self.length)).await?;
        system.verify().await?;
        system.end().await;
        Ok(Round {
            orders_per_s: self.orders as f64 / closed.took.as_secs_f64(),
            cpu_s_per_1000_orders: usage.total.cpu_s_per_1000_orders,
            pss_mb: usage.total.pss_mb,
            groups: usage.groups,
            final_ms: open.latency.spread(),
        })
    }
}
