//! A fleet: four services, four databases, one virtual host.

mod client;
mod encrypted;
mod queues;

use crate::{BrokerView, Provider, ServiceProcess, process::binary, until};
use database::testing::{TEST_POSTGRES_URL, copy_on, throwaway_url_on};
use messaging::{Env, RetrySchedule, SystemEnv, Topology};
use reqwest::Client;
use servers::{Certificates, Postgres, RabbitMq, Watchdog, ports, release, scratch};
use sqlx::PgPool;
use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::process::Command;
use uuid::Uuid;

pub use kit::settings::SERVICES;

const RETRY_DELAYS_MS: [u64; 3] = [200, 400, 800];

pub struct Fleet {
    pub http: Client,
    pub order_url: String,
    pub broker: BrokerView,
    /// The servers of this fleet's own, if any, which a test can stop and kill.
    pub own_rabbit: Option<RabbitMq>,
    pub own_postgres: Option<Postgres>,
    /// The mock provider, if payment calls one by HTTP.
    pub provider: Option<Provider>,
    processes: BTreeMap<String, ServiceProcess>,
    databases: BTreeMap<&'static str, String>,
    settings: BTreeMap<String, String>,
    folder: PathBuf,
    watchdog: Arc<Watchdog>,
    pub(crate) placed: Mutex<Vec<Uuid>>,
}

impl Fleet {
    /// On the servers of the test set-up.
    pub async fn start() -> Self {
        let fleet = Self::prepare(&[]).await;
        fleet.launch().await
    }

    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let fleet = Self::prepare(settings).await;
        fleet.launch().await
    }

    /// A fleet with the mock provider, which payment calls by HTTP.
    pub async fn start_with_provider(settings: &[(&str, &str)]) -> Self {
        Self::prepare(settings).await.with_provider(&[]).await.launch().await
    }

    /// Adds the mock provider, with these settings of its own.
    pub async fn with_provider(mut self, settings: &[(&str, &str)]) -> Self {
        let provider = Provider::start(&self.folder, self.watchdog.clone(), settings).await;
        self.set("PAYMENT_GATEWAY_URL", &provider.url);
        self.provider = Some(provider);
        self
    }

    /// Databases without tables, which each service makes when it starts.
    pub async fn with_empty_databases(mut self) -> Self {
        for url in self.databases.values_mut() {
            *url = throwaway_url_on(url).await;
        }
        self
    }

    /// For the services that start from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.into(), value.into());
    }

    /// On servers of its own.
    pub async fn start_on_own_servers() -> Self {
        Self::prepare_on_own_servers(Self::given_rabbitmq(), false).await.launch().await
    }

    /// Holds the RabbitMQ that is tested, where it is not the machine's.
    pub fn given_rabbitmq() -> Option<PathBuf> {
        env::var_os("TEST_RABBITMQ_ROOT").map(Into::into)
    }

    /// Everything but the services, on servers of its own: plain ones, or such as take only
    /// encrypted connections of known clients.
    pub async fn prepare_on_own_servers(root: Option<PathBuf>, is_encrypted: bool) -> Self {
        let (folder, watchdog) = scratch_folder();
        let tls = is_encrypted.then(|| certificates(&folder));
        let (rabbit, postgres) = tokio::try_join!(
            scratch::rabbitmq(&folder, &watchdog, root, tls.as_ref()),
            scratch::postgres(&folder, &watchdog, tls.as_ref())
        )
        .expect("the servers start");
        let urls = (postgres.superuser_url(), rabbit.url(), scratch::management_url(&rabbit));
        let mut fleet = Self::on(urls, folder, watchdog, &[], tls).await;
        fleet.own_rabbit = Some(rabbit);
        fleet.own_postgres = Some(postgres);
        fleet
    }

    /// A fleet with the RabbitMQ of this Debian release; `None` if this machine cannot run it.
    pub async fn start_on(release: &str, settings: &[(&str, &str)]) -> Option<Self> {
        let roots = crate::process::target().join("../rabbitmq");
        let root = release::rabbitmq_or_skip(&roots, release).await?;
        let (folder, watchdog) = scratch_folder();
        let rabbit = scratch::rabbitmq(&folder, &watchdog, Some(root), None).await;
        let rabbit = rabbit.expect("it starts");
        let urls = (given(TEST_POSTGRES_URL), rabbit.url(), scratch::management_url(&rabbit));
        let mut fleet = Self::on(urls, folder, watchdog, settings, None).await;
        fleet.own_rabbit = Some(rabbit);
        Some(fleet.launch().await)
    }

    /// Everything but the services.
    pub async fn prepare(settings: &[(&str, &str)]) -> Self {
        let (folder, watchdog) = scratch_folder();
        let urls = (
            given(TEST_POSTGRES_URL),
            given("TEST_AMQP_URL"),
            given("TEST_RABBITMQ_MANAGEMENT_URL"),
        );
        Self::on(urls, folder, watchdog, settings, None).await
    }

    async fn on(
        (postgres, amqp, management): (String, String, String),
        folder: PathBuf,
        watchdog: Arc<Watchdog>,
        settings: &[(&str, &str)],
        tls: Option<Certificates>,
    ) -> Self {
        let vhost = format!("test-{}", SystemEnv.new_id().simple());
        let mut databases = BTreeMap::new();
        for service in SERVICES {
            databases.insert(service, database(&postgres, service).await);
        }
        let port = ports::free().expect("a free port");
        let mut usual = BTreeMap::from([
            ("HTTP_ADDR".into(), format!("127.0.0.1:{port}")),
            // Short, so that no test waits long for a retry or for the reaper.
            ("RETRY_DELAYS".into(), RETRY_DELAYS_MS.map(|ms| format!("{ms}ms")).join(",")),
            ("PAYMENT_GATEWAY_URL".into(), "simulated".into()),
            ("PAYMENT_GATEWAY_TIMEOUT".into(), "1s".into()),
            ("PAYMENT_REAP_AFTER".into(), "2s".into()),
            ("PAYMENT_RETRY_DELAY".into(), "500ms".into()),
            ("DATABASE_CONNECTIONS".into(), "6".into()),
        ]);
        usual.extend(settings.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let broker = BrokerView::create_with(&amqp, &management, &vhost, tls.as_ref()).await;
        broker.import(Topology::whole(&schedule()).definitions(&vhost)).await;
        broker.import(messaging::users(&SERVICES, &vhost, str::to_owned)).await;
        Self {
            // A pooled connection from before a service was killed would get no answer.
            http: https::plain().pool_max_idle_per_host(0).build().expect("a client"),
            order_url: format!("http://127.0.0.1:{port}"),
            broker,
            own_rabbit: None,
            own_postgres: None,
            provider: None,
            processes: BTreeMap::new(),
            databases,
            settings: usual,
            folder,
            watchdog,
            placed: Mutex::default(),
        }
    }

    /// Starts all services.
    pub async fn launch(mut self) -> Self {
        for service in SERVICES {
            self.spawn(service);
        }
        self.ready().await;
        self
    }

    /// Starts a service that does not run.
    pub fn spawn(&mut self, service: &str) {
        self.spawn_as(service, service, &[]);
    }

    /// Starts a process of a service under a name of its own, for example a replica.
    pub fn spawn_as(&mut self, service: &str, name: &str, settings: &[(&str, &str)]) {
        self.spawn_program(&format!("{service}-service"), service, name, settings);
    }

    /// The same for a program of another name, or below another folder.
    pub fn spawn_program(
        &mut self,
        program: &str,
        service: &str,
        name: &str,
        settings: &[(&str, &str)],
    ) {
        let mut all = self.settings.clone();
        all.extend(self.databases.get(service).map(|url| ("DATABASE_URL".into(), url.clone())));
        all.insert("AMQP_URL".into(), self.broker.amqp_url_of(service));
        all.insert(
            "HEALTH_FILE".into(),
            self.folder.join(format!("{name}.health")).display().to_string(),
        );
        all.extend(settings.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let log = self.folder.join(format!("{name}.log"));
        let process = ServiceProcess::start(program, all, &log, &self.watchdog);
        assert!(self.processes.insert(name.into(), process).is_none(), "{name} runs already");
    }

    pub fn provider(&mut self) -> &mut Provider {
        self.provider.as_mut().expect("this fleet was started with one")
    }

    pub fn process(&self, name: &str) -> &ServiceProcess {
        &self.processes[name]
    }

    /// Takes a process out of the fleet, so that a test can end it.
    pub fn take(&mut self, name: &str) -> ServiceProcess {
        self.processes.remove(name).unwrap_or_else(|| panic!("{name} does not run"))
    }

    /// Waits until every process is connected and consuming.
    pub async fn ready(&self) {
        for (name, process) in &self.processes {
            until(|| async {
                let check = process.healthcheck();
                if check.status.success() {
                    return Ok(());
                }
                let why = String::from_utf8_lossy(&check.stderr).into_owned();
                Err(format!("{name} is not healthy: {why}\n{}", process.log()))
            })
            .await;
        }
        if self.processes.contains_key("order") {
            self.answering().await;
        }
    }

    /// Waits until the order service accepts requests.
    async fn answering(&self) {
        until(|| async {
            let url = format!("{}/readyz", self.order_url);
            let answer = self.http.get(url).send().await.map_err(|why| why.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
    }

    pub async fn pool(&self, service: &str) -> PgPool {
        PgPool::connect(&self.databases[service]).await.expect("the database lets us in")
    }

    pub fn database_url(&self, service: &str) -> &str {
        &self.databases[service]
    }

    /// A path of the test's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Ends everything, and leaves nothing behind on shared servers.
    pub async fn close(mut self) {
        self.processes.clear();
        if self.own_rabbit.is_none() {
            self.broker.delete().await;
        }
    }
}

/// A new virtual host on the broker of the test set-up.
pub async fn given_broker() -> BrokerView {
    let (amqp, management) = (given("TEST_AMQP_URL"), given("TEST_RABBITMQ_MANAGEMENT_URL"));
    let vhost = format!("test-{}", SystemEnv.new_id().simple());
    BrokerView::create(&amqp, &management, &vhost).await
}

/// On a server of the fleet's own an empty one, which the service migrates when it starts; on the
/// shared one a copy of what it has migrated once, which is cheaper.
async fn database(server: &str, service: &str) -> String {
    if env::var(TEST_POSTGRES_URL).ok().as_deref() != Some(server) {
        return throwaway_url_on(server).await;
    }
    copy_on(server, &format!("migrated_{service}"), async |url| {
        let mut migrate = Command::new(binary(&format!("{service}-service")));
        let settings = [("DATABASE_URL", url.as_str()), ("PAYMENT_GATEWAY_URL", "simulated")];
        let migrated = migrate.arg("migrate").envs(settings).output().await;
        let migrated = migrated.expect("the service is built");
        assert!(migrated.status.success(), "{migrated:?}");
    })
    .await
}

fn certificates(folder: &Path) -> Certificates {
    let logins: Vec<&str> = SERVICES.into_iter().chain(["admin", "postgres"]).collect();
    let made = Certificates::make(&folder.join("certificates"), &["127.0.0.1"], &logins);
    made.expect("certificates can be made")
}

fn schedule() -> RetrySchedule {
    RetrySchedule::new(RETRY_DELAYS_MS.map(Duration::from_millis).into())
}

fn given(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `make test`, or `lab with-servers -- cargo test …`")
    })
}

/// A folder of a test's own, which is deleted with it.
pub fn scratch_folder() -> (PathBuf, Arc<Watchdog>) {
    let watchdog = Arc::new(Watchdog::start().expect("a watchdog starts"));
    let folder = folder();
    watchdog.deletes(&folder).expect("the watchdog listens");
    (folder, watchdog)
}

/// A folder of a test's own.
pub fn folder() -> PathBuf {
    let folder = crate::process::target().join("e2e").join(SystemEnv.new_id().simple().to_string());
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}
