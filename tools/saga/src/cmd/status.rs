//! `saga status`: shows what runs, where, and whether it is ready.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use futures::future::join_all;
use kit::colour::{Colour, paint};
use kit::home::{Home, Server, Servers};
use kit::primary::{Part, candidates};
use kit::say;
use kit::service::Service;
use kit::settings::{Gateway, Settings};
use labels::span;
use serde_json::{Value, json};
use servers::{HaProxy, Postgres, Process, RabbitMq};

use crate::compose::{Compose, Container, container_of};

/// Show what runs, with pid, port and readiness
#[derive(Args)]
#[command(after_help = "Example:
  saga status --json | jq .ready")]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

struct Row {
    name: String,
    runs: bool,
    /// None for a container.
    process: Option<Process>,
    ports: Vec<u16>,
    /// Of a Postgres that has a standby, or is one.
    role: Option<&'static str>,
    ready: bool,
    /// Why it is not ready.
    trouble: Option<String>,
}

impl Status {
    pub async fn run(self) -> Result<ExitCode> {
        let settings = Settings::of_running()?;
        let rows = rows(&settings).await?;
        if self.json {
            let ready = rows.iter().all(|row| row.ready);
            let parts: Vec<Value> = rows.iter().map(Row::json).collect();
            say!("{:#}", json!({ "ready": ready, "parts": parts }));
        } else {
            say!("{:<20} {:<9} {:>8} {:>8}  PORT", "NAME", "STATE", "PID", "UP");
            for row in &rows {
                say!("{}", row.line());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn rows(settings: &Settings) -> Result<Vec<Row>> {
    let mut services = Service::wanted(settings)?;
    let home = Home::new(settings);
    if !home.is_there()
        && let Ok((compose, containers)) = Compose::attach().await
    {
        return Ok(self::containers(settings, &compose, &containers).await);
    }
    let mock_gateway = Service::mock_gateway(settings)?;
    if mock_gateway.running().is_some() && settings.gateway == Gateway::Simulated {
        services.push(mock_gateway);
    }
    let mut rows = join_all(services.iter().map(|service| async {
        let ready = service.is_ready().await;
        let process = service.running();
        Row {
            name: service.name.to_owned(),
            runs: process.is_some(),
            process,
            ports: service.port.into_iter().collect(),
            role: None,
            ready,
            trouble: if ready { None } else { service.trouble().await },
        }
    }))
    .await;
    rows.extend(servers(&home.servers()?).await);
    Ok(rows)
}

async fn containers(settings: &Settings, compose: &Compose, all: &[Container]) -> Vec<Row> {
    let mut parts = Vec::new();
    if settings.is_cluster {
        for database in &settings.databases {
            parts.extend(candidates(settings, database).await);
        }
    }
    let role_at = |ports: &[u16]| {
        let part = parts.iter().find(|one| ports.contains(&one.listener.0))?;
        part.part.as_ref().ok().copied().map(Part::name)
    };
    let published: Vec<_> = settings.container_ports();
    let mut rows: Vec<Row> = all
        .iter()
        .map(|one| {
            let own = published.iter().filter(|it| container_of(settings, it.1) == one.name);
            let ports: Vec<u16> = own.map(|(port, _)| *port).collect();
            Row {
                name: compose.name_of(one),
                runs: one.is_running(),
                process: None,
                role: role_at(&ports),
                ports,
                ready: compose.is_ready(one),
                trouble: one.trouble(),
            }
        })
        .collect();
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    rows
}

async fn servers(servers: &Servers) -> Vec<Row> {
    let mut rows = Vec::new();
    for server in &servers.rabbitmq {
        let ready = match &server.running {
            Some(rabbitmq) => rabbitmq.is_ready().await,
            None => false,
        };
        rows.push(row(server, server.running.as_ref().map(RabbitMq::process), ready));
    }
    for server in &servers.postgres {
        let postgres = server.running.as_ref();
        let ready = postgres.is_some_and(Postgres::is_ready);
        let mut row = row(server, postgres.map(Postgres::process), ready);
        row.role = postgres.and_then(Postgres::role);
        rows.push(row);
    }
    if let Some(server) = &servers.proxy {
        let proxy = server.running.as_ref();
        rows.push(row(server, proxy.map(HaProxy::process), proxy.is_some_and(HaProxy::is_ready)));
    }
    rows
}

fn row<T>(server: &Server<T>, process: Option<Process>, ready: bool) -> Row {
    let ports = server.ports.iter().map(|(port, _)| *port).collect();
    let (runs, trouble) = (process.is_some(), process.and_then(|process| process.frozen()));
    Row { name: server.name.clone(), runs, process, ports, role: None, ready, trouble }
}

impl Row {
    fn state(&self) -> (&'static str, Colour) {
        match (self.runs, self.ready) {
            (false, _) => ("stopped", Colour::Red),
            (true, false) => ("not ready", Colour::Yellow),
            (true, true) => ("ready", Colour::Green),
        }
    }

    fn line(&self) -> String {
        let (state, colour) = self.state();
        let state = paint(colour, &format!("{state:<9}"));
        let pid = self.process.map_or("-".to_owned(), |process| process.pid.to_string());
        let age = self.process.and_then(|process| process.age());
        let age = age.and_then(|age| i64::try_from(age.as_millis()).ok());
        let age = age.map_or("-".to_owned(), span);
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        let line = format!("{:<20} {state} {pid:>8} {age:>8}  {}", self.name, ports.join(", "));
        let role = self.role.map(|role| format!("  {role}")).unwrap_or_default();
        let trouble = self.trouble.as_ref().map(|why| format!("  {why}")).unwrap_or_default();
        (line.trim_end().to_owned() + &role + &trouble).trim_end().to_owned()
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "state": self.state().0,
            "ready": self.ready,
            "trouble": self.trouble,
            "pid": self.process.map(|process| process.pid),
            "ports": self.ports,
            "role": self.role,
            "up_seconds": self.process.and_then(|process| process.age()).map(|age| age.as_secs()),
        })
    }
}
