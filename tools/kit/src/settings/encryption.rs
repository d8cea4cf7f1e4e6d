//! Encrypts the links of a system, by certificates in its home.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use servers::Certificates;

use super::{SERVICES, Settings};
use crate::home::Home;
use crate::service::Service;

/// Of the servers, all on this machine.
pub const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];
/// Where the system in containers has certificates and the operator's key: in a volume, and a copy
/// of it beside docker-compose.yml.
const HOME_OF_CONTAINERS: &str = ".docker";

impl Settings {
    /// The same with `TLS=1`.
    pub fn encrypted(mut self) -> Self {
        let certificates = Certificates::at(&self.certificates());
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

    /// Whatever runs, on this machine or in containers, as it was started.
    pub fn as_started(self) -> Result<Self> {
        self.started_beside(HOME_OF_CONTAINERS.as_ref())
    }

    fn started_beside(self, containers: &Path) -> Result<Self> {
        let servers_run = || Home::new(&self).servers().is_ok_and(|servers| servers.any());
        let runs = |service: &Service| service.running().is_some();
        let services_run = || Service::wanted(&self).is_ok_and(|all| all.iter().any(runs));
        if !containers.exists() || servers_run() || services_run() {
            return Ok(self);
        }
        let settings = Self { home: std::path::absolute(containers)?, ..self };
        Ok(if settings.has_certificates() { settings.encrypted() } else { settings })
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

fn delete(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(why).with_context(|| format!("cannot delete {}", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use servers::Process;

    #[test]
    fn a_folder_of_containers_hides_no_service_that_runs_here() {
        let dir = tempfile::tempdir().unwrap();
        let [home, containers] = ["home", "containers"].map(|name| dir.path().join(name));
        for dir in [&home.join("pids"), &containers] {
            std::fs::create_dir_all(dir).unwrap();
        }
        let started = || Settings::private(&home, &[]).unwrap().started_beside(&containers);
        assert_eq!(started().unwrap().home, containers);
        // The servers have died, and it goes on without them.
        let this = Process::of(std::process::id()).unwrap();
        this.record(&home.join("pids/shipping")).unwrap();
        assert_eq!(started().unwrap().home, home);
    }
}
