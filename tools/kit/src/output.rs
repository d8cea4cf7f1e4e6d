//! Prints the output of the commands. A reader that closes the pipe early is no error, as in `saga
//! status | head`; any other failure is one in the end.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{Context, Result};

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use crate::api::Step;
use crate::colour::{Colour, paint};

/// The first failure to write.
static FAILED: OnceLock<std::io::Error> = OnceLock::new();

pub fn line(text: impl Display) {
    match write(text) {
        Err(why) if why.kind() != ErrorKind::BrokenPipe => drop(FAILED.set(why)),
        _ => {}
    }
}

/// A line that is nowhere else: a failure is an error at once, that of a closed pipe too.
pub fn only_copy(text: impl Display) -> Result<()> {
    write(text).context(UNWRITTEN)
}

fn write(text: impl Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

const UNWRITTEN: &str = "cannot write to the standard output";

/// The exit code of a command that ends so, which is no success where its output is not written.
pub fn end(command: &str, ended: Result<ExitCode>) -> ExitCode {
    let code = ended.unwrap_or_else(|error| {
        eprintln!("{command}: {error:#}");
        ExitCode::FAILURE
    });
    match FAILED.get() {
        Some(why) => {
            eprintln!("{command}: {UNWRITTEN}: {why}");
            if code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code }
        }
        None => code,
    }
}

pub fn json(value: &impl Serialize) {
    line(serde_json::to_string_pretty(value).expect("what is shown is plain data"));
}

/// Prints broken invariants.
pub fn broken(breaks: &[String]) {
    let word = coloured(Some(Colour::Red), "BROKEN");
    for one in breaks {
        line(format_args!("{word}  {}", tame(one)));
    }
}

/// A line on standard error that the next one replaces; on a terminal only.
pub struct LiveLine {
    is_shown: bool,
    bar: Option<ProgressBar>,
}

impl LiveLine {
    pub fn new(wanted: bool) -> Self {
        Self { is_shown: wanted && std::io::stderr().is_terminal(), bar: None }
    }

    pub const fn is_shown(&self) -> bool {
        self.is_shown
    }

    pub fn show(&mut self, text: &str) {
        if self.is_shown {
            let style = || ProgressStyle::with_template("{msg}").expect("the template is sound");
            let bar = || ProgressBar::new_spinner().with_style(style());
            self.bar.get_or_insert_with(bar).set_message(text.to_owned());
        }
    }

    /// Clears the line for other output.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

pub fn coloured(colour: Option<Colour>, text: impl Display) -> String {
    let text = text.to_string();
    colour.map_or(text.clone(), |colour| paint(colour, &text))
}

pub const fn service(name: &str) -> Option<Colour> {
    match name.as_bytes() {
        b"order" => Some(Colour::Blue),
        b"payment" => Some(Colour::Green),
        b"inventory" => Some(Colour::Yellow),
        b"shipping" => Some(Colour::Magenta),
        _ => None,
    }
}

pub const fn status(name: &str) -> Option<Colour> {
    Some(match name.as_bytes() {
        b"CONFIRMED" => Colour::Green,
        b"PAYMENT_FAILED" => Colour::Red,
        b"CANCELLED" => Colour::Yellow,
        _ => Colour::Cyan,
    })
}

pub fn in_status(name: &str) -> String {
    coloured(status(name), name)
}

/// `+   123 ms  payment.approved       payment    amount 99.80`
pub fn step(step: &Step, since: DateTime<Utc>) -> String {
    let colour = service(&step.service);
    let ms = (step.at - since).num_milliseconds();
    let who = coloured(colour, format_args!("{:<22} {:<9}", step.event, step.service));
    format!("+{ms:>6} ms  {who}  {}", detail(&step.detail)).trim_end().into()
}

/// An event's details, besides its name.
pub fn detail(detail: &Value) -> String {
    let Value::Object(fields) = detail else { return plain(detail) };
    let told = fields.iter().filter(|(_, value)| !value.is_null());
    let words = told.map(|(name, value)| match (name.as_str(), value) {
        ("short", Value::Array(short)) => short.iter().map(shortage).collect::<Vec<_>>().join(", "),
        ("reason", reason) => plain(reason),
        (name, value) => format!("{} {}", name.replace('_', " "), plain(value)),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn shortage(short: &Value) -> String {
    let of = |name: &str| plain(&short[name]);
    let product = product(&of("product_id"));
    format!("{product} wanted {}, left {}", of("wanted"), of("available"))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Removes control characters from foreign text, so that it cannot control the terminal.
pub fn tame(text: &str) -> String {
    let tamed = |one: char| match one {
        '\n' | '\t' => one.to_string(),
        one if one.is_control() => one.escape_default().to_string(),
        one => one.to_string(),
    };
    text.chars().map(tamed).collect()
}

/// The demo's products differ in their last digits only.
pub fn product(id: &str) -> String {
    match id.strip_prefix("00000000-0000-0000-0000-0000") {
        Some(end) => format!("…{}", &end[end.len().saturating_sub(4)..]),
        None => id.into(),
    }
}

/// 12345 as 12,345.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// "1 order", "2,000 orders".
pub fn some(number: usize, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// An error with its causes, each once: many errors repeat their cause in their own text.
pub fn reason(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !told.contains(&cause) {
            let colon = if told.is_empty() { "" } else { ": " };
            told.push_str(colon);
            told.push_str(&cause);
        }
    }
    told
}

/// Cells in columns as wide as their widest.
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

pub type Cell = (Option<Colour>, String);

impl Table {
    pub fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (None, (*title).to_owned())).collect()] }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub fn print(&self) {
        self.lines().for_each(line);
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let width = |column| cells(column).map(|(_, text)| text.chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns).map(width).collect();
        self.rows.iter().map(move |row| {
            let last = row.len().saturating_sub(1);
            let cells =
                row.iter().zip(&widths).enumerate().map(|(column, ((colour, text), width))| {
                    let width = if column == last { 0 } else { *width };
                    coloured(*colour, format_args!("{text:width$}"))
                });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_detail_reads_like_words() {
        let short = json!({ "short": [{
            "product_id": "00000000-0000-0000-0000-000000000002", "wanted": 11, "available": 10,
        }]});
        assert_eq!(detail(&short), "…0002 wanted 11, left 10");
        let failed = json!({ "reason": "declined", "attempts": 1, "nothing": null });
        assert_eq!(detail(&failed), "attempts 1, declined");
        assert_eq!(detail(&json!({})), "");
    }

    #[test]
    fn nobody_else_steers_the_terminal() {
        assert_eq!(tame("\u{1b}[2Jgone\u{9b}\n"), "\\u{1b}[2Jgone\\u{9b}\n");
    }

    #[test]
    fn numbers_have_commas() {
        let shown = [0, 999, 1000, 123_456, 1_234_567].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("refused").context("IO error: refused").context("no broker");
        assert_eq!(reason(&error), "no broker: IO error: refused");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["a", "status"]);
        table.row(vec![(None, "long".into()), (None, "x".into())]);
        assert_eq!(table.lines().collect::<Vec<_>>(), ["a     status", "long  x"]);
    }
}
