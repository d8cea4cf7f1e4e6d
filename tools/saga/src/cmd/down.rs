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
    Kept,
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
        stop(&settings, &home, Data::Kept).await?;
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
    home.check_original()?;
    let mut services = Service::all(settings)?;
    // It may have been started when GATEWAY was set otherwise.
    services.push(Service::mock_gateway(settings)?);
    let stopped = join_all(services.iter().map(|service| async {
        let ran = service.stop().await?;
        if ran {
            say!("  stopped  {}", service.name);
        }
        anyhow::Ok(ran)
    }));
    let stopped = stopped.await.into_iter().collect::<Result<Vec<_>>>()?.contains(&true);

    let mut servers = home.servers()?;
    let any = servers.any();
    stop_servers(&mut servers, data).await?;
    RabbitMq::end_left_epmd(&home.rabbitmq_dir()).await?;
    if !stopped && !any {
        say!("nothing runs");
    }
    Ok(())
}

/// All of a kind together: a RabbitMQ node that is left alone waits for the others.
async fn stop_servers(servers: &mut Servers, data: Data) -> Result<()> {
    let databases = join_all(servers.postgres.iter_mut().map(async |server| {
        let Some(postgres) = &mut server.running else { return Ok(()) };
        match data {
            Data::Kept => postgres.stop().await?,
            Data::Deleted => postgres.kill().await?,
        }
        said(&server.name)
    }));
    let brokers = join_all(servers.rabbitmq.iter_mut().map(async |server| {
        let Some(rabbitmq) = &mut server.running else { return Ok(()) };
        match data {
            Data::Kept => rabbitmq.stop().await?,
            Data::Deleted => rabbitmq.kill().await?,
        }
        said(&server.name)
    }));
    let proxy = join_all(servers.proxy.iter_mut().map(async |server| {
        let Some(proxy) = &mut server.running else { return Ok(()) };
        proxy.stop().await?;
        said(&server.name)
    }));
    let (databases, brokers, proxy) = tokio::join!(databases, brokers, proxy);
    databases.into_iter().chain(brokers).chain(proxy).collect()
}

fn said(name: &str) -> Result<()> {
    say!("  stopped  {name}");
    Ok(())
}
