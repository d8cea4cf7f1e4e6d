//! Writes the choreography as a table.

use events::{EVENTS, SAGA, said_by};
use std::fmt::Write;

/// Every event, its publisher and its subscribers, in Markdown.
pub fn event_table() -> String {
    let mut table = String::from("| event | publisher | subscribers |\n| --- | --- | --- |\n");
    for event in EVENTS {
        let hearers = SAGA.iter().filter(|step| step.hears == *event).map(|step| step.service);
        let hearers: Vec<_> = hearers.collect();
        let (by, hearers) = (said_by(event), hearers.join(", "));
        writeln!(table, "| `{event}` | {by} | {hearers} |").expect("a String takes all");
    }
    table
}
