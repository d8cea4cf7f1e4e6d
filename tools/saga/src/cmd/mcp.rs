//! `saga mcp`: serves other commands of `saga` as tools of the Model Context Protocol, by standard
//! input and output.

use std::io::{self, stdin, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use events::OrderId;
use kit::endpoints::endpoints;
use kit::keys;
use kit::settings::Settings;
use order::keys::{ApiKey, Role};
use order::store;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig};
use rmcp::schemars::JsonSchema;
use rmcp::{ServerHandler, ServiceExt, tool, tool_handler, tool_router};
use serde::Deserialize;
use serde_json::Value;
use tokio::fs::File;
use tokio::process::Command;

use crate::database;

const ACTS: [&str; 2] = ["replay", "cancel"];
const ABOUT: &str = "Looks into a choreographed order saga: four services that communicate by \
    events. Begin with doctor or dead_letters; why explains one order. Acts change the system.";
/// Longer lists and waits are cut to these.
const EVENTS_MAX: u32 = 500;
const SECONDS_MAX: u32 = 60;

/// Serve agents: orders, dead letters and checks as tools (MCP, by stdin and stdout)
///
/// Each tool is a command of saga, and returns what that prints with --json. Without --act they
/// only read. With it, replay and cancel are offered too: they need an operator's key, by
/// --key-file, QUADRILLE_KEY or the one that `saga up` makes, and a reason, and are recorded
/// (`saga audit`); a cancel is where the order service asks for keys.
#[derive(Args, Clone)]
#[command(after_help = "Example:
  { \"mcpServers\": { \"saga\": { \"command\": \"saga\", \"args\": [\"mcp\"] } } }")]
pub struct Mcp {
    /// Offer acts too: replay, cancel
    #[arg(long)]
    act: bool,
    /// File with the API key, instead of QUADRILLE_KEY and of the one that `saga up` makes
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The order service [default: http://127.0.0.1:$ORDER_HTTP_PORT]
    #[arg(long)]
    url: Option<String>,
    /// Endpoints file (JSON), instead of the settings
    #[arg(long, value_name = "FILE")]
    places: Option<PathBuf>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct AnOrder {
    /// Its id; for `why` a unique beginning or end of it will do
    order: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Orders {
    /// Only those in this status, such as CONFIRMED
    status: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Events {
    /// Ends after so many events: 500 at most, 20 by default
    count: Option<u32>,
    /// Ends after so many seconds: 60 at most, 10 by default
    seconds: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Wait {
    /// For so many seconds until the system is idle: 60 at most, 20 by default
    seconds: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Letters {
    /// Those of this order only, with headers and payload
    order: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Act {
    /// The order's whole id
    order: String,
    /// Why; recorded with the act, of a cancel where the order service asks for keys
    reason: String,
}

#[derive(Clone)]
struct Server {
    settings: Mcp,
    tool_router: ToolRouter<Self>,
}

impl Mcp {
    pub async fn run(self) -> Result<ExitCode> {
        let mut tool_router = Server::tool_router();
        if self.act {
            self.operators_key().await?;
        } else {
            ACTS.iter().for_each(|act| tool_router.remove_route(act));
        }
        // It examines this machine, where those endpoints need not be.
        if self.places.is_some() {
            tool_router.remove_route("doctor");
        }
        let server = Server { settings: self, tool_router };
        let streams = (file(&stdin())?, file(&stdout())?);
        server.serve(streams).await?.waiting().await?;
        Ok(ExitCode::SUCCESS)
    }

    /// The database says whether it is one: order itself asks for no key by default.
    async fn operators_key(&self) -> Result<ApiKey> {
        let key = match &self.key_file {
            Some(file) => Some(keys::of_file(file)?),
            None => keys::of(&Settings::of_running()?)?,
        };
        let needed = "acts need an operator's key: `saga keys create <name> --role operator` makes \
                      one, for --key-file or QUADRILLE_KEY";
        let key = key.context(needed)?;
        let mut databases = database::of_order(&endpoints(self.places.as_deref()).await?).await?;
        let holder = store::holder_of(databases.of("order")?, &key).await?;
        let is_operator = holder.is_some_and(|(_, role)| role.parse().is_ok_and(Role::operates));
        ensure!(is_operator, "this key is not valid, or not an operator's; {needed}");
        Ok(key)
    }

    /// Runs a command of saga, and returns what it prints.
    async fn saga(&self, arguments: &[&str], key: Option<&ApiKey>) -> Result<CallToolResult> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).arg("--json").stdin(Stdio::null()).kill_on_drop(true);
        match (arguments[0], &self.url, &self.places) {
            ("order" | "tail", Some(url), _) => command.args(["--url", url]),
            ("why" | "verify" | "dlq", _, Some(places)) => command.arg("--places").arg(places),
            _ => &mut command,
        };
        if let ("order" | "tail", Some(file)) = (arguments[0], &self.key_file) {
            command.arg("--key-file").arg(file);
        }
        if let Some(key) = key {
            command.env("QUADRILLE_KEY", key.to_string());
        }
        let output = command.output().await?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if text.is_empty() && !output.status.success() {
            return Ok(CallToolResult::error(vec![ContentBlock::text(why)]));
        }
        let structured = serde_json::from_str(&text).ok().filter(Value::is_object);
        let mut told = vec![ContentBlock::text(text)];
        // Such as: more than was read.
        if !why.is_empty() {
            told.push(ContentBlock::text(why));
        }
        let mut result = CallToolResult::success(told);
        result.structured_content = structured;
        Ok(result)
    }
}

fn file(stream: &impl AsFd) -> io::Result<File> {
    Ok(File::from_std(stream.as_fd().try_clone_to_owned()?.into()))
}

#[tool_router]
impl Server {
    /// An order: status, items, timeline with causes
    #[tool(annotations(read_only_hint = true))]
    async fn order(&self, Parameters(AnOrder { order }): Parameters<AnOrder>) -> CallToolResult {
        self.read_of(&["order", "get"], &order).await
    }

    /// The newest orders
    #[tool(annotations(read_only_hint = true))]
    async fn orders(&self, Parameters(Orders { status }): Parameters<Orders>) -> CallToolResult {
        match status {
            Some(status) => self.read(&["order", "list", &format!("--status={status}")]).await,
            None => self.read(&["order", "list"]).await,
        }
    }

    /// Where an order is, which step is missing, which service has to act, and where its message is
    #[tool(annotations(read_only_hint = true))]
    async fn why(&self, Parameters(AnOrder { order }): Parameters<AnOrder>) -> CallToolResult {
        self.read_of(&["why"], &order).await
    }

    /// Events of all orders as they happen, one JSON object a line
    #[tool(annotations(read_only_hint = true))]
    async fn tail(&self, Parameters(asked): Parameters<Events>) -> CallToolResult {
        let count = asked.count.unwrap_or(20).min(EVENTS_MAX).to_string();
        let seconds = format!("{}s", asked.seconds.unwrap_or(10).min(SECONDS_MAX));
        self.read(&["tail", "--count", &count, "--for", &seconds]).await
    }

    /// Checks every invariant across the databases and the broker, once they are idle
    #[tool(annotations(read_only_hint = true))]
    async fn verify(&self, Parameters(Wait { seconds }): Parameters<Wait>) -> CallToolResult {
        let seconds = seconds.unwrap_or(20).min(SECONDS_MAX).to_string();
        self.read(&["verify", "--wait", &seconds]).await
    }

    /// What is wrong on this machine and in the running system, and how to mend it
    #[tool(annotations(read_only_hint = true))]
    async fn doctor(&self) -> CallToolResult {
        self.read(&["doctor"]).await
    }

    /// The dead-letter queues with counts and reasons, or the dead letters of one order
    #[tool(annotations(read_only_hint = true))]
    async fn dead_letters(
        &self,
        Parameters(Letters { order }): Parameters<Letters>,
    ) -> CallToolResult {
        match order {
            Some(order) => self.read(&["dlq", "show", &format!("--order={order}")]).await,
            None => self.read(&["dlq", "list"]).await,
        }
    }

    /// Replays an order's dead letters; each is handled once, however often it is replayed
    #[tool(annotations(destructive_hint = false, idempotent_hint = true))]
    async fn replay(&self, Parameters(act): Parameters<Act>) -> CallToolResult {
        let reason = format!("--because={}", act.reason);
        self.act(&act, &["dlq", "replay", "--order", &act.order, &reason]).await
    }

    /// Asks for an order to be cancelled; money and stock go back
    #[tool(annotations(destructive_hint = true, idempotent_hint = true))]
    async fn cancel(&self, Parameters(act): Parameters<Act>) -> CallToolResult {
        let reason = format!("--reason={}", act.reason);
        self.act(&act, &["order", "cancel", &act.order, &reason]).await
    }

    async fn read(&self, arguments: &[&str]) -> CallToolResult {
        told(self.settings.saga(arguments, None).await)
    }

    /// What is no digit of an id could be an option.
    async fn read_of(&self, arguments: &[&str], order: &str) -> CallToolResult {
        let is_digit = |c: u8| c.is_ascii_hexdigit() || c == b'-';
        if order.starts_with('-') || !order.bytes().all(is_digit) {
            return told(Err(anyhow::anyhow!("{order:?} is not an order's id, nor a part of one")));
        }
        self.read(&[arguments, &[order]].concat()).await
    }

    async fn act(&self, act: &Act, arguments: &[&str]) -> CallToolResult {
        let acting = async {
            ensure!(!act.reason.trim().is_empty(), "say why in reason: it is recorded");
            act.order.parse::<OrderId>().context("order must be a whole id")?;
            let key = self.settings.operators_key().await?;
            self.settings.saga(arguments, Some(&key)).await
        };
        told(acting.await)
    }
}

/// A failure is for the agent to read.
fn told(result: Result<CallToolResult>) -> CallToolResult {
    result.unwrap_or_else(|why| CallToolResult::error(vec![ContentBlock::text(format!("{why:#}"))]))
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = Implementation::new("saga", env!("CARGO_PKG_VERSION"));
        info.instructions = Some(ABOUT.into());
        info
    }
}
