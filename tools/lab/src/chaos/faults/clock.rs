//! Runs a replica whose clock is minutes or hours ahead or behind, while the clocks of its database
//! and of all others are right: nothing may be lost or cancelled by it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::settings::SERVICES;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use servers::until;
use tokio::time::sleep;

use super::{Hands, ms};
use crate::chaos::fault::REPLICAS;
use crate::chaos::plan::Step;
use crate::chaos::watch::{Measure, Since};

/// Where Debian's package `faketime` puts it.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];
const PRELOAD: &str = "LD_PRELOAD";
const UP_WITHIN: Duration = Duration::from_secs(20);
const DAY_S: i64 = 24 * 60 * 60;

/// The library that shifts a process' clock, if this machine has it.
pub fn library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|path| Path::new(path).is_file())
}

impl Hands<'_> {
    pub(super) async fn clock(&mut self, place: usize, step: &Step) -> Result<String> {
        let library = library().context("libfaketime is missing: apt-get install faketime")?;
        let shift_s = shift_s(step.seed);
        let service = SERVICES[place % SERVICES.len()];
        let part = &mut self.fleet.system.replicas[place];
        part.kill().await?;
        Since::now().consumers(&self.fleet.system.endpoints, service, REPLICAS - 1).await?;
        let part = &mut self.fleet.system.replicas[place];
        part.start_with(&[
            (PRELOAD, library),
            ("FAKETIME", &format!("{shift_s:+}s")),
            // Durations are measured by the monotonic clock, which is not shifted.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ])?;
        let note = part.service.health_file();
        // It does nothing before. A replica that refuses to start with such a clock does no harm
        // either.
        until(UP_WITHIN, || note.exists().then_some(())).await;
        sleep(step.lasts).await;
        // Whether it works or waits for a correct clock, the other copy continues.
        self.flows(Since::now(), &[place % SERVICES.len()], Measure::Flows).await?;
        let part = &mut self.fleet.system.replicas[place];
        part.kill().await.context("with its clock wrong")?;
        Since::now().consumers(&self.fleet.system.endpoints, service, REPLICAS - 1).await?;
        let since = Since::now();
        self.fleet.system.replicas[place].start()?;
        let took = since.consuming(&self.fleet.system.endpoints, service).await?;
        self.recovered(Measure::Consuming, took);
        let (ahead, hours) = (shift_s > 0, shift_s.abs() as f64 / 3600.0);
        let side = if ahead { "ahead" } else { "behind" };
        Ok(format!("its clock {hours:.1} h {side} for {}", ms(step.lasts)))
    }
}

/// From a minute to a day, ahead or behind; minutes as often as hours.
fn shift_s(seed: u64) -> i64 {
    let mut chance = StdRng::seed_from_u64(seed);
    let minutes = chance.random_bool(0.5);
    let far =
        if minutes { chance.random_range(60..3600) } else { chance.random_range(3600..=DAY_S) };
    if chance.random_bool(0.5) { far } else { -far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_shifted_by_a_minute_to_a_day_either_way() {
        let all: Vec<_> = (0..200).map(shift_s).collect();
        assert!(all.iter().all(|shift| (60..=DAY_S).contains(&shift.abs())));
        let is_met = |met: fn(&i64) -> bool| all.iter().any(met);
        assert!(is_met(|shift| *shift > 3600) && is_met(|shift| *shift < -3600));
        assert!(is_met(|shift| (60..3600).contains(shift)));
    }
}
