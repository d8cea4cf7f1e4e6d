//! `saga why`: shows where an order is, and what it waits for.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use kit::colour::Colour;
use kit::endpoints::endpoints;
use kit::output::{self, some};
use labels::span;
use messaging::{Env, SystemEnv};

use crate::why::{Aside, Beside, Charge, Did, Missing, Place, Report, Unread, why};

/// A message that is neither handled nor anywhere else for this long may be lost.
const LOST_AFTER: TimeDelta = TimeDelta::seconds(30);

/// Show why an order is stuck: the missing steps, and which service has to act
///
/// For each missing step: whether its service consumes, and where the message is. It needs order's
/// database; of the other databases and RabbitMQ it names those that cannot be read, and what that
/// leaves open.
#[derive(Args)]
#[command(after_help = "Example:
  saga why 01a1fcc6          a unique prefix or suffix of its id")]
pub struct WhyCommand {
    /// Order id, or a unique prefix or suffix; a suffix is looked for among the newest orders first
    order: String,
    /// Endpoints file (JSON), instead of the settings
    #[arg(long, value_name = "FILE")]
    places: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl WhyCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let report = why(&endpoints(self.places.as_deref()).await?, &self.order).await?;
        if self.json {
            output::json(&report);
        } else {
            print(&report, SystemEnv.now());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(report: &Report, now: DateTime<Utc>) {
    output::line(format_args!("order {}  {}", report.order_id, output::in_status(&report.status)));
    for passed in &report.timeline {
        let took = passed.took_ms.map(|ms| format!("  ({} after its cause)", span(ms)));
        let line = output::step(&passed.step, report.placed_at);
        output::line(format_args!("{line}{}", took.unwrap_or_default()));
    }
    if !report.beside.is_empty() {
        output::line("beside the saga:");
    }
    for Beside { service, did, event, at, .. } in &report.beside {
        let ms = (*at - report.placed_at).num_milliseconds();
        let did = match did {
            Did::Handled => "handled",
            Did::Published => "published",
            Did::Said => "in its outbox",
        };
        output::line(format_args!("+{ms:>6} ms  {event:<22} {service:<9}  {did}"));
    }
    let ending = format!("{} after {}", output::in_status(&report.status), span(report.took_ms));
    let (took, is_read) = (span(report.took_ms), report.unread.is_empty());
    output::line(match (report.is_final, report.missing.is_empty()) {
        (true, true) => format!("it is finished: {ending}"),
        (true, false) if report.missing.iter().all(|missing| !missing.is_certain) => {
            format!("it is finished: {ending}; perhaps still open:")
        }
        (true, false) => format!("it is finished: {ending}; still open:"),
        (false, true) if is_read => {
            "it is not final, and no step is missing: run `saga verify`".into()
        }
        (false, true) => {
            format!("it is not finished, after {took}; no step is known to be missing")
        }
        (false, false) => format!("it is not finished, after {took}; missing:"),
    });
    for missing in &report.missing {
        tell(missing, report, now);
    }
    let in_a_step = |aside: &&Aside| report.missing.iter().any(|missing| missing.queue == aside.of);
    for aside in report.dead_letters.iter().filter(|aside| !in_a_step(aside)) {
        let reason = output::tame(&aside.reason);
        output::line(format_args!("dead letter in {}: {reason}", aside.queue));
    }
    for Unread { part, why, open } in &report.unread {
        let part = output::coloured(Some(Colour::Yellow), format_args!("{part} is not read"));
        let why = output::tame(why).replace('\n', " ");
        output::line(format_args!("{part}, which leaves open {open}: {why}"));
    }
}

fn tell(missing: &Missing, report: &Report, now: DateTime<Utc>) {
    let Missing { service, event, may_say, since, queue, consumers, is_certain, place } = missing;
    let owes = match (may_say, is_certain) {
        ([], true) => format!("{service} has not handled {event}"),
        ([], false) => format!("{service} may not have handled {event}"),
        (answers, true) => {
            let answers = answers.join(" or ");
            format!("{service} has handled {event}, and has not published {answers}")
        }
        (answers, false) => {
            let answers = answers.join(" or ");
            format!("{service} has handled {event}, and may not have published {answers}")
        }
    };
    let since = since.map(|at| format!(", for {}", span((now - at).num_milliseconds())));
    let colour = output::service(service);
    output::line(format_args!("- {}{}", output::coloured(colour, owes), since.unwrap_or_default()));
    match consumers {
        _ if matches!(place, Place::NoQueue) => {}
        None => {}
        Some(0) => {
            let nobody = format!("{service} does not consume {queue}: is it running?");
            output::line(format_args!("  {}", output::coloured(Some(Colour::Red), nobody)));
        }
        Some(listening) => {
            let processes = some(*listening as usize, "consumer");
            output::line(format_args!("  {service} consumes {queue} ({processes})"));
        }
    }
    output::line(format_args!("  {}", output::tame(&whereabouts(missing, report, now))));
}

fn whereabouts(missing: &Missing, report: &Report, now: DateTime<Utc>) -> String {
    let Missing { queue, since, place, .. } = missing;
    match place {
        Place::Outbox { service, attempts, last_error } => {
            let error = last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            let tried = some(usize::try_from(*attempts).unwrap_or(0), "failed attempt");
            format!("it is still in {service}'s outbox, after {tried}{error}")
        }
        Place::Queue { ready } => {
            let ready = some(*ready as usize, "message");
            let waits = format!("it waits in {queue} ({ready} ready), or is being handled");
            match since {
                Some(since) if now - *since > LOST_AFTER => format!(
                    "{waits}\n  if that stays so at 0 ready, it is not there: the queue or its \
                     binding was deleted, or a disk lost. See `saga topology --check`; `saga \
                     replay --to {queue} --since 1h` sends the event again"
                ),
                _ => waits,
            }
        }
        Place::NoQueue => format!(
            "there is no queue {queue}: import what `saga topology` prints; then `saga replay --to \
             {queue} --since 1h` sends the event again"
        ),
        Place::Tier(Aside { queue, attempts, reason, returns_at, .. }) => {
            let back = returns_at.map_or(0, |at| (at - now).num_milliseconds().max(0));
            format!(
                "it waits in {queue}, back in about {}; attempt {attempts} failed: {reason}",
                span(back)
            )
        }
        Place::DeadLetter(Aside { queue, attempts, reason, .. }) => {
            let order = report.order_id;
            format!(
                "it is a dead letter in {queue}, after {attempts} failed attempts: {reason}\n  \
                 see it with `saga dlq show --order {order}`, and when the cause is fixed replay \
                 it with `saga dlq replay --order {order}`"
            )
        }
        Place::Purged { at, reason } => {
            let reason = reason.as_deref().unwrap_or("no reason given");
            format!("purged at {}: {reason}", at.format("%F %T UTC"))
        }
        Place::Desk(charge) => desk(charge, now),
        Place::OnItsWay { ready } => {
            let queues = ready.iter().map(|(queue, ready)| format!("{queue} ({ready} ready)"));
            let queues = queues.collect::<Vec<_>>().join(" or ");
            format!("its event was published, or there is none; it would wait in {queues}")
        }
        Place::Unknown { may_be } => {
            format!("not all was read: it may be {}", may_be.join(", or "))
        }
    }
}

fn desk(charge: &Charge, now: DateTime<Utc>) -> String {
    let Charge { status, attempts, refund_attempts, last_error, due_at, claimed_at } = charge;
    let attempts = if status == "REVERSING" { refund_attempts } else { attempts };
    let tried = some(usize::try_from(*attempts).unwrap_or(0), "attempt");
    let error = last_error.as_ref().map(|error| format!(", the last: {error}")).unwrap_or_default();
    let next = match (claimed_at, due_at) {
        (Some(since), _) => {
            let asked = span((now - *since).num_milliseconds());
            format!("called the provider {asked} ago, no answer yet")
        }
        (None, Some(at)) if *at < now => {
            let due = span((now - *at).num_milliseconds());
            format!("due for {due}: the circuit breaker may be open")
        }
        (None, Some(at)) => {
            format!("next call to the provider in {}", span((*at - now).num_milliseconds()))
        }
        (None, None) => "nothing is due".into(),
    };
    format!("the charge desk has it as {status} after {tried}{error}; {next}")
}
