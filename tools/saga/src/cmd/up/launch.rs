//! Starts what does not run yet, all at once, and can undo exactly that.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::{join_all, try_join_all};
use kit::home::Home;
use kit::service::Service;
use kit::settings::{Database, Settings};
use servers::{HaProxy, Postgres, PostgresConfig, RabbitCluster, RabbitMq, tail};
use tokio::sync::SetOnce;
use tokio::time::{Instant, sleep};

use crate::progress::Progress;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub struct Launch<'a> {
    settings: &'a Settings,
    home: &'a Home<'a>,
    services: &'a [Service],
    wait: Duration,
    progress: Progress,
    started: Mutex<Started<'a>>,
    /// Set once it is ready.
    broker: SetOnce<()>,
}

/// The parts that this run started, as opposed to those that ran before.
#[derive(Default)]
struct Started<'a> {
    postgres: Vec<Postgres>,
    rabbitmq: Option<RabbitCluster>,
    proxy: Option<HaProxy>,
    services: Vec<&'a Service>,
}

impl<'a> Launch<'a> {
    pub fn new(
        settings: &'a Settings,
        home: &'a Home<'a>,
        services: &'a [Service],
        wait: Duration,
        is_shown: bool,
    ) -> Self {
        let progress = Progress::start(is_shown);
        let (started, broker) = (Mutex::default(), SetOnce::new());
        Self { settings, home, services, wait, progress, started, broker }
    }

    /// Returns when all is ready, or the first part has failed.
    pub async fn run(&self) -> Result<()> {
        let databases = &self.settings.databases;
        let couples = databases.iter().map(|database| self.couple(database));
        let has_none = |service: &&Service| self.settings.database(service.service).is_none();
        let others = self.services.iter().filter(has_none);
        let others = try_join_all(others.map(|service| self.service(service)));
        let done = async {
            tokio::try_join!(self.rabbitmq(), try_join_all(couples), others)?;
            // A service that ran already may have lost its server, and has to reconnect.
            try_join_all(self.services.iter().map(|service| self.readiness(service))).await?;
            self.proxy().await?;
            self.spread_leaders().await
        };
        let done = done.await;
        self.progress.clear();
        done
    }

    pub fn elapsed(&self) -> Duration {
        self.progress.elapsed()
    }

    pub fn started_something(&self) -> bool {
        self.started(|all| {
            let servers = !all.postgres.is_empty() || all.rabbitmq.is_some() || all.proxy.is_some();
            servers || !all.services.is_empty()
        })
    }

    /// A service that starts when RabbitMQ is ready is ready sooner than one that has to retry.
    async fn couple(&self, database: &Database) -> Result<()> {
        self.postgres(database).await?;
        self.broker.wait().await;
        let services = self.services.iter().filter(|service| service.service == database.service);
        try_join_all(services.map(|service| self.service(service))).await.map(drop)
    }

    async fn postgres(&self, database: &Database) -> Result<()> {
        let config = self.home.postgres(database);
        let name = format!("postgres {}", database.service);
        if let Some(postgres) = Postgres::attach(config.clone())? {
            // The run that started it may have died before it was complete.
            postgres.ready().await?;
        } else {
            self.progress.begin(&name);
            let postgres = Postgres::start(config.clone()).await?;
            self.progress.done(&name, &format!("127.0.0.1:{}", config.port));
            self.started(|all| all.postgres.push(postgres));
        }
        match self.home.standby(database) {
            Some(standby) => self.standby(database, config, standby).await,
            None => Ok(()),
        }
    }

    async fn standby(
        &self,
        database: &Database,
        primary: PostgresConfig,
        config: PostgresConfig,
    ) -> Result<()> {
        let primary = Postgres::attach(primary)?;
        let service = database.service;
        let primary = primary.with_context(|| format!("{service}'s Postgres ended when ready"))?;
        let (port, is_new) = (config.port, Postgres::attach(config.clone())?.is_none());
        let name = format!("standby {service}");
        if is_new {
            self.progress.begin(&name);
        }
        let standby = primary.start_standby(config).await?;
        if is_new {
            self.progress.done(&name, &format!("127.0.0.1:{port}"));
            self.started(|all| all.postgres.push(standby));
        }
        Ok(())
    }

    /// The run that started the nodes may have died before they were complete, so that a start
    /// finishes what is found running, too.
    async fn rabbitmq(&self) -> Result<()> {
        let configs = self.home.brokers();
        let servers = self.home.servers()?.rabbitmq;
        let ran = servers.iter().all(|server| server.running.is_some());
        let running = servers.iter().filter_map(|server| server.running.as_ref());
        let is_quiet = ran && !join_all(running.map(RabbitMq::is_ready)).await.contains(&false);
        if !is_quiet {
            self.progress.begin("rabbitmq");
        }
        let ports: Vec<_> = configs.iter().map(|config| config.port.to_string()).collect();
        let rabbitmq = RabbitCluster::start(configs).await?;
        if !is_quiet {
            let place = format!("127.0.0.1:{}", ports.join(", "));
            self.progress.done("rabbitmq", if ran { "ran already" } else { &place });
        }
        if !ran {
            self.started(|all| all.rabbitmq = Some(rabbitmq));
        }
        self.broker.set(()).ok();
        Ok(())
    }

    /// It takes the copies as ready until it has asked them, so it comes last.
    async fn proxy(&self) -> Result<()> {
        let Some(config) = self.home.proxy() else { return Ok(()) };
        if HaProxy::attach(&config)?.is_none() {
            self.progress.begin("haproxy");
            let proxy = HaProxy::start(&config).await?;
            self.progress.done("haproxy", &format!("127.0.0.1:{}", config.port));
            self.started(|all| all.proxy = Some(proxy));
        }
        Ok(())
    }

    /// By now the queues have members that can lead.
    async fn spread_leaders(&self) -> Result<()> {
        let is_new = self.started(|all| all.rabbitmq.is_some()) && self.settings.is_cluster;
        let first = self.home.brokers().swap_remove(0);
        match RabbitMq::attach(first)?.filter(|_| is_new) {
            Some(node) => node.spread_leaders().await,
            None => Ok(()),
        }
    }

    async fn service(&self, service: &'a Service) -> Result<()> {
        if service.is_outdated() {
            service.stop().await?;
        }
        if service.running().is_none() {
            self.started(|all| all.services.push(service));
            service.start()?;
        }
        self.readiness(service).await
    }

    async fn readiness(&self, service: &Service) -> Result<()> {
        if service.is_ready().await {
            return Ok(());
        }
        self.progress.begin(service.name);
        let deadline = Instant::now() + self.wait;
        while !service.is_ready().await {
            let log = service.log_file();
            let said = || format!("its log, {}, ends:\n{}", log.display(), tail(&log, 15));
            let Some(process) = service.running() else {
                bail!("the {} service ended while it started; {}", service.name, said());
            };
            if let Some(frozen) = process.frozen() {
                bail!("the {} service is {frozen}", service.name);
            }
            if Instant::now() >= deadline {
                let (name, wait) = (service.name, self.wait);
                bail!("the {name} service is not ready after {wait:?}; {}", said());
            }
            sleep(POLL_INTERVAL).await;
        }
        let pid = service.running().map_or(0, |process| process.pid);
        let detail = match service.port {
            Some(port) => format!("127.0.0.1:{port}"),
            None => format!("pid {pid}"),
        };
        self.progress.done(service.name, &detail);
        Ok(())
    }

    /// Stops the parts that this run has started. A server that was still starting has ended
    /// already.
    pub async fn undo(&self) {
        self.progress.clear();
        if self.started_something() {
            eprintln!("stopping what was started …");
        }
        let Started { mut postgres, rabbitmq, proxy, services } = self.started(std::mem::take);
        let ended = join_all(services.iter().map(|service| service.stop())).await;
        let databases = join_all(postgres.iter_mut().map(Postgres::stop));
        let broker = async {
            match rabbitmq {
                Some(mut rabbitmq) => rabbitmq.stop().await,
                None => Ok(()),
            }
        };
        let proxy = async {
            match proxy {
                Some(mut proxy) => proxy.stop().await,
                None => Ok(()),
            }
        };
        let (databases, broker, proxy) = tokio::join!(databases, broker, proxy);
        let servers = databases.into_iter().chain([broker, proxy]);
        let ended = ended.into_iter().map(|ended| ended.map(drop));
        for error in ended.chain(servers).filter_map(Result::err) {
            eprintln!("saga: {error:#}");
        }
    }

    fn started<T>(&self, act: impl FnOnce(&mut Started<'a>) -> T) -> T {
        act(&mut self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
