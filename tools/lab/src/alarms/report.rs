//! The result of a run: which alerts rang for which fault, and what is wrong with that.

use std::time::Duration;

use audit::{Outcome, Verdict};
use serde::Serialize;

use super::dashboards::Findings;
use super::fault::{FAULTS, Fault};
use super::prometheus::Ring;
use super::scale::Scale;

/// The document with the table of a run.
pub const PAGE: &str = "docs/alarms.md";

#[derive(Debug, Serialize)]
pub struct Report {
    /// How many times faster than in production everything was.
    pub faster: u32,
    pub took_s: f64,
    pub rows: Vec<Row>,
    pub queries: usize,
    /// What is wrong; nothing, where all is well.
    pub breaks: Vec<String>,
}

/// A fault that was tried out.
#[derive(Debug, Serialize)]
pub struct Row {
    #[serde(rename = "fault", serialize_with = "name")]
    about: &'static Fault,
    /// The alerts that had to ring.
    pub rang: Vec<Rung>,
    /// Those that may.
    pub also: Vec<Rung>,
    /// Those that may not.
    pub wrong: Vec<Rung>,
    /// From the repair until no alert rings or is about to.
    pub ended_after_s: Option<f64>,
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Rung {
    #[serde(flatten)]
    pub ring: Ring,
    /// Since the fault.
    pub after_s: f64,
}

impl Report {
    pub fn new(
        scale: Scale,
        rows: Vec<Row>,
        tried: usize,
        findings: &Findings,
        verdict: &Verdict,
        took: Duration,
    ) -> Self {
        let mut breaks: Vec<_> = rows.iter().flat_map(Row::breaks).collect();
        if rows.len() < tried {
            breaks.push(format!("{} of {tried} faults were not tried", tried - rows.len()));
        }
        breaks.extend(findings.breaks(rows.len() == FAULTS.len()));
        if verdict.outcome != Outcome::Clean {
            breaks.extend(verdict.violations.iter().map(ToString::to_string));
            breaks.extend(verdict.restless.clone());
        }
        let (faster, took_s) = (scale.0, took.as_secs_f64());
        Self { faster, took_s, rows, queries: findings.queries, breaks }
    }

    /// The table, as Markdown, in seconds or in seconds divided.
    pub fn table(&self) -> String {
        let head = "| fault | rings | after | also rings | repair | all silent after |\n\
                    | --- | --- | --- | --- | --- | --- |\n";
        head.to_owned() + &self.rows.iter().map(Row::markdown).collect::<String>()
    }
}

impl Row {
    pub fn of(about: &'static Fault) -> Self {
        let (rang, also, wrong) = (Vec::new(), Vec::new(), Vec::new());
        Self { about, rang, also, wrong, ended_after_s: None, error: None }
    }

    pub fn add(&mut self, rung: Rung) {
        let Ring { alert, whom } = &rung.ring;
        let list = if self.about.rings.contains(&(alert.as_str(), whom.as_str())) {
            &mut self.rang
        } else if self.about.also.iter().any(|(may, _)| may == alert) {
            &mut self.also
        } else {
            &mut self.wrong
        };
        list.push(rung);
    }

    fn breaks(&self) -> Vec<String> {
        let name = self.about.name;
        let wrong = self.wrong.iter().map(|rung| format!("{name}: {} rang, too", rung.text()));
        wrong.chain(self.error.iter().map(|why| format!("{name}: {why}"))).collect()
    }

    fn markdown(&self) -> String {
        let Fault { what, repair, also, .. } = self.about;
        let rang = texts(&self.rang, "<br>", Rung::text);
        let after = texts(&self.rang, "<br>", |rung| format!("{:.0} s", rung.after_s));
        let may = self.also.iter().map(|rung| {
            let why = also.iter().find(|(may, _)| *may == rung.ring.alert);
            format!("{}: {}", rung.text(), why.map_or("", |(_, why)| why))
        });
        let may = may.collect::<Vec<_>>().join("<br>");
        let ended = self.ended_after_s.map_or(String::new(), |ended| format!("{ended:.0} s"));
        format!("| {what} | {rang} | {after} | {may} | {repair} | {ended} |\n")
    }
}

impl Rung {
    fn text(&self) -> String {
        let Ring { alert, whom } = &self.ring;
        match whom.as_str() {
            "" => format!("`{alert}`"),
            whom => format!("`{alert}` of {whom}"),
        }
    }
}

fn texts(rung: &[Rung], separator: &str, text: impl Fn(&Rung) -> String) -> String {
    rung.iter().map(text).collect::<Vec<_>>().join(separator)
}

/// One line about a fault that was tried out.
pub fn line(row: &Row) -> String {
    let said = |rung: &[Rung]| {
        texts(rung, ", ", |rung| format!("{} after {:.1} s", rung.text(), rung.after_s))
    };
    let mut line = format!("{:<18} {}", row.about.name, said(&row.rang));
    for (title, rung) in [("also", &row.also), ("WRONG", &row.wrong)] {
        if !rung.is_empty() {
            line += &format!("; {title}: {}", said(rung));
        }
    }
    if let Some(ended) = row.ended_after_s {
        line += &format!("; silent {ended:.1} s after the repair");
    }
    line + &row.error.as_ref().map_or(String::new(), |why| format!("; FAILED: {why}"))
}

fn name<S: serde::Serializer>(about: &&'static Fault, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(about.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(alert: &str, whom: &str, after_s: f64) -> Rung {
        Rung { ring: Ring { alert: alert.into(), whom: whom.into() }, after_s }
    }

    #[test]
    fn what_may_not_ring_is_a_failure() {
        let fault = FAULTS.iter().find(|fault| fault.name == "RefundsLate").unwrap();
        let mut row = Row::of(fault);
        row.add(rung("RefundsLate", "", 66.4));
        row.add(rung("OrdersStuck", "", 72.0));
        row.ended_after_s = Some(3.0);
        assert_eq!(row.breaks(), Vec::<String>::new());
        let table = row.markdown();
        assert!(
            table.contains("| `RefundsLate` | 66 s | `OrdersStuck`: a compensation"),
            "{table}"
        );
        row.add(rung("DeadLetters", "a.dlq", 5.0));
        assert_eq!(row.breaks(), ["RefundsLate: `DeadLetters` of a.dlq rang, too"]);
        assert!(line(&row).contains("WRONG: `DeadLetters` of a.dlq after 5.0 s"));
    }
}
