//! Measures systems that differ in one thing, by turns in one run, so that other work on the
//! machine affects all of them alike: the result is how they compare.

mod setup;
mod summary;
mod system;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use audit::{Outcome, Told};
use kit::verify::verify;

use crate::load::{self, Load, Report};
use setup::{Setup, Trial, title};

pub use setup::named;
pub use summary::{Row, Summary, median};
pub use system::Measured;

/// One-time work of a fresh system is done by then.
const WARM_UP: Duration = Duration::from_secs(2);
/// In an open loop: more would only show that the system cannot keep up.
const IN_FLIGHT_MAX: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);
const VERIFIED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Bench {
    pub setups: Vec<&'static Setup>,
    pub rounds: usize,
    /// In each trial of a closed loop, at most.
    pub orders: usize,
    /// For how long orders are placed in each trial, at most.
    pub length: Duration,
    pub in_flight: usize,
}

/// The progress of the run.
#[derive(Clone, Copy)]
pub enum News<'a> {
    Begins { round: usize, what: &'a str },
    Measured { round: usize, what: &'a str, report: &'a Report },
}

impl Bench {
    /// Each system has a directory of its own in `folder`, which is deleted with it.
    pub async fn run(&self, folder: &Path, mut news: impl FnMut(News)) -> Result<Summary> {
        let mut summary = Summary::new(self);
        for round in 1..=self.rounds {
            // The order rotates, so that no setup always runs first.
            for place in 0..self.setups.len() {
                let setup = self.setups[(place + round - 1) % self.setups.len()];
                news(News::Begins { round, what: setup.name });
                let dir = folder.join(format!("run-{}-{round}-{place}", std::process::id()));
                let measured = Measured::start(&dir, setup).await?;
                let outcome = self.measure(setup, &measured, round, &mut summary, &mut news).await;
                measured.system.end().await;
                outcome?;
            }
        }
        summary.finish();
        Ok(summary)
    }

    async fn measure(
        &self,
        setup: &Setup,
        measured: &Measured,
        round: usize,
        summary: &mut Summary,
        news: &mut impl FnMut(News),
    ) -> Result<()> {
        let mut told = Told::default();
        for trial in setup.trials {
            let what = title(setup, trial);
            news(News::Begins { round, what: &what });
            let load = self.load(trial, measured);
            load.goods.shelve(&measured.system.endpoints.databases["inventory"]).await?;
            let report = load::run(&measured.apis, &load, |_, _| {}).await;
            news(News::Measured { round, what: &what, report: &report });
            told.placed.get_or_insert_default().extend(report.told.placed.iter().flatten());
            summary.add(&what, &report);
        }
        let verdict = verify(&measured.system.endpoints, VERIFIED_WITHIN, &told, |_| {}).await?;
        if verdict.outcome != Outcome::Clean {
            let broken = verdict.violations.iter().map(ToString::to_string).chain(verdict.restless);
            summary.is_broken(broken.map(|what| format!("{}: {what}", setup.name)));
        }
        Ok(())
    }

    fn load(&self, trial: &Trial, measured: &Measured) -> Load {
        Load {
            orders: if trial.rate.is_some() { usize::MAX } else { self.orders },
            length: Some(self.length),
            warm_up: WARM_UP,
            in_flight: if trial.rate.is_some() { IN_FLIGHT_MAX } else { self.in_flight },
            rate: trial.rate,
            goods: trial.sells.goods(self.orders),
            patience: PATIENCE,
            meter: measured.meter.clone(),
            ..Load::default()
        }
    }
}
