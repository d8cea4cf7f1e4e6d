//! Reads the settings: every variable of the outside contract, from the environment, else from
//! `.env` in the working directory, else its default.

mod add_ons;
mod cluster;
mod containers;
mod database;
mod dotenv;
mod encryption;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use events::{Step, services_in};
use messaging::{QueueType, RetrySchedule};
use reqwest::Url;
use servers::{Certificates, ports};

pub use add_ons::{ADD_ON_DB_PORT, AddOn, add_ons_of, port_of};
pub use cluster::{CLUSTER_MARK, COPIES, ClusterPorts, Listener};
pub use database::Database;
pub use encryption::NAMES;

use crate::home::Home;

/// The variables that set ports.
pub const PORTS: [&str; 18] = [
    "ORDER_HTTP_PORT",
    "RABBITMQ_PORT",
    "RABBITMQ_MANAGEMENT_PORT",
    "ORDER_DB_PORT",
    "PAYMENT_DB_PORT",
    "INVENTORY_DB_PORT",
    "SHIPPING_DB_PORT",
    "MOCK_GATEWAY_PORT",
    "RABBITMQ_2_PORT",
    "RABBITMQ_2_MANAGEMENT_PORT",
    "RABBITMQ_3_PORT",
    "RABBITMQ_3_MANAGEMENT_PORT",
    "ORDER_DB_STANDBY_PORT",
    "PAYMENT_DB_STANDBY_PORT",
    "INVENTORY_DB_STANDBY_PORT",
    "SHIPPING_DB_STANDBY_PORT",
    "ORDER_1_HTTP_PORT",
    "ORDER_2_HTTP_PORT",
];

pub const SERVICES: [&str; 4] = ["order", "payment", "inventory", "shipping"];

/// RabbitMQ's own default.
pub const VHOST: &str = "/";

/// Of `postgres`, on every database's servers.
pub const SUPERUSER_PASSWORD: &str = "postgres";

/// The name that the compose file gives to its project.
const PROJECT: &str = "quadrille";

/// It has passwords, and so no `Debug`.
#[derive(Clone)]
pub struct Settings {
    /// Where `up` keeps data and logs; absolute.
    pub home: PathBuf,
    pub order_http_port: u16,
    /// Whether order has a certificate, `HTTP_TLS_CERT_FILE`.
    pub is_order_https: bool,
    /// To verify it by; none is by the machine's authorities.
    pub order_ca_file: Option<PathBuf>,
    pub rabbitmq_port: u16,
    pub rabbitmq_management_port: u16,
    /// Where Prometheus scrapes RabbitMQ; not in a cluster.
    pub rabbitmq_metrics_port: Option<u16>,
    pub rabbitmq_user: String,
    pub rabbitmq_password: String,
    /// Holds another RabbitMQ than the machine's.
    pub rabbitmq_root: Option<PathBuf>,
    /// In the order of `SERVICES`; then those of the services beside the saga.
    pub databases: Vec<Database>,
    pub add_ons: Vec<AddOn<'static>>,
    /// Whether RabbitMQ runs as three nodes, each database as two servers, each service as two.
    pub is_cluster: bool,
    pub cluster: ClusterPorts,
    /// The services' retry tiers, which are queues.
    pub schedule: RetrySchedule,
    /// For how many days the services keep idempotency keys.
    pub keep_days: u16,
    pub queue_type: QueueType,
    pub gateway: Gateway,
    pub mock_gateway_port: u16,
    /// In containers: whether a collector, Prometheus, Grafana and Jaeger run beside them.
    pub is_observed: bool,
    pub observers: [Listener; 4],
    /// Whether the live page may place orders and replay dead letters.
    pub is_demo: bool,
    /// Those of all links between services and servers; without them, the links are plain.
    pub tls: Option<Certificates>,
    /// Whether the order service requires API keys.
    pub are_keys_required: bool,
    /// Variables of `.env` that the environment does not set.
    pub dotenv: BTreeMap<String, String>,
}

/// The provider that payment calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// The one inside payment.
    Simulated,
    /// The mock gateway, by HTTP.
    Http,
}

impl Gateway {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Http => "http",
        }
    }
}

impl Settings {
    pub fn read() -> Result<Self> {
        let mut dotenv = dotenv::read(".env".as_ref())?;
        dotenv.retain(|name, _| std::env::var_os(name).is_none());
        let variable = |name: &str| std::env::var(name).ok().or_else(|| dotenv.get(name).cloned());
        let mut settings = Self::from(variable)?;
        if let Some(file) = variable("OPERATOR_AMQP_URL_FILE").filter(|file| !file.is_empty()) {
            (settings.rabbitmq_user, settings.rabbitmq_password) = login(&file)?;
        }
        if Home::new(&settings).is_cluster() {
            settings = settings.clustered()?;
        }
        // Without a word on it, it stays as it was made.
        if variable("TLS").is_none_or(|value| value.is_empty()) && settings.has_certificates() {
            settings = settings.encrypted();
        }
        Ok(Self { dotenv, ..settings })
    }

    /// A variable of the environment, else of `.env`; empty is none.
    pub fn variable(&self, name: &str) -> Option<String> {
        let value = std::env::var(name).ok().or_else(|| self.dotenv.get(name).cloned());
        value.filter(|value| !value.is_empty())
    }

    /// Those of the running system, which may be made of containers.
    pub fn of_running() -> Result<Self> {
        let settings = Self::read()?;
        let project = settings.variable("COMPOSE_PROJECT_NAME");
        let project = project.unwrap_or_else(|| PROJECT.to_owned());
        let is_here = Home::new(&settings).is_there();
        let is_open = settings.variable("CLUSTER").is_none() && !is_here;
        // What runs without containers has the usual ones.
        let secrets = settings.variable("SECRETS_DIR").filter(|_| !is_here);
        let settings = match secrets {
            Some(folder) => settings.with_passwords(folder.as_ref())?,
            None => settings,
        };
        let is_cluster = is_open && containers::hold_cluster(&project);
        if is_cluster { settings.clustered()? } else { settings }.as_started()
    }

    /// The same with `CLUSTER=3`.
    pub fn clustered(self) -> Result<Self> {
        let settings = Self { is_cluster: true, ..self };
        settings.check_ports_differ().map(|()| settings)
    }

    /// The settings of a separate system in `dir`, on free ports, with these variables for its
    /// services. No service beside the saga is part of it.
    pub fn private(dir: &Path, told: &[(&str, &str)]) -> Result<Self> {
        let told = told.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let told: BTreeMap<_, _> = told.collect();
        let mut variables = told.clone();
        variables.insert("SAGA_HOME".into(), dir.display().to_string());
        for name in PORTS {
            variables.insert(name.into(), ports::free()?.to_string());
        }
        // The services inherit them: the retry tiers are derived from the one, and our own
        // requests need a key by the other.
        for name in ["RETRY_DELAYS", "API_KEYS"] {
            if let Ok(value) = std::env::var(name) {
                variables.insert(name.into(), value);
            }
        }
        let settings = Self::with(&[], |name| variables.get(name).cloned())?;
        Ok(Self { dotenv: told, ..settings })
    }

    pub fn with(add_ons: &[Step], variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let text = |name: &str, default: &str| {
            variable(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let port = |name: &str, default: &str| {
            let value = text(name, default);
            let port = value.parse().ok().filter(|port| *port != 0);
            port.with_context(|| format!("{name}={value} is not a port: 1 to 65535"))
        };
        let database = |service, name, variable, default: &str| -> Result<Database> {
            Ok(Database::of(service, name, (port(variable, default)?, variable)))
        };
        let mut databases = vec![
            database("order", "orders", "ORDER_DB_PORT", "5433")?,
            database("payment", "payments", "PAYMENT_DB_PORT", "5434")?,
            database("inventory", "inventory", "INVENTORY_DB_PORT", "5435")?,
            database("shipping", "shipping", "SHIPPING_DB_PORT", "5436")?,
        ];
        for (service, default) in services_in(add_ons).zip(ADD_ON_DB_PORT..) {
            databases.push(database(service, service, port_of(service), &default.to_string())?);
        }
        let observer =
            |variable, default| -> Result<_> { Ok((port(variable, default)?, variable)) };
        let yes = |name: &str, default: &str| match text(name, default).as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            other => bail!("{name}={other} is not known: it is 1 or 0"),
        };
        let home = text("SAGA_HOME", ".run");
        let settings = Self {
            home: std::path::absolute(&home).with_context(|| format!("SAGA_HOME={home}"))?,
            order_http_port: port("ORDER_HTTP_PORT", "3001")?,
            is_order_https: !text("HTTP_TLS_CERT_FILE", "").is_empty(),
            order_ca_file: Some(text("ORDER_CA_FILE", ""))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            rabbitmq_port: port("RABBITMQ_PORT", "5672")?,
            rabbitmq_management_port: port("RABBITMQ_MANAGEMENT_PORT", "15672")?,
            rabbitmq_metrics_port: match text("RABBITMQ_METRICS_PORT", "").as_str() {
                "" => None,
                _ => Some(port("RABBITMQ_METRICS_PORT", "")?),
            },
            rabbitmq_user: text("RABBITMQ_USER", "admin"),
            rabbitmq_password: text("RABBITMQ_PASSWORD", "admin"),
            rabbitmq_root: variable("RABBITMQ_ROOT").filter(|it| !it.is_empty()).map(PathBuf::from),
            databases,
            add_ons: add_ons_of(add_ons),
            is_cluster: match text("CLUSTER", "1").as_str() {
                "3" => true,
                "0" | "1" => false,
                other => bail!("CLUSTER={other} is not known: it is 3, or 1 for no cluster"),
            },
            cluster: ClusterPorts::from(port)?,
            schedule: schedule(&text("RETRY_DELAYS", "1s,5s,30s"))?,
            keep_days: keep_days(&text("KEEP_DAYS", "30"))?,
            queue_type: text("QUEUE_TYPE", "quorum")
                .parse()
                .map_err(|why| anyhow::anyhow!("QUEUE_TYPE: {why}"))?,
            gateway: match text("GATEWAY", "simulated").as_str() {
                "simulated" => Gateway::Simulated,
                "http" => Gateway::Http,
                other => bail!("GATEWAY={other} is not known: it is simulated or http"),
            },
            mock_gateway_port: port("MOCK_GATEWAY_PORT", "3002")?,
            is_observed: yes("OBSERVE", "0")?,
            observers: [
                observer("GRAFANA_PORT", "3000")?,
                observer("PROMETHEUS_PORT", "9090")?,
                observer("JAEGER_PORT", "16686")?,
                observer("OTLP_PORT", "4318")?,
            ],
            is_demo: yes("DEMO", "1")?,
            tls: None,
            are_keys_required: match text("API_KEYS", "off").as_str() {
                "off" => false,
                "required" => true,
                other => bail!("API_KEYS={other} is not known: it is off or required"),
            },
            dotenv: BTreeMap::new(),
        };
        settings.check_ports_differ()?;
        Ok(if yes("TLS", "0")? { settings.encrypted() } else { settings })
    }

    /// Every port that `up` listens on, with the variable that sets it.
    pub fn ports(&self) -> Vec<Listener> {
        let further = self.cluster.all().filter(|_| self.is_cluster);
        self.first_ports().into_iter().chain(further).collect()
    }

    fn first_ports(&self) -> Vec<Listener> {
        let mut ports = vec![
            (self.order_http_port, "ORDER_HTTP_PORT"),
            (self.rabbitmq_port, "RABBITMQ_PORT"),
            (self.rabbitmq_management_port, "RABBITMQ_MANAGEMENT_PORT"),
        ];
        if self.gateway == Gateway::Http {
            ports.push((self.mock_gateway_port, "MOCK_GATEWAY_PORT"));
        }
        ports.extend(self.databases.iter().map(|database| (database.port, database.variable)));
        ports
    }

    /// The ports of the containers; of the observability containers too. Order's copies have none.
    pub fn container_ports(&self) -> Vec<Listener> {
        let copies = self.cluster.orders;
        let ports = self.ports().into_iter().filter(|listener| !copies.contains(listener));
        ports.chain(self.observer_ports()).collect()
    }

    fn observer_ports(&self) -> impl Iterator<Item = Listener> {
        self.observers.into_iter().filter(|_| self.is_observed)
    }

    fn check_ports_differ(&self) -> Result<()> {
        let mut seen = HashMap::new();
        for (port, variable) in self.ports().into_iter().chain(self.observer_ports()) {
            let other = seen.insert(port, variable);
            let other = other.unwrap_or_default();
            ensure!(other.is_empty(), "{other} and {variable} are both {port}: change one");
        }
        Ok(())
    }

    /// The address of the order service.
    pub fn order_url(&self) -> String {
        self.order_url_at(self.order_http_port)
    }

    /// The address of a copy of it.
    pub fn order_url_at(&self, port: u16) -> String {
        let scheme = self.order_scheme();
        format!("{scheme}://127.0.0.1:{port}")
    }

    /// The mock provider's address, where payment calls one by HTTP.
    pub fn mock_gateway_url(&self) -> Option<String> {
        let url = format!("http://127.0.0.1:{}", self.mock_gateway_port);
        (self.gateway == Gateway::Http).then_some(url)
    }

    /// The operator's address at the first node, for the default virtual host.
    pub fn amqp_url(&self) -> String {
        self.amqp_urls().swap_remove(0)
    }

    /// Without user and password: the management API takes them by basic authentication.
    pub fn management_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rabbitmq_management_port)
    }

    pub fn database(&self, service: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.service == service)
    }
}

fn schedule(value: &str) -> Result<RetrySchedule> {
    let parsed = value.parse().map_err(anyhow::Error::msg);
    parsed
        .with_context(|| format!("RETRY_DELAYS={value} is not a list of delays such as 1s,5s,30s"))
}

fn keep_days(value: &str) -> Result<u16> {
    let days = value.parse().ok().filter(|days| (1..=3650).contains(days));
    days.with_context(|| format!("KEEP_DAYS={value} is not a number of days from 1 to 3650"))
}

/// User and password of the first URL in this file.
fn login(file: &str) -> Result<(String, String)> {
    let failed = || format!("cannot read an AMQP URL from {file}, set in OPERATOR_AMQP_URL_FILE");
    let urls = fs::read_to_string(file).with_context(failed)?;
    let url = urls.split(',').next().unwrap_or_default().trim();
    let url = Url::parse(url).with_context(failed)?;
    Ok((url.username().to_owned(), url.password().unwrap_or_default().to_owned()))
}

/// The text, escaped for a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
