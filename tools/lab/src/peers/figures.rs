//! Summarises all rounds as medians, and shows them as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Comparison, IN_FLIGHT, Peer, RATE};
use crate::bench::median;
use crate::load::Spread;
use crate::usage::{Group, Sum};

#[derive(Debug, Serialize)]
pub struct Summary {
    pub rounds: usize,
    pub orders: usize,
    pub in_flight: usize,
    pub rate: u32,
    pub rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub peer: Peer,
    pub title: String,
    /// In the closed loop; each value is the median of the rounds.
    pub orders_per_s: f64,
    pub cpu_s_per_1000_orders: f64,
    /// In the open loop.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub each_round: Vec<Round>,
}

#[derive(Debug, Default, Serialize)]
pub struct Round {
    pub orders_per_s: f64,
    pub cpu_s_per_1000_orders: f64,
    pub pss_mb: f64,
    /// Including the process that places the orders.
    pub groups: BTreeMap<Group, Sum>,
    /// In the open loop.
    pub final_ms: Spread,
}

impl Summary {
    pub fn new(asked: &Comparison) -> Self {
        let Comparison { rounds, orders, .. } = *asked;
        let row = |peer: &Peer| Row {
            peer: *peer,
            title: peer.title(),
            orders_per_s: 0.0,
            cpu_s_per_1000_orders: 0.0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            each_round: Vec::new(),
        };
        let rows = asked.peers.iter().map(row).collect();
        Self { rounds, orders, in_flight: IN_FLIGHT, rate: RATE, rows }
    }

    pub fn add(&mut self, peer: Peer, round: Round) {
        let row = self.rows.iter_mut().find(|row| row.peer == peer);
        row.expect("each has a row").each_round.push(round);
    }

    pub fn finish(&mut self) {
        for row in &mut self.rows {
            let of = |what: fn(&Round) -> f64| median(row.each_round.iter().map(what).collect());
            row.orders_per_s = of(|round| round.orders_per_s);
            row.cpu_s_per_1000_orders = of(|round| round.cpu_s_per_1000_orders);
            row.p50_ms = of(|round| round.final_ms.p50);
            row.p99_ms = of(|round| round.final_ms.p99);
        }
    }

    pub fn titles(&self) -> [String; 4] {
        [
            "`make peers`".into(),
            format!("orders/s, {} in flight", self.in_flight),
            "CPU-s per 1,000 orders".into(),
            format!("p50 / p99 ms at {}/s", self.rate),
        ]
    }

    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let head = line(&self.titles()) + &line(&["---"; 4].map(Into::into));
        self.rows.iter().fold(head, |table, row| table + &line(&row.cells()))
    }
}

impl Row {
    pub fn cells(&self) -> [String; 4] {
        [
            self.title.clone(),
            kit::output::count(self.orders_per_s.round() as usize),
            format!("{:.2}", self.cpu_s_per_1000_orders),
            format!("{:.1} / {:.1}", self.p50_ms, self.p99_ms),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn summary() -> Summary {
        let peers = vec![Peer::Quadrille, Peer::Naive];
        let (length, built) = (Duration::from_secs(1), "target/peers".into());
        let asked = Comparison { peers, rounds: 3, orders: 10, length, built };
        let mut summary = Summary::new(&asked);
        for (per_s, cpu, ms) in [(3000.0, 1.0, 10.0), (1000.0, 3.0, 30.0), (2000.0, 2.0, 90.0)] {
            let final_ms = Spread { p50: ms, p99: ms * 2.0, ..Spread::default() };
            let round = Round { final_ms, orders_per_s: per_s, ..Round::default() };
            summary.add(Peer::Quadrille, Round { cpu_s_per_1000_orders: cpu, ..round });
        }
        summary.finish();
        summary
    }

    #[test]
    fn a_peer_is_a_row_of_medians() {
        let table = summary().markdown();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "| `make peers` | orders/s, 64 in flight | CPU-s per 1,000 orders | p50 / p99 ms at 50/s |",
                "| --- | --- | --- | --- |",
                "| Quadrille | 2,000 | 2.00 | 30.0 / 60.0 |",
            ]
        );
        assert!(lines[3].starts_with("| by hand: ") && lines.len() == 4, "{table}");
    }
}
