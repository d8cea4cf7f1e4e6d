//! `saga dlq`: lists, replays, repairs and purges dead letters.

mod list;
mod replay;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use audit::Broker;
use clap::{Args, Subcommand};
use dead_letters::{Done, Lease, Letter, Outcome};
use events::OrderId;
use kit::endpoints::endpoints;
use kit::output::{self, Table, some};
use order::acts::acts_of;
use order::store;

use crate::actor::ActorArgs;
use crate::database;
use crate::dlq::{self, DeadLetters, Pick};

const PARTLY_DONE: u8 = 3;

/// List, show, replay, repair and purge dead letters
///
/// Exits with 0 when all was done, 1 when nothing was, 3 when a part of it was.
#[derive(Args)]
#[command(after_help = "Examples:
  saga dlq list
  saga dlq show payment.order-created
  saga dlq replay --order 01a1fcc6-99ef-7b1d-a6ad-3fde23bb25c1
  saga dlq purge --reason 'no such order' --yes")]
pub struct DlqCommand {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    args: DlqArgs,
}

#[derive(Args)]
struct DlqArgs {
    /// Endpoints file (JSON), instead of the settings
    #[arg(long, global = true, value_name = "FILE")]
    places: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Why; recorded with each act on a dead letter
    #[arg(long, global = true, value_name = "REASON")]
    because: Option<String>,
    /// Act under this name [default: the client of QUADRILLE_KEY, else the user of this machine]
    #[arg(long = "as", global = true, value_name = "NAME")]
    name: Option<String>,
    /// Maximum of messages to read per queue
    #[arg(long, global = true, default_value_t = 10_000)]
    limit: usize,
}

#[derive(Subcommand)]
enum Command {
    /// List the dead-letter queues: count, age and reasons
    List,
    /// Show dead letters with headers, payload and the state of their orders
    Show(Which),
    Replay(replay::Replay),
    Purge(replay::Purge),
    Export(transfer::Export),
    Import(transfer::Import),
}

/// Filters of dead letters; all have to match.
#[derive(Args)]
struct Which {
    /// Those of this queue, such as payment.order-created
    queue: Option<String>,
    /// The one with this message id
    #[arg(long)]
    event: Option<String>,
    /// Those of this order
    #[arg(long)]
    order: Option<OrderId>,
    /// Those whose reason contains this
    #[arg(long)]
    reason: Option<String>,
}

impl From<Which> for Pick {
    fn from(Which { queue, event, order, reason }: Which) -> Self {
        Self { queue, event, order, reason }
    }
}

impl DlqCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let args = self.args;
        match self.command {
            Command::List => list::list(&args).await,
            Command::Show(which) => list::show(&args, &which.into()).await,
            Command::Replay(replay) => replay.run(&args).await,
            Command::Purge(purge) => purge.run(&args).await,
            Command::Export(export) => export.run(&args).await,
            Command::Import(import) => import.run(&args).await,
        }
    }
}

impl DlqArgs {
    async fn connect(&self) -> Result<DeadLetters> {
        let endpoints = endpoints(self.places.as_deref()).await?;
        DeadLetters::connect_as(&endpoints, &self.by(), self.because.clone()).await
    }

    fn by(&self) -> ActorArgs {
        ActorArgs { name: self.name.clone() }
    }

    /// An export reads only, and goes on where order's database is down.
    async fn record_export(&self, letters: &[&Letter]) {
        let recorded = async {
            let endpoints = endpoints(self.places.as_deref()).await?;
            let mut databases = database::of_order(&endpoints).await?;
            let orders = databases.of("order")?;
            let by = self.by().actor(orders, self.because.clone()).await?;
            let acts = acts_of(&by, "dlq.export", letters);
            store::begin_acts(&mut *orders, &acts).await?;
            let ends: Vec<_> = acts.iter().map(|act| (act.id, "exported")).collect();
            anyhow::Ok(store::end_acts(orders, &ends).await?)
        };
        if let Err(why) = recorded.await {
            eprintln!("saga: the export is not recorded: {why:#}");
        }
    }

    async fn take(&self, letters: &DeadLetters, pick: &Pick) -> Result<Lease> {
        Ok(self.warned(letters.take(pick, self.limit).await?))
    }

    /// Uses no database: one that is down may be the reason for this command. The lease owns the
    /// connection.
    async fn look(&self, pick: &Pick) -> Result<(Broker, Lease)> {
        let broker = Broker::connect(&endpoints(self.places.as_deref()).await?).await?;
        let lease = dlq::take(&broker, pick, self.limit).await?;
        Ok((broker, self.warned(lease)))
    }

    /// Warns on standard error where the limit left messages unread.
    fn warned(&self, lease: Lease) -> Lease {
        for (queue, more) in &lease.unseen {
            eprintln!("saga: {queue} holds {more} more than --limit {}", self.limit);
        }
        lease
    }

    /// Nothing matches: that is a success only without a filter, and where no other command holds
    /// dead letters.
    async fn nothing(&self, pick: &Pick, broker: &Broker) -> Result<ExitCode> {
        let held = dlq::held(broker, pick).await?;
        if self.json {
            output::json(&[(); 0]);
        }
        if !held.is_empty() {
            let held = held.iter().map(|(queue, count)| format!("{count} of {queue}"));
            let held = held.collect::<Vec<_>>().join(", ");
            eprintln!("saga: another command holds dead letters ({held}): retry once it has ended");
            return Ok(ExitCode::FAILURE);
        }
        if pick.is_everything() {
            eprintln!("saga: there are no dead letters");
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("saga: no dead letter matches: see `saga dlq list`");
        Ok(ExitCode::FAILURE)
    }

    /// The outcome of each message, and the exit code for all.
    fn report(&self, all: &[Done]) -> ExitCode {
        if self.json {
            output::json(&all);
        } else {
            let mut table = Table::new(&["outcome", "event", "id", "order", "what"]);
            for done in all {
                table.row(vec![
                    (Some(colour(done.outcome)), done.outcome.word().into()),
                    (None, output::tame(done.event.as_deref().unwrap_or("-"))),
                    (None, output::tame(done.message_id.as_deref().unwrap_or("-"))),
                    (None, done.order_id.map_or("-".into(), |order| order.to_string())),
                    (None, output::tame(&done.detail)),
                ]);
            }
            table.print();
        }
        let done = all.iter().filter(|done| done.outcome.is_done()).count();
        if !self.json {
            output::line(format_args!("{done} of {} done", some(all.len(), "dead letter")));
        }
        match done {
            done if done == all.len() => ExitCode::SUCCESS,
            0 => ExitCode::FAILURE,
            _ => ExitCode::from(PARTLY_DONE),
        }
    }
}

const fn colour(outcome: Outcome) -> kit::colour::Colour {
    use kit::colour::Colour;
    match outcome {
        Outcome::Refused => Colour::Yellow,
        Outcome::Failed => Colour::Red,
        _ => Colour::Green,
    }
}

fn since(letter: &Letter) -> Option<chrono::DateTime<chrono::Utc>> {
    letter.died_at().or_else(|| letter.said_at())
}
