//! Prints a verdict, and gives the shell its exit code.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use audit::{Checked, DeadLetter, Endpoints, Margins, Outcome, Stranded, Told, Verdict, Violation};
use events::ADD_ONS;

use crate::colour::Colour;
use crate::output::{self, LiveLine, count, some};
use crate::verify::{verify, verify_since};

/// The invariants, in the words of the design.
const INVARIANTS: [&str; 6] = [
    "every order answered 201 exists and reaches one final state, by a legal chain of causes",
    "charged and not reversed ⇔ CONFIRMED; one charge and one reversal at most; amounts equal",
    "per product 0 ≤ reserved ≤ total, and reserved is the sum of live reservations",
    "CONFIRMED ⇔ exactly one live shipment ⇔ one live reservation",
    "every event is published, and handled by each subscriber or dead-lettered; queues are empty",
    "the same event id has the same bytes everywhere",
];

/// Breaks of one invariant that are shown; JSON has them all.
const SHOWN_MAX: usize = 20;

/// The exit code.
pub const CANNOT_CHECK: u8 = 2;

/// In a busy system these may be broken for a moment.
const ONLY_IN_QUIET: [u8; 3] = [1, 4, 5];

/// Verifies, with the answers that clients got; on a terminal, a line shows what it waits for.
pub async fn judge(
    endpoints: &Endpoints,
    wait: Duration,
    told: &Told,
    is_shown: bool,
) -> Result<Verdict> {
    let mut live = LiveLine::new(is_shown);
    let verdict = verify(endpoints, wait, told, |news| live.show(news)).await;
    live.clear();
    verdict
}

/// Verifies, under load, the orders that changed since the last such check.
pub async fn judge_since(
    endpoints: &Endpoints,
    from_start: bool,
    is_shown: bool,
) -> Result<Verdict> {
    let mut live = LiveLine::new(is_shown);
    let verdict =
        verify_since(endpoints, Margins::default(), from_start, |news| live.show(news)).await;
    live.clear();
    verdict
}

pub fn report(verdict: &Result<Verdict>, is_shown: bool) -> ExitCode {
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(error) => {
            eprintln!("saga: cannot check: {}", output::reason(error));
            return ExitCode::from(CANNOT_CHECK);
        }
    };
    if is_shown {
        print(verdict);
    }
    match verdict.outcome {
        Outcome::Broken => ExitCode::FAILURE,
        Outcome::Clean if verdict.is_complete() => ExitCode::SUCCESS,
        Outcome::Clean | Outcome::Moving => ExitCode::from(CANNOT_CHECK),
    }
}

fn print(verdict: &Verdict) {
    let Checked { orders, facts, payments, reservations, shipments, .. } = verdict.checked;
    let (keys, queues) = (verdict.checked.idempotency_keys, verdict.checked.queues);
    let statuses = verdict.checked.orders_by_status.iter();
    let statuses = statuses.map(|(status, number)| format!("{} {status}", count(*number)));
    let statuses = statuses.collect::<Vec<_>>().join(", ");
    let statuses = if orders == 0 { String::new() } else { format!(" ({statuses})") };
    output::line(format_args!(
        "checked {}{statuses}, {}, {}, {}, {}, {}, {}",
        some(orders, "order"),
        some(facts, "fact"),
        some(payments, "payment"),
        some(reservations, "reservation"),
        some(shipments, "shipment"),
        some(keys, "idempotency key"),
        some(queues, "queue"),
    ));
    if verdict.left > 0 {
        let left = some(verdict.left, "order");
        output::line(format_args!("{left} open, or with a violation: looked at again next time"));
    }
    if verdict.young > 0 {
        let young = some(verdict.young, "order");
        output::line(format_args!("{young} of the last minute: not judged yet"));
    }
    print_letters("dead letter in", &verdict.dead_letters);
    if !verdict.purged.is_empty() {
        let purged = some(verdict.purged.len(), "dead letter");
        output::line(format_args!("{purged} purged: `saga audit` tells by whom, and why"));
    }
    let letters = verdict.dead_letters.iter().chain(&verdict.purged);
    let letters = letters.filter(|letter| !letter.is_beside(ADD_ONS));
    let stopped: BTreeSet<_> = letters.filter_map(|letter| letter.order_id).collect();
    if !stopped.is_empty() {
        let stopped = some(stopped.len(), "order");
        output::line(format_args!(
            "{stopped} stopped there: of them, only what must hold at every moment is checked"
        ));
    }
    for one in verdict.stranded.iter().take(SHOWN_MAX) {
        output::line(tell(one));
    }
    more(verdict.stranded.len());
    if !verdict.repaired.is_empty() {
        let repaired = some(verdict.repaired.len(), "dead letter");
        output::line(format_args!("{repaired} repaired, under another id"));
    }
    for (number, what) in (1..).zip(INVARIANTS) {
        let breaks = verdict.violations.iter().filter(|found| found.invariant == number);
        let is_told = verdict.quiet || !ONLY_IN_QUIET.contains(&number);
        print_invariant(number, what, is_told, &breaks.collect::<Vec<_>>());
    }
    for (service, why) in &verdict.unchecked {
        let why = why.as_deref().unwrap_or("no address of its database is given");
        output::line(format_args!("{service} is not checked: {why}"));
    }
    if !verdict.restless.is_empty() {
        output::line(format_args!("not idle after the wait: {}", verdict.restless.join(", ")));
    }
    if verdict.outcome == Outcome::Moving {
        output::line("the system is not idle: stop its load, or wait longer with --wait");
    }
}

fn tell(Stranded { order_id, status, amount, queue }: &Stranded) -> String {
    let word = output::coloured(Some(Colour::Yellow), "charged");
    let status = status.unwrap_or("unknown to order");
    format!(
        "{word} {amount} for order {order_id}, which is {status}, and its message in {queue} was \
         purged: `saga dlq import` of an export or `saga replay --to {queue} --since …` brings it \
         back; else refund it"
    )
}

fn print_letters(what: &str, letters: &[DeadLetter]) {
    for letter in letters.iter().take(SHOWN_MAX) {
        let unknown = || "unknown".to_owned();
        let order = letter.order_id.map_or_else(unknown, |id| id.to_string());
        let reason = output::tame(letter.reason.as_deref().unwrap_or("no reason given"));
        output::line(format_args!("{what} {}, order {order}: {reason}", letter.queue));
    }
    more(letters.len());
}

fn print_invariant(number: u8, what: &str, is_told: bool, breaks: &[&Violation]) {
    let (colour, word) = match (breaks.is_empty(), is_told) {
        (true, true) => (Colour::Green, "holds "),
        (true, false) => (Colour::Cyan, "moving"),
        (false, _) => (Colour::Red, "BROKEN"),
    };
    output::line(format_args!("{} {number}  {what}", output::coloured(Some(colour), word)));
    for found in breaks.iter().take(SHOWN_MAX) {
        let order = found.order_id.map(|id| format!("order {id}: ")).unwrap_or_default();
        output::line(format_args!("          {order}{}", found.why));
    }
    more(breaks.len());
}

fn more(all: usize) {
    if all > SHOWN_MAX {
        output::line(format_args!("          and {} more: see --json", count(all - SHOWN_MAX)));
    }
}
