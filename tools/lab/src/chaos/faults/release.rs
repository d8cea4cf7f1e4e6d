//! Replaces one copy of a service after the other by that of the previous release, or by this
//! one's again, as a roll-out and a rollback do.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::settings::SERVICES;
use tokio::time::sleep;

use super::Hands;
use crate::chaos::fault::REPLICAS;
use crate::chaos::watch::{Measure, Since};

/// Both releases serve side by side for so long.
const SIDE_BY_SIDE: Duration = Duration::from_secs(2);

impl Hands<'_> {
    pub(super) async fn change_release(&mut self, place: usize, previous: &Path) -> Result<String> {
        let service = SERVICES[place];
        let mut now = "";
        for copy in [place, place + SERVICES.len()] {
            let replica = &mut self.fleet.system.replicas[copy];
            replica.stop().await?;
            let is_back = replica.service.is_of(previous);
            replica.service.take_from((!is_back).then_some(previous))?;
            now = if is_back { "this release" } else { "the previous release" };
            let endpoints = &self.fleet.system.endpoints;
            Since::now().consumers(endpoints, service, REPLICAS - 1).await?;
            let since = Since::now();
            self.fleet.system.replicas[copy].start().context("cannot start the other release")?;
            let took = since.consuming(&self.fleet.system.endpoints, service).await?;
            self.recovered(Measure::Consuming, took);
            sleep(SIDE_BY_SIDE).await;
        }
        Ok(format!("{now} in place of the other, one copy after the other"))
    }
}
