//! `saga dlq list` and `show`: read only.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, Utc};
use dead_letters::{Letter, ReplayPlan};
use events::OrderId;
use kit::colour::Colour;
use kit::output::{self, Table, count};
use serde::Serialize;
use serde_json::{Value, json};

use super::{DlqArgs, since};
use crate::dlq::{Pick, value};

/// One dead-letter queue.
#[derive(Serialize)]
struct Heap {
    queue: String,
    /// Includes messages that were not read.
    count: usize,
    oldest: Option<DateTime<Utc>>,
    /// The count of each reason, among the messages that were read.
    reasons: BTreeMap<String, usize>,
}

pub async fn list(args: &DlqArgs) -> Result<ExitCode> {
    let (broker, lease) = args.look(&Pick::default()).await?;
    let heaps = heaps(&lease.letters(), &lease.unseen);
    lease.give_back().await?;
    if heaps.is_empty() {
        return args.nothing(&Pick::default(), &broker).await;
    }
    if args.json {
        output::json(&heaps);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["queue", "count", "oldest (UTC)", "reason"]);
    for heap in heaps {
        let oldest = heap.oldest.map_or("-".into(), |at| at.format("%F %T").to_string());
        let mut first = Some((heap.queue, count(heap.count), oldest));
        let mut reasons: Vec<_> = heap.reasons.into_iter().collect();
        reasons.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        for (reason, times) in reasons {
            let (queue, count, oldest) = first.take().unwrap_or_default();
            let reason = output::tame(&reason).replace('\n', " ");
            let cells = [queue, count, oldest, format!("{times} × {reason}")];
            table.row(cells.map(|cell| (None, cell)).into());
        }
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}

fn heaps(letters: &[&Letter], unseen: &BTreeMap<String, usize>) -> Vec<Heap> {
    let mut heaps: BTreeMap<&str, Heap> = BTreeMap::new();
    for letter in letters {
        let heap = heaps.entry(&letter.parked).or_insert_with(|| Heap {
            queue: letter.parked.clone(),
            count: unseen.get(&letter.parked).copied().unwrap_or(0),
            oldest: None,
            reasons: BTreeMap::new(),
        });
        heap.count += 1;
        heap.oldest = heap.oldest.into_iter().chain(since(letter)).min();
        *heap.reasons.entry(letter.reason()).or_default() += 1;
    }
    heaps.into_values().collect()
}

pub async fn show(args: &DlqArgs, pick: &Pick) -> Result<ExitCode> {
    let mut letters = args.connect().await?;
    let lease = args.take(&letters, pick).await?;
    if lease.taken.is_empty() {
        lease.give_back().await?;
        return args.nothing(pick, letters.broker()).await;
    }
    let (shown, statuses) = (lease.letters(), letters.statuses(&lease.letters()).await?);
    let plans = letters.judge(&shown).await?;
    let together = shown.iter().zip(plans.iter().map(|(_, plan)| plan));
    if args.json {
        let all: Vec<_> = together.map(|(letter, plan)| as_json(letter, &statuses, plan)).collect();
        output::json(&all);
    } else {
        together.for_each(|(letter, plan)| print(letter, &statuses, plan));
    }
    lease.give_back().await?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(letter: &Letter, statuses: &HashMap<OrderId, String>, plan: &ReplayPlan) -> Value {
    let headers = letter.message.headers.iter().map(|(name, header)| (name.clone(), value(header)));
    let text = std::str::from_utf8(&letter.message.body).ok();
    json!({
        "queue": letter.parked,
        "died_in": letter.origin(),
        "message_id": letter.message.id,
        "event": letter.message.kind,
        "order_id": letter.order_id(),
        "order_status": letter.order_id().and_then(|order| statuses.get(&order)),
        "said_at": letter.said_at(),
        "died_at": letter.died_at(),
        "reason": letter.reason(),
        "attempts": letter.attempts(),
        "headers": headers.collect::<serde_json::Map<_, _>>(),
        "payload": serde_json::from_slice::<Value>(&letter.message.body).ok(),
        "payload_text": text,
        "payload_hex": text.is_none().then(|| crate::dlq::hex(&letter.message.body)),
        "replay": plan,
    })
}

fn print(letter: &Letter, statuses: &HashMap<OrderId, String>, plan: &ReplayPlan) {
    let message = &letter.message;
    let field = |name: &str, text: &str| {
        let text = output::tame(text).replace('\n', "\n            ");
        output::line(format_args!("{name:<10}  {text}"));
    };
    let optional = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".into());
    output::line(output::coloured(Some(Colour::Red), &letter.parked));
    field("event", &format!("{}  {}", optional(&message.kind), optional(&message.id)));
    let order = letter.order_id().map(|order| {
        let status = statuses.get(&order).map_or("which order does not know", String::as_str);
        format!("{order}  {status}")
    });
    field("order", &optional(&order));
    field("reason", &letter.reason());
    field("attempts", &letter.attempts().to_string());
    let at = |at: Option<DateTime<Utc>>| at.map(|at| at.format("%F %T UTC").to_string());
    field("said", &optional(&at(letter.said_at())));
    field("dead since", &optional(&at(letter.died_at())));
    for (name, header) in &message.headers {
        field("header", &format!("{name}: {header}"));
    }
    field("replay", &told(plan));
    field("payload", &payload(&message.body));
    output::line("");
}

pub fn told(plan: &ReplayPlan) -> String {
    match plan {
        ReplayPlan::Goes { to } => format!("would go to {to}"),
        ReplayPlan::NoEffect { to } => format!("already handled: no effect in {to}"),
        ReplayPlan::Refused { why } => format!("refused: {why}"),
    }
}

/// JSON is indented; other text is shown as it is; bytes as far as they can be shown.
fn payload(body: &[u8]) -> String {
    let value = serde_json::from_slice::<Value>(body);
    match (value, std::str::from_utf8(body)) {
        (Ok(value), _) => format!("{value:#}"),
        (Err(_), Ok(text)) => text.into(),
        (Err(_), Err(_)) => body.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_can_be_shown() {
        assert_eq!(payload(b"{\"price\":49.90}"), "{\n  \"price\": 49.90\n}");
        assert_eq!(payload(b"{\"broken\":"), "{\"broken\":");
        assert_eq!(payload(b"\xff\x1b["), "\\xff\\x1b[");
    }
}
