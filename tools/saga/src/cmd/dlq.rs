//! `saga dlq`: looks at dead letters, sends them back, mends them, throws them away.

mod carry;
mod look;
mod settle;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use audit::Broker;
use clap::{Args, Subcommand};
use dead_letters::{Done, Hand, Letter, Outcome};
use events::OrderId;
use kit::draw::{self, Table, some};
use kit::endpoints::endpoints;

use crate::dlq::{self, DeadLetters, Pick};

const PARTLY_DONE: u8 = 3;

/// Look at dead letters, send them back, repair them, throw them away
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
    around: Around,
}

#[derive(Args)]
struct Around {
    /// Where everything is, as JSON, where that is not what the settings say
    #[arg(long, global = true, value_name = "FILE")]
    places: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Of each queue, look at no more than the first so many
    #[arg(long, global = true, default_value_t = 10_000)]
    limit: usize,
}

#[derive(Subcommand)]
enum Command {
    /// Show how many lie where, since when, and why
    List,
    /// Show dead letters with headers, payload and the state of their orders
    Show(Which),
    Replay(settle::Replay),
    Purge(settle::Purge),
    Export(carry::Export),
    Import(carry::Import),
}

/// Which dead letters; all of what is given must fit.
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
        let around = self.around;
        match self.command {
            Command::List => look::list(&around).await,
            Command::Show(which) => look::show(&around, &which.into()).await,
            Command::Replay(replay) => replay.run(&around).await,
            Command::Purge(purge) => purge.run(&around).await,
            Command::Export(export) => export.run(&around).await,
            Command::Import(import) => import.run(&around).await,
        }
    }
}

impl Around {
    async fn connect(&self) -> Result<DeadLetters> {
        DeadLetters::connect(&endpoints(self.places.as_deref())?).await
    }

    async fn take(&self, letters: &DeadLetters, pick: &Pick) -> Result<Hand> {
        Ok(self.warned(letters.take(pick, self.limit).await?))
    }

    /// Without any database: one that is away may be why somebody looks. The connection is the
    /// hand's.
    async fn look(&self, pick: &Pick) -> Result<(Broker, Hand)> {
        let broker = Broker::connect(&endpoints(self.places.as_deref())?).await?;
        let hand = dlq::take(&broker, pick, self.limit).await?;
        Ok((broker, self.warned(hand)))
    }

    /// Tells on standard error where there was more than was looked at.
    fn warned(&self, hand: Hand) -> Hand {
        for (queue, more) in &hand.unseen {
            eprintln!("saga: {queue} holds {more} more than --limit {}", self.limit);
        }
        hand
    }

    /// Nothing fits: that is well only where everything was meant.
    fn nothing(&self, pick: &Pick) -> ExitCode {
        if self.json {
            draw::json(&[(); 0]);
        }
        if pick.is_everything() {
            eprintln!("saga: there are no dead letters");
            return ExitCode::SUCCESS;
        }
        eprintln!(
            "saga: no dead letter fits: see `saga dlq list`, and try again when somebody else has \
             some in hand"
        );
        ExitCode::FAILURE
    }

    /// What was done to each, and how that is told to the shell.
    fn report(&self, all: &[Done]) -> ExitCode {
        if self.json {
            draw::json(&all);
        } else {
            let mut table = Table::new(&["outcome", "event", "id", "order", "what"]);
            for done in all {
                table.row(vec![
                    (Some(colour(done.outcome)), done.outcome.word().into()),
                    (None, draw::tame(done.event.as_deref().unwrap_or("-"))),
                    (None, draw::tame(done.message_id.as_deref().unwrap_or("-"))),
                    (None, done.order_id.map_or("-".into(), |order| order.to_string())),
                    (None, draw::tame(&done.detail)),
                ]);
            }
            table.print();
        }
        let done = all.iter().filter(|done| done.outcome.is_done()).count();
        if !self.json {
            draw::line(format_args!("{done} of {} done", some(all.len(), "dead letter")));
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
