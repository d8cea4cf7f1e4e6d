//! Starts a whole system of its own, on free ports: servers, services, provider. All of it ends
//! with its owner, also when the owner is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use audit::Endpoints;
use futures::future::{join_all, try_join_all};
use servers::{
    HaProxy, HaProxyConfig, Lifetime, Postgres, PostgresConfig, RabbitCluster, RabbitConfig,
    RabbitMq, Watchdog, install,
};

use crate::child_process::ChildProcess;
use crate::home::Home;
use crate::keys;
use crate::service::Service;
use crate::settings::{Gateway, SERVICES, Settings};

/// The servers alone.
pub struct Servers {
    pub settings: Settings,
    /// One node, or three.
    pub brokers: RabbitCluster,
    /// The primaries, in the order of `SERVICES`.
    pub postgres: Vec<Postgres>,
    /// Their standbys, in a cluster.
    pub standbys: Vec<Postgres>,
    /// Before order's copies, in a cluster.
    pub proxy: Option<HaProxy>,
    /// Dropped last, it deletes the data once the servers are gone. All other processes are bound
    /// to it.
    pub watchdog: Arc<Watchdog>,
}

pub struct System {
    /// The servers' own addresses, without proxies.
    pub endpoints: Endpoints,
    /// Each service's first copy, in the order of `SERVICES`, then each one's second, and so on.
    pub replicas: Vec<ChildProcess>,
    /// The mock provider, where payment calls one by HTTP.
    pub provider: Option<ChildProcess>,
    pub servers: Servers,
}

impl Servers {
    /// Starts the servers in this directory, for services with these variables.
    pub async fn start(dir: &Path, told: &[(&str, &str)]) -> Result<Self> {
        let dir = &std::path::absolute(dir)?;
        let watchdog = Arc::new(Watchdog::start()?);
        watchdog.deletes(dir)?;
        let settings = Settings::private(dir, told)?;
        let home = Home::new(&settings);
        home.make()?;
        settings.certify()?;
        let bound = || Lifetime::Bound(Arc::clone(&watchdog));
        let pairs = settings.databases.iter().map(async |database| {
            let config = PostgresConfig { lifetime: bound(), ..home.postgres(database) };
            let primary = Postgres::start(config).await?;
            let Some(standby) = home.standby(database) else { return Ok((primary, None)) };
            let standby = PostgresConfig { lifetime: bound(), ..standby };
            let standby = primary.start_standby(standby).await?;
            anyhow::Ok((primary, Some(standby)))
        });
        let brokers = home.brokers().into_iter();
        let brokers = brokers.map(|node| RabbitConfig { lifetime: bound(), ..node }).collect();
        let (pairs, brokers) =
            tokio::try_join!(try_join_all(pairs), RabbitCluster::start(brokers))?;
        let (postgres, standbys): (_, Vec<_>) = pairs.into_iter().unzip();
        let standbys = standbys.into_iter().flatten().collect();
        let proxy = match home.proxy() {
            Some(proxy) => {
                install::ensure_haproxy().await?;
                Some(HaProxy::start(&HaProxyConfig { lifetime: bound(), ..proxy }).await?)
            }
            None => None,
        };
        Ok(Self { settings, brokers, postgres, standbys, proxy, watchdog })
    }

    /// The only node, or the first.
    pub fn rabbitmq(&self) -> &RabbitMq {
        &self.brokers.nodes[0]
    }

    pub fn rabbitmq_mut(&mut self) -> &mut RabbitMq {
        &mut self.brokers.nodes[0]
    }
}

impl System {
    /// Returns when everything is ready. The services run once for each of these settings, which
    /// hold the servers' addresses.
    pub async fn start(servers: Servers, copies: &[Settings]) -> Result<Self> {
        let Servers { settings, watchdog, .. } = &servers;
        let part = |service| ChildProcess::new(service, watchdog);
        let provider = match settings.gateway {
            Gateway::Http => Some(part(Service::mock_gateway(settings)?)),
            Gateway::Simulated => None,
        };
        let mut replicas = Vec::new();
        for seen in copies {
            // In a cluster the copies of a service stand together.
            let mut all: Vec<_> = (0..).zip(Service::all(seen)?).collect();
            if seen.is_cluster {
                all.sort_by_key(|(place, _)| place % 2);
            }
            replicas.extend(all.into_iter().map(|(_, service)| part(service)));
        }
        let endpoints = Endpoints::from(settings);
        let mut system = Self { endpoints, replicas, provider, servers };
        system.parts_mut().try_for_each(ChildProcess::start)?;
        system.ready().await?;
        keys::ensure_operator(&system.servers.settings).await?;
        Ok(system)
    }

    pub fn parts(&self) -> impl Iterator<Item = &ChildProcess> {
        self.replicas.iter().chain(&self.provider)
    }

    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut ChildProcess> {
        self.replicas.iter_mut().chain(&mut self.provider)
    }

    /// Returns when every part is ready.
    pub async fn ready(&self) -> Result<()> {
        try_join_all(self.parts().map(ChildProcess::ready)).await.map(drop)
    }

    /// Ends everything, the services first; their data is deleted.
    pub async fn end(mut self) {
        join_all(self.parts_mut().map(ChildProcess::kill)).await;
    }

    /// Copies every log into this folder, so that the cause of a failure can be found.
    pub fn keep_logs(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (name, log) in self.logs().into_iter().filter(|(_, log)| log.exists()) {
            fs::copy(&log, folder.join(&name))
                .with_context(|| format!("cannot keep the log {name}"))?;
        }
        Ok(())
    }

    /// Every log of the run, each with a name.
    fn logs(&self) -> Vec<(String, PathBuf)> {
        let Self { replicas, provider, servers, .. } = self;
        let parts = replicas.iter().enumerate().map(|(place, part)| {
            let copy = place / SERVICES.len() + 1;
            (format!("{}-{copy}.log", part.service.service), part.service.log_file())
        });
        let postgres = SERVICES.iter().zip(&servers.postgres);
        let postgres = postgres.map(|(name, one)| (format!("postgres-{name}.log"), one.log_file()));
        let provider =
            provider.iter().map(|part| ("provider.log".to_owned(), part.service.log_file()));
        let nodes = (1..).zip(&servers.brokers.nodes);
        let nodes = nodes.map(|(number, node)| (format!("rabbitmq-{number}.log"), node.log_file()));
        parts.chain(postgres).chain(provider).chain(nodes).collect()
    }
}
