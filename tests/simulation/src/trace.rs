//! Records the events of a run as a hash, equal for equal runs, and as readable lines.

use events::OrderId;
use std::{collections::BTreeSet, fmt, time::Duration};

#[derive(Default)]
pub struct Trace {
    hash: Fnv,
    steps: u64,
    /// Kept only if they will be printed.
    lines: Option<Vec<Line>>,
    /// Counted from one; zero without cells.
    cell: u16,
}

pub struct Line {
    pub at: Duration,
    cell: u16,
    who: &'static str,
    what: &'static str,
    about: Vec<OrderId>,
}

/// The same on every machine, which the standard library's hash does not promise.
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub const fn value(&self) -> u64 {
        self.0
    }
}

impl Trace {
    /// Also stores each line.
    pub fn with_lines() -> Self {
        Self { lines: Some(Vec::new()), ..Self::default() }
    }

    /// Such a trace for a cell.
    pub fn of_cell(&self, cell: u16) -> Self {
        Self { lines: self.lines.as_ref().map(|_| Vec::new()), cell, ..Self::default() }
    }

    pub fn note(&mut self, at: Duration, who: &'static str, what: &'static str, about: &[OrderId]) {
        self.steps += 1;
        self.hash.write(&at.as_nanos().to_le_bytes());
        self.hash.write(who.as_bytes());
        self.hash.write(what.as_bytes());
        about.iter().for_each(|order| self.hash.write(order.as_bytes()));
        if let Some(lines) = &mut self.lines {
            lines.push(Line { at, cell: self.cell, who, what, about: about.to_vec() });
        }
    }

    pub const fn hash(&self) -> u64 {
        self.hash.value()
    }

    pub const fn steps(&self) -> u64 {
        self.steps
    }

    pub fn take_lines(&mut self) -> Vec<Line> {
        self.lines.take().unwrap_or_default()
    }
}

impl Line {
    /// The lines of these orders, and those of no order that are worth printing all the same.
    pub fn concerns(&self, orders: &BTreeSet<OrderId>) -> bool {
        let for_all = ["crashes", "starts", "heals", "cut", "broker away", "database away"];
        self.about.iter().any(|order| orders.contains(order)) || for_all.contains(&self.what)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, cell, who, what, about } = self;
        write!(out, "{:>9.3} s  ", at.as_secs_f64())?;
        if *cell > 0 {
            write!(out, "cell {cell} ")?;
        }
        write!(out, "{who:<11} {what:<22}")?;
        let shown = about.iter().take(4).map(|id| id.simple().to_string()[24..].to_owned());
        write!(out, " {}", shown.collect::<Vec<_>>().join(" "))?;
        if about.len() > 4 { write!(out, " and {} more", about.len() - 4) } else { Ok(()) }
    }
}
