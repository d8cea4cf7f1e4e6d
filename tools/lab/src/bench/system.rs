//! Starts the system of a setup, and measures it.

use std::path::Path;

use anyhow::Result;
use kit::api::Api;
use kit::keys;
use kit::settings::Settings;
use kit::system::{Servers, System};
use servers::ports;

use super::setup::Setup;
use crate::usage::{Group, MeasuredProcess, Meter};

pub struct Measured {
    pub system: System,
    /// One per copy of the order service.
    pub apis: Vec<Api>,
    pub meter: Meter,
}

impl Measured {
    /// Returns when everything is ready.
    pub async fn start(dir: &Path, setup: &Setup) -> Result<Self> {
        let servers = Servers::start(dir, setup.settings).await?;
        let mut copies = Vec::new();
        for copy in 1..=setup.replicas {
            let mut seen = servers.settings.clone();
            seen.home = seen.home.join(copy.to_string());
            seen.order_http_port = ports::free()?;
            copies.push(seen);
        }
        let system = System::start(servers, &copies).await?;
        let key = keys::of(&system.servers.settings)?;
        let api = |seen: &Settings| Api::at(&seen.order_url()).with_key(key.as_ref());
        let apis = copies.iter().map(api).collect();
        Ok(Self { apis, meter: meter(&system)?, system })
    }
}

fn meter(System { replicas, servers, .. }: &System) -> Result<Meter> {
    let mut measured = Vec::new();
    for part in replicas {
        let (name, process) = (part.service.name.to_owned(), part.running()?);
        measured.push(MeasuredProcess { name, group: Group::Services, process });
    }
    measured.extend(MeasuredProcess::of(servers));
    Ok(Meter::of(measured))
}
