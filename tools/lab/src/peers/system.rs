//! Starts Quadrille, or a peer of it, on private servers: a Postgres for each service, and
//! RabbitMQ for those that use it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use audit::{Outcome, Told};
use clap::ValueEnum;
use kit::system::Servers;
use kit::verify::verify;
use nix::sys::signal::Signal;
use serde::Serialize;
use serde_json::json;
use servers::{Lifetime, Running, background, ports, tail, until};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use super::shop::{Door, GOODS, Load, Shop};
use crate::bench::{Measured, named};
use crate::usage::{Group, MeasuredProcess, Meter};

/// The server's version, which npm installs.
const RESTATE: &str = "1.7.12";
const PACKAGE: &str = "@restatedev/restate-server";
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const VERIFIED_WITHIN: Duration = Duration::from_secs(60);

/// What each database has to say of the confirmed orders.
const SAID: [(&str, &str); 5] = [
    ("order", "SELECT count(*) FROM orders WHERE status = 'CONFIRMED'"),
    ("payment", "SELECT count(*) FROM charges WHERE status = 'APPROVED'"),
    ("inventory", "SELECT count(*) FROM reservations"),
    (
        "inventory",
        "SELECT (sum(1000000000 - available) / 2)::BIGINT FROM stock WHERE product < 1000",
    ),
    ("shipping", "SELECT count(*) FROM shipments"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// This system
    Quadrille,
    /// Four services as written by hand on RabbitMQ: a transaction a message, inbox, outbox
    Naive,
    /// A workflow per order on a Restate server
    Restate,
    /// A workflow per order by the library DBOS, on Postgres alone
    Dbos,
}

pub struct Started {
    pub shop: Shop,
    pub meter: Meter,
    system: System,
}

/// Fields are dropped in their order: the servers last.
enum System {
    Quadrille(Box<Measured>),
    Peer { programs: Vec<Running>, servers: Box<Servers> },
}

impl Peer {
    pub fn title(self) -> String {
        match self {
            Self::Quadrille => "Quadrille".into(),
            Self::Naive => "by hand: RabbitMQ, lapin, sqlx".into(),
            Self::Restate => format!("Restate {RESTATE}, Rust SDK"),
            Self::Dbos => "DBOS Transact for Rust".into(),
        }
    }

    /// Fails where something has to be built first; installs Restate's server.
    pub fn prepare(self, built: &Path) -> Result<()> {
        match self {
            Self::Quadrille => Ok(()),
            Self::Restate => install_restate(built).and(binary(built, "restate")).map(drop),
            Self::Naive => binary(built, "naive").map(drop),
            Self::Dbos => binary(built, "dbos").map(drop),
        }
    }
}

impl Started {
    /// Returns when its processes listen.
    pub async fn start(peer: Peer, dir: &Path, built: &Path) -> Result<Self> {
        if peer == Peer::Quadrille {
            return Self::quadrille(dir).await;
        }
        let mut servers = Servers::start(dir, &[]).await?;
        if peer != Peer::Naive {
            servers.brokers.nodes.clear();
        }
        let mut host =
            Host { dir, built, servers: &servers, programs: Vec::new(), measured: Vec::new() };
        let door = match peer {
            Peer::Restate => host.restate().await?,
            Peer::Dbos => format!("http://{}/orders", host.program("dbos", &[]).await?),
            _ => {
                let mut door = String::new();
                for service in ["shipping", "inventory", "payment", "order"] {
                    door = format!("http://{}/orders", host.program("naive", &[service]).await?);
                }
                door
            }
        };
        let Host { programs, mut measured, .. } = host;
        measured.extend(MeasuredProcess::of(&servers));
        let orders = servers.settings.databases[0].url();
        let shop = Shop::new(Door::Peer(door), &orders).await?;
        let system = System::Peer { programs, servers: Box::new(servers) };
        Ok(Self { shop, meter: Meter::of(measured), system })
    }

    async fn quadrille(dir: &Path) -> Result<Self> {
        let usual = named("as it is").map_err(anyhow::Error::msg)?[0];
        let measured = Measured::start(dir, usual).await?;
        let databases = &measured.system.endpoints.databases;
        GOODS.shelve(&databases["inventory"]).await?;
        let door = Door::Quadrille(measured.apis[0].clone());
        let shop = Shop::new(door, &databases["order"]).await?;
        let meter = measured.meter.clone();
        Ok(Self { shop, meter, system: System::Quadrille(Box::new(measured)) })
    }

    /// Places some orders that are undone, and compares the databases.
    pub async fn verify(&mut self) -> Result<()> {
        self.shop.sell(Load::undone(20)).await?;
        let servers = match &self.system {
            System::Quadrille(measured) => {
                let endpoints = &measured.system.endpoints;
                let found = verify(endpoints, VERIFIED_WITHIN, &Told::default(), |_| {}).await?;
                ensure!(found.outcome == Outcome::Clean, "`saga verify`: {:?}", found.violations);
                return Ok(());
            }
            System::Peer { servers, .. } => servers,
        };
        let confirmed = self.shop.placed["CONFIRMED"];
        for (service, count) in SAID {
            let database = servers.settings.database(service).context("it has a database")?;
            let mut connection = PgConnection::connect(&database.url()).await?;
            let found: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await?;
            ensure!(found == confirmed, "{found}, not {confirmed}, in {service}: {count}");
        }
        Ok(())
    }

    pub async fn end(self) {
        match self.system {
            System::Quadrille(measured) => measured.system.end().await,
            System::Peer { programs, .. } => drop(programs),
        }
    }
}

/// Runs the programs of a peer.
struct Host<'a> {
    dir: &'a Path,
    built: &'a Path,
    servers: &'a Servers,
    programs: Vec<Running>,
    measured: Vec<MeasuredProcess>,
}

impl Host<'_> {
    /// Starts a program of `tools/peers`; returns its address.
    async fn program(&mut self, program: &str, arguments: &[&str]) -> Result<String> {
        let settings = &self.servers.settings;
        let port = ports::free()?;
        let address = format!("127.0.0.1:{port}");
        let mut command = background(binary(self.built, program)?);
        command.args(arguments).env("LISTEN", &address).env("AMQP_URL", settings.amqp_url());
        for database in &settings.databases {
            let name = format!("{}_DATABASE_URL", database.service.to_uppercase());
            command.env(name, database.url());
        }
        let name = [&[program], arguments].concat().join(" ");
        self.run(&name, &mut command, port).await?;
        Ok(address)
    }

    /// The server, and the service that it calls; returns where orders are placed.
    async fn restate(&mut self) -> Result<String> {
        let server = install_restate(self.built)?;
        let service = self.program("restate", &[]).await?;
        let [node, ingress, admin] = [ports::free()?, ports::free()?, ports::free()?];
        let address = |port| format!("127.0.0.1:{port}");
        let mut command = background(server);
        command
            .arg("--base-dir")
            .arg(std::path::absolute(self.dir.join("restate-server"))?)
            .env("RESTATE_DISABLE_TELEMETRY", "true")
            .env("RESTATE_LISTEN_MODE", "tcp")
            .env("RESTATE_BIND_ADDRESS", address(node))
            .env("RESTATE_INGRESS__BIND_ADDRESS", address(ingress))
            .env("RESTATE_ADMIN__BIND_ADDRESS", address(admin))
            .env("RUST_LOG", "warn");
        self.run("restate-server", &mut command, ingress).await?;
        let deployment = json!({ "uri": format!("http://{service}") });
        let url = format!("http://{}/deployments", address(admin));
        let http = https::plain().no_proxy().build()?;
        let deadline = Instant::now() + STARTS_WITHIN;
        loop {
            let answer = http.post(&url).json(&deployment).send().await;
            match answer.and_then(reqwest::Response::error_for_status) {
                Ok(_) => return Ok(format!("http://{}/Saga/{{id}}/run/send", address(ingress))),
                Err(why) if Instant::now() >= deadline => bail!("Restate takes no service: {why}"),
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    async fn run(&mut self, name: &str, command: &mut Command, port: u16) -> Result<()> {
        let file = |end: &str| self.dir.join(format!("{}.{end}", name.replace(' ', "-")));
        let (log, lifetime) = (file("log"), Lifetime::Bound(self.servers.watchdog.clone()));
        let running = Running::start(command, &log, file("pid"), Signal::SIGKILL, &lifetime)?;
        let listens = || match running.is_alive() {
            true => ports::is_listened_on(port).then_some(true),
            false => Some(false),
        };
        let listens = until(STARTS_WITHIN, listens).await.unwrap_or(false);
        ensure!(listens, "{name} does not start; its log ends:\n{}", tail(&log, 15));
        let (name, process) = (name.to_owned(), running.process);
        self.measured.push(MeasuredProcess { name, group: Group::Services, process });
        self.programs.push(running);
        Ok(())
    }
}

fn binary(built: &Path, program: &str) -> Result<PathBuf> {
    let binary = built.join("release").join(program);
    let how = "build it first, as `make peers` does";
    ensure!(binary.is_file(), "{} is not there: {how}", binary.display());
    Ok(binary)
}

/// Its server is a package of npm, with a binary for each platform; returns the binary.
fn install_restate(built: &Path) -> Result<PathBuf> {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let folder = built.join(format!("restate-{RESTATE}"));
    let binary = folder.join(format!("node_modules/{PACKAGE}-linux-{arch}/bin/restate-server"));
    if binary.is_file() {
        return Ok(binary);
    }
    let package = format!("{PACKAGE}@{RESTATE}");
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-fund", "--no-audit", "--prefix"])
        .arg(&folder)
        .arg(&package);
    let output = npm.output().with_context(|| {
        format!(
            "npm is missing, which installs {package}: `apt-get install npm`, or leave Restate \
             out: `--only quadrille,naive,dbos`"
        )
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && binary.is_file(), "npm cannot install {package}: {said}");
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_not_built_says_how_to_build_it() {
        let error = Peer::Naive.prepare(Path::new("/nowhere")).unwrap_err().to_string();
        assert_eq!(
            error,
            "/nowhere/release/naive is not there: build it first, as `make peers` does"
        );
        Peer::Quadrille.prepare(Path::new("/nowhere")).unwrap();
    }
}
