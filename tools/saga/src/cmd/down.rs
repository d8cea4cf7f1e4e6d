//! `saga stop` and `saga down`: stop everything, by the pids that `up` has recorded.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use futures::future::join_all;
use kit::home::{Home, Servers};
use kit::say;
use kit::service::Service;
use kit::settings::Settings;
use servers::RabbitMq;

/// Stop everything and keep the data
#[derive(Args)]
#[command(after_help = "Example:
  saga stop && saga up       another start on the same data")]
pub struct Stop {}

/// Stop everything and delete the data
#[derive(Args)]
#[command(after_help = "Example:
  saga down && saga up       a start from nothing")]
pub struct Down {}

/// Whether the data is kept; if so, a server must first write it to disk.
#[derive(Clone, Copy)]
enum Data {
    Retention,
    Deleted,
}

impl Stop {
    pub async fn run(self) -> Result<ExitCode> {
        let settings = Settings::read()?;
        let home = Home::new(&settings);
        if !home.is_there() {
            say!("nothing runs: `saga up` has made nothing in {}", settings.home.display());
            return Ok(ExitCode::SUCCESS);
        }
        let _lock = home.lock()?;
        stop(&settings, &home, Data::Retention).await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Down {
    pub async fn run(self) -> Result<ExitCode> {
        let settings = Settings::read()?;
        let home = Home::new(&settings);
        if !home.is_there() {
            say!("nothing to delete: `saga up` has made nothing in {}", settings.home.display());
            return Ok(ExitCode::SUCCESS);
        }
        let _lock = home.lock()?;
        stop(&settings, &home, Data::Deleted).await?;
        home.delete().await?;
        say!("deleted {}", settings.home.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// The services first, so that they can finish their work.
async fn stop(settings: &Settings, home: &Home<'_>, data: Data) -> Result<()> {
    let mut services = Service::all(settings)?;
    // It may have been started when GATEWAY was set otherwise.
    services.push(Service::mock_gateway(settings)?);
    let stopped = join_all(services.iter().map(|service| async {
        let ran = service.stop().await;
        if ran {
            say!("  stopped  {}", service.name);
        }
        ran
    }));
    let stopped = stopped.await.contains(&true);

    let mut servers = home.servers()?;
    let any = servers.any();
    stop_servers(settings, &mut servers, data).await?;
    RabbitMq::end_left_epmd(&home.rabbitmq_dir()).await?;
    if !stopped && !any {
        say!("nothing runs");
    }
    Ok(())
}

async fn stop_servers(settings: &Settings, servers: &mut Servers, data: Data) -> Result<()> {
    let postgres = settings.databases.iter().zip(&mut servers.postgres);
    let postgres = postgres.filter_map(|(database, postgres)| Some((database, postgres.as_mut()?)));
    let databases = join_all(postgres.map(|(database, postgres)| async {
        match data {
            Data::Retention => postgres.stop().await?,
            Data::Deleted => postgres.kill().await?,
        }
        say!("  stopped  postgres {}", database.service);
        anyhow::Ok(())
    }));
    let broker = async {
        if let Some(rabbitmq) = &mut servers.rabbitmq {
            match data {
                Data::Retention => rabbitmq.stop().await?,
                Data::Deleted => rabbitmq.kill().await?,
            }
            say!("  stopped  rabbitmq");
        }
        anyhow::Ok(())
    };
    let (databases, broker) = tokio::join!(databases, broker);
    databases.into_iter().chain([broker]).collect()
}
