//! Follows the secret that names the hosts: each connection is made with its present content.

use super::{Connect, Hosts, Refused};
use crate::{Limits, failure::is_login};
use secret::Secret;
use sqlx::{Error, postgres::PgConnectOptions};
use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::timeout;

type Settings = Box<dyn Fn(PgConnectOptions) -> PgConnectOptions + Send + Sync>;

pub struct CurrentHosts {
    url: Secret,
    settings: Settings,
    writing: Settings,
    last: Mutex<Last>,
}

struct Last {
    /// What was read last, valid or not.
    url: Arc<str>,
    hosts: Arc<Hosts>,
}

impl CurrentHosts {
    pub fn new(url: Secret, settings: Settings, writing: Settings) -> Result<Self, Error> {
        let text = url.read();
        let hosts = Arc::new(Hosts::new(&text, &settings, &writing)?);
        Ok(Self { url, settings, writing, last: Mutex::new(Last { url: text, hosts }) })
    }

    pub fn get(&self) -> Arc<Hosts> {
        let url = self.url.read();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if url != last.url {
            match Hosts::new(&url, &self.settings, &self.writing) {
                Ok(hosts) => last.hosts = Arc::new(hosts.after(&last.hosts)),
                Err(why) => {
                    let name = self.url.name();
                    tracing::error!("{name}_FILE has no valid address ({why}); using the last one");
                }
            }
            last.url = url;
        }
        last.hosts.clone()
    }

    /// A password may be changed on the server just before it is in the file, or just after.
    pub async fn connect<C: Connect>(&self, limits: Limits) -> Result<C, Refused> {
        let connected = loop {
            if let Some(connected) = self.connect_as_now(limits).await {
                break connected;
            }
        };
        connected.map_err(|refused| {
            let may_pass = refused.may_pass || self.url.may_change() && is_login(&refused.why);
            Refused { may_pass, ..refused }
        })
    }

    /// None once the secret has other content.
    async fn connect_as_now<C: Connect>(&self, limits: Limits) -> Option<Result<C, Refused>> {
        let hosts = self.get();
        let mut connecting = pin!(hosts.connect(limits));
        while Arc::ptr_eq(&hosts, &self.get()) {
            if let Ok(connected) = timeout(limits.ping(), &mut connecting).await {
                return Some(connected);
            }
        }
        None
    }
}
