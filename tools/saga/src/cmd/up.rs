//! `saga up`: starts everything on this machine, in the background, and returns when it is ready.

mod launch;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use kit::disk::ensure_room;
use kit::home::{Home, Servers};
use kit::keys;
use kit::output;
use kit::service::Service;
use kit::settings::Settings;
use kit::stop::Stop;
use serde_json::json;
use servers::{install, ports};

use self::launch::Launch;
use crate::urls::Urls;
use crate::welcome;

/// Four databases and a broker at rest are about 300 MB, and RabbitMQ takes no message when less
/// than 200 MB are free.
pub const ROOM_MB: u64 = 1000;

/// Start RabbitMQ, four Postgres and the four services in the background
///
/// Installs RabbitMQ and Postgres where they are missing (on Debian and its like), and returns when
/// all is ready. What runs already is left alone, unless its binary has been built anew.
#[derive(Args)]
#[command(after_help = "Examples:
  saga up                        then `saga demo`, and open the page that it names
  saga up --cluster              three RabbitMQ nodes, two Postgres and two copies a service
  GATEWAY=http saga up           with a payment provider beside it that can be taken down")]
pub struct Up {
    /// Run RabbitMQ as three nodes, each Postgres with a standby, two copies of each service, and
    /// HAProxy before order's; like CLUSTER=3
    #[arg(long)]
    cluster: bool,
    /// How long a service may take to become ready
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Up {
    pub async fn run(self) -> Result<ExitCode> {
        let settings = Settings::read()?;
        let settings = if self.cluster { settings.clustered()? } else { settings };
        let services = Service::wanted(&settings)?;
        for service in &services {
            service.check_binary()?;
        }
        let home = Home::new(&settings);
        home.check_kind()?;
        check_ports(&home.servers()?, &services)?;
        let room_mb = if settings.is_cluster { 2 * ROOM_MB } else { ROOM_MB };
        ensure_room(&settings.home, room_mb, "free some, or name another disk by SAGA_HOME")?;
        install::ensure().await?;
        if settings.is_cluster {
            install::ensure_haproxy().await?;
        }
        home.make()?;
        let _lock = home.lock()?;
        let services_run = services.iter().any(|service| service.running().is_some());
        home.note_ports(services_run)?;
        if !services_run && !home.servers()?.any() {
            settings.certify()?;
        }

        let mut stop = Stop::listen()?;
        let launch =
            Launch::new(&settings, &home, &services, Duration::from_secs(self.wait), !self.json);
        let outcome = tokio::select! {
            outcome = async {
                launch.run().await?;
                keys::ensure_operator(&settings).await
            } => outcome.map(|()| None),
            code = stop.asked() => Ok(Some(code)),
        };
        match outcome {
            Ok(None) => {
                let took = launch.started_something().then(|| launch.elapsed());
                let urls = Urls::of(&settings);
                if self.json {
                    let took_s = took.map(|took| took.as_secs_f64());
                    output::json(&json!({ "started_in_s": took_s, "urls": urls }));
                } else {
                    welcome::print(&settings, &urls, took);
                }
                Ok(ExitCode::SUCCESS)
            }
            Ok(Some(code)) => {
                launch.undo().await;
                Ok(ExitCode::from(code))
            }
            Err(error) => {
                eprintln!("\nsaga: {error:#}\n");
                launch.undo().await;
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// Reports the owner of every taken port, before anything is started.
fn check_ports(servers: &Servers, services: &[Service]) -> Result<()> {
    let complaints = taken_ports(servers, services);
    ensure!(complaints.is_empty(), "{}", complaints.join("\n      "));
    Ok(())
}

/// For each required port that another program listens on: the program, and how to resolve it.
pub fn taken_ports(servers: &Servers, services: &[Service]) -> Vec<String> {
    let stopped = services.iter().filter(|service| service.running().is_none());
    let wanted = stopped.filter_map(|service| Some((service.port?, service.variable)));
    let taken = wanted.chain(servers.ports_of_stopped()).filter(|(port, _)| !ports::is_free(*port));
    taken.map(|(port, variable)| ports::complaint(port, variable)).collect()
}
