//! `saga status`: shows what runs, where, and whether it is ready.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use futures::future::join_all;
use kit::colour::{Colour, paint};
use kit::home::Home;
use kit::say;
use kit::service::Service;
use kit::settings::{Gateway, Settings};
use labels::span;
use serde_json::{Value, json};
use servers::{Postgres, Process, RabbitMq};

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
    process: Option<Process>,
    ports: Vec<u16>,
    ready: bool,
    /// Why it is not ready.
    trouble: Option<String>,
}

impl Status {
    pub async fn run(self) -> Result<ExitCode> {
        let settings = Settings::read()?;
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
    let mock_gateway = Service::mock_gateway(settings)?;
    if mock_gateway.running().is_some() && settings.gateway == Gateway::Simulated {
        services.push(mock_gateway);
    }
    let mut rows = join_all(services.iter().map(|service| async {
        let ready = service.is_ready().await;
        Row {
            name: service.name.to_owned(),
            process: service.running(),
            ports: service.port.into_iter().collect(),
            ready,
            trouble: if ready { None } else { service.trouble().await },
        }
    }))
    .await;
    let servers = Home::new(settings).servers()?;
    rows.push(Row {
        name: "rabbitmq".to_owned(),
        process: servers.rabbitmq.as_ref().map(RabbitMq::process),
        ports: vec![settings.rabbitmq_port, settings.rabbitmq_management_port],
        ready: match &servers.rabbitmq {
            Some(rabbitmq) => rabbitmq.is_ready().await,
            None => false,
        },
        trouble: None,
    });
    for (database, postgres) in settings.databases.iter().zip(&servers.postgres) {
        rows.push(Row {
            name: format!("postgres {}", database.service),
            process: postgres.as_ref().map(Postgres::process),
            ports: vec![database.port],
            ready: postgres.as_ref().is_some_and(Postgres::is_ready),
            trouble: None,
        });
    }
    Ok(rows)
}

impl Row {
    fn state(&self) -> (&'static str, Colour) {
        match (self.process, self.ready) {
            (None, _) => ("stopped", Colour::Red),
            (Some(_), false) => ("not ready", Colour::Yellow),
            (Some(_), true) => ("ready", Colour::Green),
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
        let trouble = self.trouble.as_ref().map(|why| format!("  {why}"));
        (line.trim_end().to_owned() + &trouble.unwrap_or_default()).trim_end().to_owned()
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "state": self.state().0,
            "ready": self.ready,
            "trouble": self.trouble,
            "pid": self.process.map(|process| process.pid),
            "ports": self.ports,
            "up_seconds": self.process.and_then(|process| process.age()).map(|age| age.as_secs()),
        })
    }
}
