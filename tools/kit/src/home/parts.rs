//! Lists the servers of a home, whether they run or not.

use anyhow::Result;
use servers::{HaProxy, Postgres, RabbitMq};

use super::Home;
use crate::settings::{Listener, Settings};

/// A server, as operators know it.
pub struct Server<T> {
    pub name: String,
    pub ports: Vec<Listener>,
    pub running: Option<T>,
}

pub struct Servers {
    /// By database, in the order of the settings; the second server of each after its first.
    pub postgres: Vec<Server<Postgres>>,
    pub rabbitmq: Vec<Server<RabbitMq>>,
    pub proxy: Option<Server<HaProxy>>,
}

impl Servers {
    pub(super) fn of(home: &Home<'_>, settings: &Settings) -> Result<Self> {
        let mut postgres = Vec::new();
        for database in &settings.databases {
            let servers = (1..).zip(settings.servers_of(database)).zip(home.pair(database));
            for ((number, port), config) in servers {
                let name = numbered(&format!("postgres {}", database.service), number);
                let running = Postgres::attach(config)?;
                postgres.push(Server { name, ports: vec![port], running });
            }
        }
        let mut rabbitmq = Vec::new();
        for ((number, ports), config) in (1..).zip(settings.nodes()).zip(home.brokers()) {
            let name = numbered("rabbitmq", number);
            let running = RabbitMq::attach(config)?;
            rabbitmq.push(Server { name, ports: ports.to_vec(), running });
        }
        let proxy = home.proxy().map(|config| {
            let ports = vec![(config.port, "ORDER_HTTP_PORT")];
            let running = HaProxy::attach(&config)?;
            Ok::<_, anyhow::Error>(Server { name: "haproxy".to_owned(), ports, running })
        });
        Ok(Self { postgres, rabbitmq, proxy: proxy.transpose()? })
    }

    pub fn any(&self) -> bool {
        let proxy = self.proxy.iter().any(Server::runs);
        proxy || self.rabbitmq.iter().any(Server::runs) || self.postgres.iter().any(Server::runs)
    }

    /// The ports of the servers that do not run.
    pub fn ports_of_stopped(&self) -> Vec<Listener> {
        let postgres = self.postgres.iter().filter_map(Server::ports_if_stopped);
        let rabbitmq = self.rabbitmq.iter().filter_map(Server::ports_if_stopped);
        let proxy = self.proxy.iter().filter_map(Server::ports_if_stopped);
        postgres.chain(rabbitmq).chain(proxy).flatten().copied().collect()
    }
}

impl<T> Server<T> {
    fn runs(&self) -> bool {
        self.running.is_some()
    }

    fn ports_if_stopped(&self) -> Option<&[Listener]> {
        (!self.runs()).then_some(&self.ports)
    }
}

/// The first has no number, since it may be the only one.
fn numbered(name: &str, number: usize) -> String {
    if number == 1 { name.to_owned() } else { format!("{name} {number}") }
}
