//! Starts what does not run yet, all at once, and can undo exactly that.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::{join_all, try_join_all};
use kit::home::Home;
use kit::service::Service;
use kit::settings::{Database, Settings};
use servers::{Postgres, RabbitMq, tail};
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
    rabbitmq: Option<RabbitMq>,
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
        let couples = self.settings.databases.iter().zip(self.services);
        let couples = couples.map(|(database, service)| self.couple(database, service));
        let others = self.services.iter().skip(self.settings.databases.len());
        let others = try_join_all(others.map(|service| self.service(service)));
        let done = async {
            tokio::try_join!(self.rabbitmq(), try_join_all(couples), others)?;
            // A service that ran already may have lost its server, and has to reconnect.
            try_join_all(self.services.iter().map(|service| self.readiness(service))).await
        };
        let done = done.await;
        self.progress.clear();
        done.map(|_| ())
    }

    pub fn elapsed(&self) -> Duration {
        self.progress.elapsed()
    }

    pub fn started_something(&self) -> bool {
        self.started(|all| {
            all.rabbitmq.is_some() || !all.postgres.is_empty() || !all.services.is_empty()
        })
    }

    /// A service that starts when RabbitMQ is ready is ready sooner than one that has to retry.
    async fn couple(&self, database: &Database, service: &'a Service) -> Result<()> {
        let config = self.home.postgres(database);
        if let Some(postgres) = Postgres::attach(config.clone())? {
            // The run that started it may have died before it was complete.
            postgres.ready().await?;
        } else {
            let name = format!("postgres {}", database.service);
            self.progress.begin(&name);
            let postgres = Postgres::start(config).await?;
            self.progress.done(&name, &format!("127.0.0.1:{}", database.port));
            self.started(|all| all.postgres.push(postgres));
        }
        self.broker.wait().await;
        self.service(service).await
    }

    async fn rabbitmq(&self) -> Result<()> {
        let config = self.home.rabbitmq();
        if let Some(rabbitmq) = RabbitMq::attach(config.clone())? {
            rabbitmq.ready().await?;
        } else {
            self.progress.begin("rabbitmq");
            let port = config.port;
            let rabbitmq = RabbitMq::start(config).await?;
            self.progress.done("rabbitmq", &format!("127.0.0.1:{port}"));
            self.started(|all| all.rabbitmq = Some(rabbitmq));
        }
        self.broker.set(()).ok();
        Ok(())
    }

    async fn service(&self, service: &'a Service) -> Result<()> {
        if service.is_outdated() {
            service.stop().await;
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
            if service.running().is_none() {
                bail!("the {} service ended while it started; {}", service.name, said());
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
        let Started { mut postgres, mut rabbitmq, services } = self.started(std::mem::take);
        eprintln!("stopping what was started …");
        join_all(services.iter().map(|service| service.stop())).await;
        let databases = join_all(postgres.iter_mut().map(Postgres::stop));
        let broker = async {
            match &mut rabbitmq {
                Some(rabbitmq) => rabbitmq.stop().await,
                None => Ok(()),
            }
        };
        let (databases, broker) = tokio::join!(databases, broker);
        for error in databases.into_iter().chain([broker]).filter_map(Result::err) {
            eprintln!("saga: {error:#}");
        }
    }

    fn started<T>(&self, act: impl FnOnce(&mut Started<'a>) -> T) -> T {
        act(&mut self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
