//! `saga certify` and `saga welcome`: run in the `saga` image, for docker-compose.yml.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use kit::keys;
use kit::settings::{NAMES, Settings};
use servers::{Certificates, SERVER};

use crate::compose::container_of;
use crate::urls::Urls;
use crate::welcome;

/// Make the containers' certificates where they are missing or about to expire
///
/// All are in SAGA_HOME/certificates; SAGA_HOME/<name> has those of one container.
#[derive(Args)]
#[command(hide = true)]
pub struct Certify {}

/// Print the addresses, and make the operator's key where keys are required
#[derive(Args)]
#[command(hide = true)]
pub struct Welcome {
    /// How long the start took
    #[arg(long, value_name = "SECONDS")]
    after: Option<u64>,
}

impl Certify {
    pub fn run(self) -> Result<ExitCode> {
        certify(&Settings::read()?)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn certify(settings: &Settings) -> Result<()> {
    let (dir, logins) = (settings.certificates(), settings.logins());
    if Certificates::at(&dir).serve(&logins) {
        return Ok(());
    }
    let ports = settings.container_ports();
    let hosts: Vec<_> = ports.iter().map(|(_, name)| container_of(settings, name)).collect();
    let hosts: Vec<&str> = NAMES.into_iter().chain(hosts.iter().map(String::as_str)).collect();
    let all = Certificates::make(&dir, &hosts, &logins)?;
    let lend = |names: &[&str], to: &str| {
        let to = settings.home.join(to);
        all.lend(names, &to).with_context(|| format!("cannot write into {}", to.display()))
    };
    lend(&[SERVER], "servers")?;
    lend(&[SERVER, "postgres"], "pairs")?;
    for database in &settings.databases {
        let mut names = vec![database.service, database.name];
        if database.service == "order" {
            names.extend([SERVER, settings.rabbitmq_user.as_str()]);
        }
        lend(&names, database.service)?;
    }
    Ok(())
}

impl Welcome {
    pub async fn run(self) -> Result<ExitCode> {
        let settings = Settings::of_running()?;
        keys::ensure_operator(&settings).await?;
        let took = self.after.map(Duration::from_secs);
        welcome::print(&settings, &Urls::with_logs(&settings, "make docker-logs"), took);
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    /// What a part of tls.yml names below `/certificates`.
    fn named(part: &str) -> BTreeSet<&str> {
        let paths = part.split("/certificates/").skip(1);
        paths.map(|rest| rest.split(['&', '\n']).next().unwrap().trim()).collect()
    }

    #[test]
    fn each_container_gets_the_certificates_that_its_settings_name_and_no_others() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().display().to_string();
        let settings = Settings::from(|name| (name == "SAGA_HOME").then(|| place.clone())).unwrap();
        certify(&settings).unwrap();
        let tls = tidy::read("deploy/docker/tls.yml").replace("${RABBITMQ_USER:-admin}", "admin");
        let (tls, _) = tls.split_once("\nvolumes:\n").unwrap();
        let (servers, services) = tls.split_once("\n  order:\n").unwrap();
        let services = format!("  order:\n{services}");
        let pairs = tidy::read("deploy/docker/tls-cluster.yml");
        let (_, pairs) = pairs.split_once("\nx-server:").unwrap();
        let (pairs, _) = pairs.split_once("\nservices:").unwrap();
        let mut parts: Vec<(&str, &str)> = vec![("servers", servers), ("pairs", pairs)];
        for part in services.split("\n\n") {
            parts.push((part.trim().split(':').next().unwrap(), part));
        }
        assert_eq!(parts.len(), 2 + settings.databases.len());
        for (name, part) in parts {
            let made = fs::read_dir(home.path().join(name)).unwrap();
            let made: Vec<_> = made.map(|file| file.unwrap().file_name()).collect();
            let made: BTreeSet<_> = made.iter().map(|name| name.to_str().unwrap()).collect();
            let mut named = named(part);
            // RabbitMQ's settings and Postgres' scripts name it.
            match name {
                "servers" => named.extend(["server.key"]),
                "pairs" => named.extend(["server.key", "postgres.pem", "postgres.key"]),
                _ => {}
            }
            assert_eq!(made, named, "{name}");
            let mounted = [format!("subpath: {name} "), format!("{name}:/certificates:ro")];
            assert!(mounted.iter().any(|one| part.contains(one)), "{name}");
        }
        let key = || fs::read(home.path().join("order/order.key")).unwrap();
        let before = key();
        certify(&settings).unwrap();
        assert_eq!(key(), before, "they are kept");
    }
}
