//! `saga dlq replay` and `purge`: dead letters end, one way or the other.

use std::io::{IsTerminal, stdin};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use dead_letters::{Fate, Hand, Letter};
use kit::colour::Colour;
use kit::draw::{self, Table, some};
use serde_json::{Value, json};

use super::{Around, Which, look};
use crate::dlq::{DeadLetters, Pick};

/// Send dead letters back into the queues that they died in
///
/// Into that queue alone, under their own ids, so that nothing is handled twice.
#[derive(Args)]
pub struct Replay {
    #[command(flatten)]
    named: Named,
    /// Only tell what would happen to each
    #[arg(long)]
    dry_run: bool,
}

/// Throw dead letters away for good
///
/// What is purged is noted in the database of its hearer, where `saga verify` finds it.
#[derive(Args)]
pub struct Purge {
    #[command(flatten)]
    named: Named,
}

/// Something has to be named before anything is done.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("named").required(true).multiple(true)
    .args(["queue", "event", "order", "reason", "all"]))]
struct Named {
    #[command(flatten)]
    which: Which,
    /// All there are
    #[arg(long, conflicts_with_all = ["queue", "event", "order", "reason"])]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Replay {
    pub async fn run(self, around: &Around) -> Result<ExitCode> {
        let Self { named: Named { which, all, yes }, dry_run } = self;
        with_hand(around, which, async |letters, hand| {
            if dry_run {
                let judged = letters.judge(&hand.letters()).await?;
                let fates = judged.into_iter().map(|(_, fate)| fate).collect::<Vec<_>>();
                tell(&hand.letters(), &fates, around.json);
                return Ok(ExitCode::SUCCESS);
            }
            let question = format!("send {} back?", some(hand.taken.len(), "dead letter"));
            if all && !yes && !agreed(&question).await? {
                return Ok(ExitCode::FAILURE);
            }
            Ok(around.report(&letters.replay(hand).await?))
        })
        .await
    }
}

impl Purge {
    pub async fn run(self, around: &Around) -> Result<ExitCode> {
        let Named { which, yes, .. } = self.named;
        with_hand(around, which, async |letters, hand| {
            let question = format!("throw {} away?", some(hand.taken.len(), "dead letter"));
            if !yes && !agreed(&question).await? {
                return Ok(ExitCode::FAILURE);
            }
            Ok(around.report(&letters.purge(hand).await?))
        })
        .await
    }
}

/// Takes those dead letters, and gives back what is not done with; tells where there are none.
async fn with_hand(
    around: &Around,
    which: Which,
    act: impl AsyncFnOnce(&mut DeadLetters, &Hand) -> Result<ExitCode>,
) -> Result<ExitCode> {
    let pick = Pick::from(which);
    let mut letters = around.connect().await?;
    let hand = around.take(&letters, &pick).await?;
    let ended = match hand.taken.is_empty() {
        true => Ok(around.nothing(&pick)),
        false => act(&mut letters, &hand).await,
    };
    let given_back = hand.give_back().await;
    let code = ended?;
    given_back?;
    Ok(code)
}

fn tell(letters: &[&Letter], fates: &[Fate], is_json: bool) {
    let together = letters.iter().zip(fates);
    if is_json {
        let each = |(letter, fate): (&&Letter, &Fate)| {
            json!({
                "queue": letter.parked, "message_id": letter.message.id,
                "event": letter.message.kind, "order_id": letter.order_id(), "replay": fate,
            })
        };
        draw::json(&together.map(each).collect::<Vec<Value>>());
        return;
    }
    let mut table = Table::new(&["event", "id", "order", "replay"]);
    for (letter, fate) in together {
        let colour = matches!(fate, Fate::Refused { .. }).then_some(Colour::Yellow);
        let optional = |text: &Option<String>| draw::tame(text.as_deref().unwrap_or("-"));
        table.row(vec![
            (None, optional(&letter.message.kind)),
            (None, optional(&letter.message.id)),
            (None, optional(&letter.order_id().map(|order| order.to_string()))),
            (colour, draw::tame(&look::told(fate))),
        ]);
    }
    table.print();
}

/// Asks who sits there. Meanwhile the dead letters stay in hand: what is counted is what goes.
async fn agreed(question: &str) -> Result<bool> {
    ensure!(stdin().is_terminal(), "{question} Say --yes where nobody can be asked");
    eprint!("{question} [y/N] ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        stdin().read_line(&mut answer).map(|_| answer)
    });
    let is_agreed = matches!(answer.await??.trim(), "y" | "Y" | "yes");
    if !is_agreed {
        eprintln!("saga: nothing was done");
    }
    Ok(is_agreed)
}
