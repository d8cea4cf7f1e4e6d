//! A whole system of its own: the servers, two copies of each service, and proxies on all links
//! between them.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use audit::Endpoints;
use futures::future::{join_all, try_join_all};
use kit::part::Part;
use kit::private::Private;
use kit::service::Service;
use kit::settings::{SERVICES, Settings};
use nix::sys::signal::Signal;
use servers::{Postgres, ports};

use super::fault::{REPLICAS, Target};
use super::proxy::{Proxy, Weather};

/// What a crash leaves in hand is to be taken up while there is still somebody to look.
const REAP_AFTER: &str = "10s";
/// So small that the second copy has something to do as well.
const BATCH_MAX: &str = "8";

/// How much of the machine's memory RabbitMQ may use, as long as nothing is done to it.
pub const MEMORY_SHARE: f64 = 0.4;

pub struct Fleet {
    /// Straight to the servers, past the proxies.
    pub endpoints: Endpoints,
    pub servers: Private,
    /// Each service's first copy, in the order of `SERVICES`, then each one's second.
    pub replicas: Vec<Part>,
    pub provider: Part,
    links: Links,
}

struct Links {
    customers: Proxy,
    broker: Proxy,
    postgres: Vec<Proxy>,
}

impl Fleet {
    /// Returns when all of it does its work.
    pub async fn start(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir)?;
        let told =
            [("GATEWAY", "http"), ("PAYMENT_REAP_AFTER", REAP_AFTER), ("BATCH_MAX", BATCH_MAX)];
        let servers = Private::start(&dir, &told).await?;
        let Private { settings, watchdog, .. } = &servers;

        let fronts = (0..REPLICAS).map(|_| ports::free()).collect::<Result<Vec<_>>>()?;
        let links = Links::start(settings, &fronts).await?;
        let mut provider = Part::new(Service::mock_gateway(settings)?, watchdog);
        provider.start()?;
        let mut replicas = Vec::new();
        for (copy, front) in (1..).zip(&fronts) {
            let seen = links.seen_from(settings, &format!("{copy}"), *front);
            replicas.extend(Service::all(&seen)?.into_iter().map(|s| Part::new(s, watchdog)));
        }
        for part in &mut replicas {
            part.start()?;
        }
        let endpoints = Endpoints::from(settings);
        let fleet = Self { endpoints, servers, replicas, provider, links };
        fleet.ready().await?;
        Ok(fleet)
    }

    pub async fn ready(&self) -> Result<()> {
        let parts = self.replicas.iter().chain([&self.provider]);
        try_join_all(parts.map(Part::ready)).await.map(|_| ())
    }

    /// Where customers place their orders.
    pub fn front_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.links.customers.port)
    }

    pub fn link(&self, target: Target) -> Result<&Proxy> {
        match target {
            Target::Broker => Ok(&self.links.broker),
            Target::Customers => Ok(&self.links.customers),
            Target::Postgres(place) => Ok(&self.links.postgres[place]),
            Target::Replica(_) | Target::Service(_) | Target::Provider => {
                bail!("there is no proxy before {target}")
            }
        }
    }

    /// All links as they should be, and everything awake and running.
    pub async fn heal(&mut self) -> Result<()> {
        let Links { customers, broker, postgres } = &self.links;
        for link in postgres.iter().chain([customers, broker]) {
            link.set(Weather::Clear);
        }
        let Private { rabbitmq, postgres, .. } = &mut self.servers;
        rabbitmq.process().signal(Signal::SIGCONT);
        if !rabbitmq.is_running() {
            rabbitmq.restart().await?;
        }
        if rabbitmq.has_alarm().await? {
            rabbitmq.limit_memory(MEMORY_SHARE).await?;
        }
        let stopped = postgres.iter_mut().filter(|postgres| !postgres.is_running());
        try_join_all(stopped.map(Postgres::restart)).await?;
        for part in self.replicas.iter_mut().chain([&mut self.provider]) {
            if part.running().is_ok() {
                part.signal(Signal::SIGCONT)?;
            } else {
                part.start()?;
            }
        }
        self.ready().await
    }

    /// Every log that tells what happened, with a name for it.
    pub fn logs(&self) -> Vec<(String, PathBuf)> {
        let parts = self.replicas.iter().enumerate().map(|(place, part)| {
            let copy = place / SERVICES.len() + 1;
            (format!("{}-{copy}.log", part.service.name), part.service.log_file())
        });
        let postgres = SERVICES.iter().zip(&self.servers.postgres);
        let postgres = postgres.map(|(name, one)| (format!("postgres-{name}.log"), one.log_file()));
        let provider = ("provider.log".to_owned(), self.provider.service.log_file());
        let rabbitmq = ("rabbitmq.log".to_owned(), self.servers.rabbitmq.log_file());
        parts.chain(postgres).chain([provider, rabbitmq]).collect()
    }

    /// Ends everything, the services first; what they leave behind is deleted.
    pub async fn end(mut self) {
        let parts = self.replicas.iter_mut().chain([&mut self.provider]);
        join_all(parts.map(Part::kill)).await;
    }
}

impl Links {
    async fn start(settings: &Settings, fronts: &[u16]) -> Result<Self> {
        let postgres = settings.databases.iter().map(|one| Proxy::start(vec![one.port]));
        Ok(Self {
            customers: Proxy::start(fronts.to_vec()).await?,
            broker: Proxy::start(vec![settings.rabbitmq_port]).await?,
            postgres: try_join_all(postgres).await?,
        })
    }

    /// The system as the services of one copy are told of it.
    fn seen_from(&self, settings: &Settings, copy: &str, front: u16) -> Settings {
        let mut seen = settings.clone();
        seen.home = settings.home.join(copy);
        seen.order_http_port = front;
        seen.rabbitmq_port = self.broker.port;
        for (database, link) in seen.databases.iter_mut().zip(&self.postgres) {
            database.port = link.port;
        }
        seen
    }
}
