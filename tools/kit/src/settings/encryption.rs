//! Encrypts the links of a system, by certificates in its home.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use servers::Certificates;

use super::{SERVICES, Settings};
use crate::home::Home;

/// Of the servers, all on this machine.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];
/// The same for each other, in containers.
const CONTAINERS: [&str; 6] =
    ["order", "rabbitmq", "order-db", "payment-db", "inventory-db", "shipping-db"];
/// The certificates of the containers, beside docker-compose.yml, which names it.
const OF_CONTAINERS: &str = ".certificates";

impl Settings {
    /// The same with `TLS=1`.
    pub fn encrypted(self) -> Self {
        let dir = self.certificates();
        self.encrypted_by(&dir)
    }

    fn encrypted_by(mut self, dir: &Path) -> Self {
        let certificates = Certificates::at(dir);
        for database in &mut self.databases {
            database.tls = Some(certificates.clone());
        }
        self.tls = Some(certificates);
        self
    }

    /// Where order has a certificate of this system's. HAProxy, which stands before its copies in
    /// a cluster, speaks plain HTTP.
    fn order_certificates(&self) -> Option<&Certificates> {
        self.tls.as_ref().filter(|_| !self.is_cluster && !self.is_order_https)
    }

    pub fn order_scheme(&self) -> &'static str {
        let is_https = self.is_order_https || self.order_certificates().is_some();
        if is_https { "https" } else { "http" }
    }

    /// To verify order by; none is by the machine's authorities.
    pub fn order_authority(&self) -> Option<PathBuf> {
        let own = || self.order_certificates().map(Certificates::authority);
        self.order_ca_file.clone().or_else(own)
    }

    /// The variables of order's certificate.
    pub fn order_variables(&self) -> Vec<(String, String)> {
        let Some((certificate, key)) = self.order_certificates().map(Certificates::server) else {
            return Vec::new();
        };
        [("HTTP_TLS_CERT_FILE", certificate), ("HTTP_TLS_KEY_FILE", key)]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
            .into()
    }

    /// The same for the system in containers, with their own certificates.
    pub fn in_containers(self) -> Self {
        match self.tls {
            Some(_) => self.encrypted_by(&of_containers()),
            None => self,
        }
    }

    /// Whatever runs, on this machine or in containers, as it was started.
    pub fn as_started(self) -> Self {
        let dir = of_containers();
        let runs_here = || Home::new(&self).servers().is_ok_and(|servers| servers.any());
        if !dir.exists() || runs_here() {
            return self;
        }
        self.encrypted_by(&dir)
    }

    /// Makes the certificates, where they are missing or about to expire; nothing may run. Without
    /// TLS, it deletes them.
    pub fn certify(&self) -> Result<()> {
        let dir = self.certificates();
        match &self.tls {
            None => delete(&dir),
            Some(there) if there.serve(&self.logins()) => Ok(()),
            Some(_) => Certificates::make(&dir, &NAMES, &self.logins()).map(drop),
        }
    }

    /// The same for the containers. Whether they are new.
    pub fn certify_containers(&self) -> Result<bool> {
        let dir = of_containers();
        match &self.tls {
            None => delete(&dir).map(|()| false),
            Some(there) if there.serve(&self.logins()) => Ok(false),
            Some(_) => {
                let names = [&NAMES[..], &CONTAINERS].concat();
                Certificates::make(&dir, &names, &self.logins())?.lend().map(|()| true)
            }
        }
    }

    pub fn certificates(&self) -> PathBuf {
        self.home.join("certificates")
    }

    pub fn has_certificates(&self) -> bool {
        self.certificates().exists()
    }

    /// Whoever has a login at one of the servers: at RabbitMQ by the service's name, at Postgres by
    /// the database's.
    pub fn logins(&self) -> Vec<&str> {
        let databases = self.databases.iter().map(|database| database.name);
        let mut all: Vec<&str> = SERVICES.into_iter().chain(databases).collect();
        all.extend([self.rabbitmq_user.as_str(), "postgres"]);
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn of_containers() -> PathBuf {
    std::path::absolute(OF_CONTAINERS).unwrap_or_else(|_| OF_CONTAINERS.into())
}

fn delete(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(why).with_context(|| format!("cannot delete {}", dir.display()))
        }
        _ => Ok(()),
    }
}
