//! Holds the further addresses of a system whose servers and services run more than once.

use anyhow::Result;

use super::{Database, SERVICES, Settings, encoded};

/// The mark in SAGA_HOME of a system that was made so.
pub const CLUSTER_MARK: &str = ".cluster";

/// A port, and the variable that sets it.
pub type Listener = (u16, &'static str);

/// Each of `SERVICES`, by the names of its copies.
pub const COPIES: [[&str; 2]; 4] = [
    ["order-1", "order-2"],
    ["payment-1", "payment-2"],
    ["inventory-1", "inventory-2"],
    ["shipping-1", "shipping-2"],
];

#[derive(Clone, Debug)]
pub struct ClusterPorts {
    /// RabbitMQ's second and third node: AMQP, management.
    pub nodes: [[Listener; 2]; 2],
    /// In the order of the databases.
    pub standbys: [Listener; 4],
    /// Order's two copies, behind the proxy on order's own port.
    pub orders: [Listener; 2],
}

impl ClusterPorts {
    pub fn from(port: impl Fn(&str, &str) -> Result<u16>) -> Result<Self> {
        let listener =
            |variable, default| Ok::<_, anyhow::Error>((port(variable, default)?, variable));
        Ok(Self {
            nodes: [
                [
                    listener("RABBITMQ_2_PORT", "5673")?,
                    listener("RABBITMQ_2_MANAGEMENT_PORT", "15673")?,
                ],
                [
                    listener("RABBITMQ_3_PORT", "5674")?,
                    listener("RABBITMQ_3_MANAGEMENT_PORT", "15674")?,
                ],
            ],
            standbys: [
                listener("ORDER_DB_STANDBY_PORT", "5443")?,
                listener("PAYMENT_DB_STANDBY_PORT", "5444")?,
                listener("INVENTORY_DB_STANDBY_PORT", "5445")?,
                listener("SHIPPING_DB_STANDBY_PORT", "5446")?,
            ],
            orders: [
                listener("ORDER_1_HTTP_PORT", "3011")?,
                listener("ORDER_2_HTTP_PORT", "3012")?,
            ],
        })
    }

    pub fn all(&self) -> impl Iterator<Item = Listener> {
        self.nodes.into_iter().flatten().chain(self.standbys).chain(self.orders)
    }
}

impl Settings {
    /// RabbitMQ's nodes, one or three: AMQP, management.
    pub fn nodes(&self) -> Vec<[Listener; 2]> {
        let first = [
            (self.rabbitmq_port, "RABBITMQ_PORT"),
            (self.rabbitmq_management_port, "RABBITMQ_MANAGEMENT_PORT"),
        ];
        let further = self.cluster.nodes.into_iter().filter(|_| self.is_cluster);
        [first].into_iter().chain(further).collect()
    }

    /// The ports of the database's servers, one or two; any of them may be the primary.
    pub fn servers_of(&self, database: &Database) -> Vec<Listener> {
        let standbys = SERVICES.iter().zip(self.cluster.standbys);
        let standby =
            standbys.filter(|(service, _)| self.is_cluster && **service == database.service);
        let first = (database.port, database.variable);
        [first].into_iter().chain(standby.map(|(_, standby)| standby)).collect()
    }

    /// What the database's service connects to: whichever server is the primary.
    pub fn service_database_url(&self, database: &Database) -> String {
        let servers = self.servers_of(database);
        if servers.len() == 1 {
            return database.url();
        }
        let hosts: Vec<_> = servers.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        let (name, hosts) = (database.name, hosts.join(","));
        let tls = database.tls.as_ref().map(|tls| format!("&{}", tls.postgres_parameters(name)));
        let tls = tls.unwrap_or_default();
        format!("postgres://{name}:{name}@{hosts}/{name}?target_session_attrs=read-write{tls}")
    }

    /// The operator's address at each node, for the default virtual host.
    pub fn amqp_urls(&self) -> Vec<String> {
        self.amqp_urls_of(&self.rabbitmq_user, &self.rabbitmq_password)
    }

    /// A service's address at each node: its user and password have its name.
    pub fn service_amqp_urls(&self, service: &str) -> Vec<String> {
        self.amqp_urls_of(service, service)
    }

    fn amqp_urls_of(&self, user: &str, password: &str) -> Vec<String> {
        let (name, password) = (encoded(user), encoded(password));
        let url = |port| match &self.tls {
            None => format!("amqp://{name}:{password}@127.0.0.1:{port}/%2f"),
            // The certificate is the login.
            Some(tls) => {
                format!("amqps://{name}@127.0.0.1:{port}/%2f?{}", tls.amqp_parameters(user))
            }
        };
        self.nodes().into_iter().map(|[(port, _), _]| url(port)).collect()
    }
}
