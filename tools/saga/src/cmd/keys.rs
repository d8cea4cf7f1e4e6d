//! `saga keys`: creates, lists and revokes API keys. Each change is recorded as an act.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use kit::endpoints::endpoints;
use kit::output::{self, Table};
use messaging::SystemEnv;
use order::keys::{ApiKey, Role, client_name};
use order::store;
use serde_json::json;

use crate::actor::ActorArgs;
use crate::database;

/// Create, list and revoke API keys
///
/// They are needed where the order service runs with API_KEYS=required. What is stored of a key is
/// a digest: it is shown once.
#[derive(Args)]
#[command(after_help = "Examples:
  saga keys create shop                        for a client; it sees its own orders
  saga keys create anna --role operator --reason 'on call'
  saga keys list
  saga keys revoke 0123456789abcdef --reason 'it was in a log'")]
pub struct KeysCommand {
    #[command(subcommand)]
    command: Command,
    /// Endpoints file (JSON), instead of the settings
    #[arg(long, global = true, value_name = "FILE")]
    places: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Create a key, and print it: it is not shown again
    Create {
        /// Whose key it is; all keys of one client see the same orders
        #[arg(value_parser = client_name)]
        client: String,
        #[arg(long, value_enum, default_value_t)]
        role: Role,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        by: ActorArgs,
    },
    /// List the keys, without their secrets
    List,
    /// Revoke a key: it opens nothing from two seconds later on
    Revoke {
        /// The part of the key between qk_ and the next _
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        by: ActorArgs,
    },
}

impl KeysCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let endpoints = endpoints(self.places.as_deref()).await?;
        let mut databases = database::of_order(&endpoints).await?;
        let orders = databases.of("order")?;
        match self.command {
            Command::Create { client, role, reason, by } => {
                let key = ApiKey::new(&SystemEnv);
                let subject = format!("{} of {client}, {}", key.id(), role.name());
                let by = by.actor(orders, reason).await?;
                let act = by.act(&SystemEnv, "key.create", subject);
                store::begin_acts(&mut *orders, std::slice::from_ref(&act)).await?;
                store::create_key(&mut *orders, &key, &client, role).await?;
                let text = key.to_string();
                let told = json!({ "client": client, "role": role.name(), "key": text });
                let text = if self.json { serde_json::to_string_pretty(&told)? } else { text };
                let shown = output::only_copy(text);
                let outcome = if shown.is_ok() { "created" } else { "not shown, so revoked" };
                if shown.is_err() {
                    store::revoke_key(&mut *orders, key.id()).await?;
                }
                store::end_acts(orders, &[(act.id, outcome)]).await?;
                shown.context("the key is lost, and so revoked: create another")?;
                if !self.json {
                    eprintln!("saga: this key of {client} is not shown again; valid within 2 s");
                }
            }
            Command::List => {
                let all = store::list_keys(orders).await?;
                if self.json {
                    output::json(&all);
                    return Ok(ExitCode::SUCCESS);
                }
                let mut table = Table::new(&["id", "client", "role", "created", "revoked"]);
                for key in all {
                    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%F %T").to_string();
                    let revoked = key.revoked_at.map_or("-".into(), time);
                    let cells = [key.id, key.client, key.role, time(key.created_at), revoked];
                    table.row(cells.map(|cell| (None, cell)).into());
                }
                table.print();
            }
            Command::Revoke { id, reason, by } => {
                let by = by.actor(orders, reason).await?;
                let act = by.act(&SystemEnv, "key.revoke", id.clone());
                store::begin_acts(&mut *orders, std::slice::from_ref(&act)).await?;
                let is_revoked = store::revoke_key(&mut *orders, &id).await?;
                let outcome = if is_revoked { "revoked" } else { "no such key" };
                store::end_acts(orders, &[(act.id, outcome)]).await?;
                if !is_revoked {
                    bail!("no valid key has the id {id}: see `saga keys list`");
                }
                if self.json {
                    output::json(&json!({ "id": id, "revoked": true }));
                } else {
                    output::line(format_args!("{id} is revoked: it opens nothing within 2 s"));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
