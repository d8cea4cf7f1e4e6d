//! The choreography as a table, and in the names that the code has for its events.

use events::{EVENTS, SAGA, said_by};
use std::fmt::Write;

/// `order.cancel-requested` as its type is called.
pub fn type_name(event: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    event.split(['.', '-']).map(capital).collect()
}

/// Every event, who says it and who hears it, in Markdown.
pub fn event_table() -> String {
    let mut table = String::from("| event | said by | heard by |\n| --- | --- | --- |\n");
    for event in EVENTS {
        let hearers = SAGA.iter().filter(|step| step.hears == *event).map(|step| step.service);
        let hearers: Vec<_> = hearers.collect();
        let (by, hearers) = (said_by(event), hearers.join(", "));
        writeln!(table, "| `{event}` | {by} | {hearers} |").expect("a String takes all");
    }
    table
}
