//! Prints a load's report.

use kit::output::{self, Cell, Table, count, line, some};

use crate::load::{Load, Report, Series, Spread};
use crate::plot::{bar, columns};
use crate::usage::{Group, Sum, Usage};

const WIDTH: usize = 80;
const HEIGHT: usize = 6;
const BAR: usize = 54;
/// The number of percentiles shown, of those in a report.
const SHOWN: [f64; 6] = [50.0, 90.0, 95.0, 99.0, 99.9, 100.0];

pub fn print(report: &Report, load: &Load) {
    line(format_args!("{}: {:.1} s", asked(report, load), report.seconds));
    line(format_args!(
        "placed {} ({:.0}/s), finished {} ({:.0}/s)",
        count(report.placed),
        report.placed_per_s,
        count(report.finished),
        report.finished_per_s,
    ));
    spreads(report);
    endings(report);
    rate(&report.finished_each_s);
    latency(report);
    hops(report);
    if let Some(usage) = &report.usage {
        takes(usage);
    }
}

fn asked(report: &Report, load: &Load) -> String {
    let how = match load.rate {
        Some(rate) => format!("{rate} a second"),
        None => format!("{} in flight", load.in_flight),
    };
    let cold = match report.warm_up_orders {
        0 => String::new(),
        cold => format!(", after {} to warm up", count(cold)),
    };
    format!("{}, {how}{cold}", some(report.placed, "order"))
}

fn spreads(report: &Report) {
    let mut table = Table::new(&["ms", "p50", "p95", "p99", "p99.9", "max"]);
    for (what, ms) in [("POST", report.post_ms), ("POST to final", report.final_ms)] {
        let Spread { p50, p95, p99, p999, max } = ms;
        table.row(row(what, [p50, p95, p99, p999, max].map(|ms| format!("{ms:.1}"))));
    }
    table.print();
}

fn endings(report: &Report) {
    for (status, number) in &report.by_status {
        line(format_args!("{} {}", output::in_status(status), count(*number)));
    }
    if let Some(sale) = report.sale {
        let stock = sale.stock.map_or(String::new(), |stock| format!(" of {stock}"));
        line(format_args!("sold {}{stock}, and {} were wanted", sale.sold, sale.wanted));
    }
    let troubles =
        [(report.unfinished, "not final in time"), (report.refused, "could not be placed")];
    for (number, what) in troubles.into_iter().filter(|(number, _)| *number > 0) {
        line(format_args!("{} {what}", count(number)));
    }
    for (end, number) in &report.unexpected_ends {
        line(format_args!("{} otherwise than asked: {end}", count(*number)));
    }
    for (error, number) in &report.errors {
        line(format_args!("{} failed: {error}", some(*number, "request")));
    }
}

/// A run of a second or two has no curve.
fn rate(series: &Series) {
    if series.0.len() > 2 {
        line("\norders that ended, a second");
        columns(&series.per_s(), WIDTH, HEIGHT).into_iter().for_each(line);
    }
}

fn latency(report: &Report) {
    line("\nms to final, by percentile");
    let shown = report.final_by_percentile.iter().filter(|point| SHOWN.contains(&point.percentile));
    for point in shown {
        let name =
            if point.percentile < 100.0 { format!("p{}", point.percentile) } else { "max".into() };
        let bar = bar(point.ms, report.final_ms.max, BAR);
        line(format_args!("{name:>5} {bar} {:.1}", point.ms));
    }
}

fn hops(report: &Report) {
    let Some(first) = report.hops.first() else { return };
    line(format_args!("\nms from event to event, of {}", some(first.orders, "order")));
    let mut table = Table::new(&["from", "to", "p50", "p99", "max"]);
    for hop in &report.hops {
        let cells = [hop.ms.p50, hop.ms.p99, hop.ms.max].map(|ms| format!("{ms:.0}"));
        table.row(row(hop.from, [hop.to.to_owned()].into_iter().chain(cells)));
    }
    table.print();
}

fn takes(usage: &Usage) {
    line("");
    let mut table = Table::new(&["process", "CPU-s", "of 1,000 orders", "PSS MB", "RSS MB"]);
    let cells = |sum: &Sum| {
        [
            format!("{:.2}", sum.cpu_s),
            format!("{:.3}", sum.cpu_s_per_1000_orders),
            format!("{:.0}", sum.pss_mb),
            format!("{:.0}", sum.rss_mb),
        ]
    };
    for part in &usage.parts {
        table.row(row(&part.name, cells(&part.sum)));
    }
    if usage.groups.keys().any(|group| *group != Group::Load) {
        for (group, sum) in usage.groups.iter().filter(|(group, _)| **group != Group::Load) {
            table.row(row(&format!("= {}", group.name()), cells(sum)));
        }
        table.row(row("= all but the load", cells(&usage.total)));
    } else {
        line("the system runs elsewhere: what it takes cannot be told from here");
    }
    table.print();
}

fn row(name: &str, cells: impl IntoIterator<Item = String>) -> Vec<Cell> {
    [name.to_owned()].into_iter().chain(cells).map(|cell| (None, cell)).collect()
}
