//! A whole system of its own: the servers, two copies of each service, and proxies on all links
//! between them.

use std::path::Path;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kit::api::Api;
use kit::child_process::ChildProcess;
use kit::keys;
use kit::settings::Settings;
use kit::system::{Servers, System};
use nix::sys::signal::Signal;
use servers::{Postgres, ports};

use super::fault::{REPLICAS, Target};
use super::proxy::{Proxy, Weather};

/// Short, so that expired claims are taken over while the run still watches.
const REAP_AFTER: &str = "10s";
/// So small that the second copy gets messages as well.
const BATCH_MAX: &str = "8";

/// RabbitMQ's share of the machine's memory while no fault limits it.
pub const MEMORY_SHARE: f64 = 0.4;

pub struct Fleet {
    pub system: System,
    links: Links,
}

/// In a cluster only the customers' one: the services know all addresses of the servers.
struct Links {
    customers: Proxy,
    broker: Option<Proxy>,
    postgres: Vec<Proxy>,
}

impl Fleet {
    /// Returns when everything is ready. `rabbitmq` holds another RabbitMQ than the machine's.
    pub async fn start(dir: &Path, is_cluster: bool, rabbitmq: Option<&Path>) -> Result<Self> {
        let size = if is_cluster { "3" } else { "1" };
        let rabbitmq = rabbitmq.map(|root| root.display().to_string());
        let told = [
            ("RABBITMQ_ROOT", rabbitmq.as_deref().unwrap_or_default()),
            ("GATEWAY", "http"),
            ("PAYMENT_REAP_AFTER", REAP_AFTER),
            ("BATCH_MAX", BATCH_MAX),
            ("CLUSTER", size),
        ];
        let servers = Servers::start(dir, &told).await?;
        let settings = &servers.settings;
        if is_cluster {
            let customers = Proxy::start(vec![settings.order_http_port]).await?;
            let links = Links { customers, broker: None, postgres: Vec::new() };
            let (seen, urls) = (settings.clone(), settings.amqp_urls().join(","));
            let mut system = System::start(servers, &[seen]).await?;
            system.endpoints.amqp_url = urls;
            return Ok(Self { system, links });
        }
        let fronts = (0..REPLICAS).map(|_| ports::free()).collect::<Result<Vec<_>>>()?;
        let links = Links::start(settings, &fronts).await?;
        let copies = (1..).zip(&fronts);
        let copies = copies.map(|(copy, front)| links.seen_from(settings, copy, *front));
        let copies: Vec<_> = copies.collect();
        Ok(Self { system: System::start(servers, &copies).await?, links })
    }

    pub fn provider(&mut self) -> Result<&mut ChildProcess> {
        self.system.provider.as_mut().context("there is a provider")
    }

    /// By which customers place their orders.
    pub fn api(&self) -> Result<Api> {
        let key = keys::of(&self.system.servers.settings)?;
        let url = format!("http://127.0.0.1:{}", self.links.customers.port);
        Ok(Api::at(&url).with_key(key.as_ref()))
    }

    pub fn link(&self, target: Target) -> Result<&Proxy> {
        let link = match target {
            Target::Broker => self.links.broker.as_ref(),
            Target::Customers => Some(&self.links.customers),
            Target::Postgres(place) => self.links.postgres.get(place),
            Target::Node(_) | Target::Replica(_) | Target::Service(_) | Target::Provider => None,
        };
        link.with_context(|| format!("there is no proxy before {target}"))
    }

    /// Restores all links, and wakes and starts everything.
    pub async fn heal(&mut self) -> Result<()> {
        let Links { customers, broker, postgres } = &self.links;
        for link in postgres.iter().chain(broker).chain([customers]) {
            link.set(Weather::Clear);
        }
        let Servers { brokers, postgres, standbys, .. } = &mut self.system.servers;
        for node in &mut brokers.nodes {
            node.process().signal(Signal::SIGCONT);
            if !node.is_running() {
                node.restart().await?;
            }
        }
        let only = &brokers.nodes[0];
        if only.has_alarm().await? {
            only.limit_memory(MEMORY_SHARE).await?;
        }
        let servers = postgres.iter_mut().chain(standbys);
        let stopped = servers.filter(|postgres| !postgres.is_running());
        try_join_all(stopped.map(Postgres::restart)).await?;
        for part in self.system.parts_mut() {
            if part.running().is_ok() {
                part.signal(Signal::SIGCONT)?;
            } else {
                part.start()?;
            }
        }
        self.system.ready().await
    }
}

impl Links {
    async fn start(settings: &Settings, fronts: &[u16]) -> Result<Self> {
        let postgres = settings.databases.iter().map(|one| Proxy::start(vec![one.port]));
        Ok(Self {
            customers: Proxy::start(fronts.to_vec()).await?,
            broker: Some(Proxy::start(vec![settings.rabbitmq_port]).await?),
            postgres: try_join_all(postgres).await?,
        })
    }

    /// The settings of one copy of the services.
    fn seen_from(&self, settings: &Settings, copy: usize, front: u16) -> Settings {
        let mut seen = settings.clone();
        seen.home = settings.home.join(copy.to_string());
        seen.order_http_port = front;
        seen.rabbitmq_port = self.broker.as_ref().map_or(seen.rabbitmq_port, |link| link.port);
        for (database, link) in seen.databases.iter_mut().zip(&self.postgres) {
            database.port = link.port;
        }
        seen
    }
}
