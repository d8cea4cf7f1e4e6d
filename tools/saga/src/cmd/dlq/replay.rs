//! `saga dlq replay` and `purge`: remove dead letters from their queues.

use std::io::{IsTerminal, stdin};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use dead_letters::{Lease, Letter, ReplayPlan};
use events::OrderId;
use kit::colour::Colour;
use kit::output::{self, Table, some};
use serde_json::{Value, json};

use super::{DlqArgs, Which, list};
use crate::dlq::{DeadLetters, Pick};

/// Charged orders that a question names.
const CHARGED_MAX: usize = 20;

/// Replay dead letters into their original queues
///
/// Only into that queue and under their own ids, so that none is handled twice.
#[derive(Args)]
pub struct Replay {
    #[command(flatten)]
    named: Named,
    /// Only show what would happen to each
    #[arg(long)]
    dry_run: bool,
}

/// Purge dead letters for good
///
/// A purge is recorded in the consumer's database, where `saga verify` finds it.
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
    pub async fn run(self, args: &DlqArgs) -> Result<ExitCode> {
        let Self { named: Named { which, all, yes }, dry_run } = self;
        with_hand(args, which, async |letters, lease| {
            if dry_run {
                let judged = letters.judge(&lease.letters()).await?;
                let plans = judged.into_iter().map(|(_, plan)| plan).collect::<Vec<_>>();
                tell(&lease.letters(), &plans, args.json);
                return Ok(ExitCode::SUCCESS);
            }
            let question = format!("replay {}?", some(lease.taken.len(), "dead letter"));
            if all && !yes && !agreed(&question).await? {
                return Ok(ExitCode::FAILURE);
            }
            Ok(args.report(&letters.replay(lease).await?))
        })
        .await
    }
}

impl Purge {
    pub async fn run(self, args: &DlqArgs) -> Result<ExitCode> {
        let Named { which, yes, .. } = self.named;
        with_hand(args, which, async |letters, lease| {
            if !yes {
                tell_charged(&letters.charged(&lease.letters()).await?);
                let question = format!("purge {}?", some(lease.taken.len(), "dead letter"));
                if !agreed(&question).await? {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Ok(args.report(&letters.purge(lease).await?))
        })
        .await
    }
}

/// The customers who may pay for nothing.
fn tell_charged(orders: &[(OrderId, String)]) {
    for (order, amount) in orders.iter().take(CHARGED_MAX) {
        eprintln!("order {order} is charged {amount}, and may get nothing then");
    }
    if let Some(more) = orders.len().checked_sub(CHARGED_MAX).filter(|more| *more > 0) {
        eprintln!("and {} more that are charged", some(more, "order"));
    }
}

/// Leases the dead letters, and returns the rest to the queue; reports when there are none.
async fn with_hand(
    args: &DlqArgs,
    which: Which,
    act: impl AsyncFnOnce(&mut DeadLetters, &Lease) -> Result<ExitCode>,
) -> Result<ExitCode> {
    let pick = Pick::from(which);
    let mut letters = args.connect().await?;
    let lease = args.take(&letters, &pick).await?;
    let ended = match lease.taken.is_empty() {
        true => args.nothing(&pick, letters.broker()).await,
        false => act(&mut letters, &lease).await,
    };
    let given_back = lease.give_back().await;
    let code = ended?;
    given_back?;
    Ok(code)
}

fn tell(letters: &[&Letter], plans: &[ReplayPlan], is_json: bool) {
    let together = letters.iter().zip(plans);
    if is_json {
        let each = |(letter, plan): (&&Letter, &ReplayPlan)| {
            json!({
                "queue": letter.parked, "message_id": letter.message.id,
                "event": letter.message.kind, "order_id": letter.order_id(), "replay": plan,
            })
        };
        output::json(&together.map(each).collect::<Vec<Value>>());
        return;
    }
    let mut table = Table::new(&["event", "id", "order", "replay"]);
    for (letter, plan) in together {
        let colour = matches!(plan, ReplayPlan::Refused { .. }).then_some(Colour::Yellow);
        let optional = |text: &Option<String>| output::tame(text.as_deref().unwrap_or("-"));
        table.row(vec![
            (None, optional(&letter.message.kind)),
            (None, optional(&letter.message.id)),
            (None, optional(&letter.order_id().map(|order| order.to_string()))),
            (colour, output::tame(&list::told(plan))),
        ]);
    }
    table.print();
}

/// Asks for confirmation. The dead letters stay leased meanwhile, so that exactly the counted ones
/// are affected.
async fn agreed(question: &str) -> Result<bool> {
    ensure!(stdin().is_terminal(), "{question} stdin is not a terminal; pass --yes");
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
