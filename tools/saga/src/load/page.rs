//! The report as one page that needs nothing else.

use std::fmt::Write;

use super::{Hop, Report, Series};
use crate::draw::{count, some};
use crate::html::{STYLE, TAKES_ALL, escaped};
use crate::svg::{self, Line};
use crate::usage::Usage;

const PLOTS: &str = "
svg { width: 100%; font: 12px system-ui, sans-serif; fill: currentColor }
.grid { stroke: #8884 } rect { fill: #3b78b5 }
polyline { fill: none; stroke-width: 2 }
polyline.placed { stroke: #d9822b } text.placed { fill: #d9822b }
polyline.ended { stroke: #3b78b5 } text.ended { fill: #3b78b5 }
";
/// Beyond this percentile the plot ends: 99.99 %.
const NINES: f64 = 4.0;

pub fn page(report: &Report) -> String {
    let (class, word) =
        if report.is_as_asked() { ("good", "as asked") } else { ("bad", "NOT as asked") };
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Load</title>\
         <style>{STYLE}{PLOTS}</style><h1>{orders}: <span class={class}>{word}</span></h1>\
         <p>Placed {placed_per_s:.0} a second, ended {finished_per_s:.0} a second, for {s:.1} s; \
         {cold} before, to warm up.</p>",
        orders = some(report.placed, "order"),
        placed_per_s = report.placed_per_s,
        finished_per_s = report.finished_per_s,
        s = report.seconds,
        cold = count(report.warm_up_orders),
    );
    endings(&mut page, report);
    section(&mut page, "Orders a second", &rate(report));
    section(&mut page, "Milliseconds to the end, by percentile", &latency(report));
    spreads(&mut page, report);
    if !report.hops.is_empty() {
        section(&mut page, "Milliseconds from event to event, the median", &hops(report));
    }
    if let Some(usage) = &report.usage {
        section(&mut page, "CPU-seconds of 1,000 orders", &cpu(usage));
        section(&mut page, "Memory, shared pages divided, in MB", &memory(usage));
    }
    page + "\n"
}

fn section(page: &mut String, title: &str, plot: &str) {
    write!(page, "<h2>{title}</h2>{plot}").expect(TAKES_ALL);
}

fn endings(page: &mut String, report: &Report) {
    page.push_str("<table>");
    let troubles = [("not final in time", report.unfinished), ("never placed", report.refused)];
    let troubles = troubles.into_iter().filter(|(_, number)| *number > 0);
    let rows = report.by_status.iter().map(|(status, number)| ("", status.clone(), *number));
    let rows = rows.chain(troubles.map(|(what, number)| ("bad", what.to_owned(), number)));
    let ends = report.unexpected_ends.iter().map(|(end, number)| ("bad", end.clone(), *number));
    let failed = report.errors.iter().map(|(error, number)| ("", error.clone(), *number));
    for (class, what, number) in rows.chain(ends).chain(failed) {
        write!(page, "<tr class=\"{class}\"><td>{}<td class=n>{}", escaped(&what), count(number))
            .expect(TAKES_ALL);
    }
    page.push_str("</table>");
}

fn rate(report: &Report) -> String {
    let [placed, ended] = [&report.placed_each_s, &report.finished_each_s].map(Series::per_s);
    let seconds = placed.len().max(ended.len()).max(1);
    let points = |values: &[f64]| -> Vec<_> {
        values.iter().enumerate().map(|(at, value)| (share(at, seconds - 1), *value)).collect()
    };
    let mut marks: Vec<_> = (0..=4)
        .map(|quarter| {
            (f64::from(quarter) / 4.0, format!("{} s", (seconds - 1) * quarter as usize / 4))
        })
        .collect();
    marks.dedup_by(|one, other| one.1 == other.1);
    let lines = [
        Line { name: "placed", class: "placed", points: points(&placed) },
        Line { name: "ended", class: "ended", points: points(&ended) },
    ];
    svg::lines(&lines, &marks)
}

/// Each further nine is as wide as the one before.
fn latency(report: &Report) -> String {
    let x = |percentile: f64| (-(1.0 - percentile / 100.0).log10() / NINES).min(1.0);
    let inside = report.final_by_percentile.iter().filter(|point| point.percentile < 100.0);
    let points = inside.map(|point| (x(point.percentile), point.ms)).collect();
    let marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99].map(|at| (x(at), format!("{at} %")));
    svg::lines(&[Line { name: "ms", class: "ended", points }], &marks)
}

fn spreads(page: &mut String, report: &Report) {
    page.push_str(
        "<table><tr><th>ms<th class=n>p50<th class=n>p95<th class=n>p99<th class=n>p99.9\
         <th class=n>max",
    );
    for (what, ms) in [("POST", report.post_ms), ("POST to final", report.final_ms)] {
        write!(page, "<tr><td>{what}").expect(TAKES_ALL);
        for ms in [ms.p50, ms.p95, ms.p99, ms.p999, ms.max] {
            write!(page, "<td class=n>{ms:.1}").expect(TAKES_ALL);
        }
    }
    page.push_str("</table>");
}

fn hops(report: &Report) -> String {
    let row = |hop: &Hop| {
        let words = format!("{:.0} (p99 {:.0})", hop.ms.p50, hop.ms.p99);
        (format!("{} → {}", hop.from, hop.to), hop.ms.p50, words)
    };
    svg::bars(&report.hops.iter().map(row).collect::<Vec<_>>())
}

fn cpu(usage: &Usage) -> String {
    let parts = usage.parts.iter().map(|part| {
        let each = part.sum.cpu_s_per_1000_orders;
        (part.name.clone(), each, format!("{each:.3} ({:.2} s)", part.sum.cpu_s))
    });
    svg::bars(&parts.collect::<Vec<_>>())
}

fn memory(usage: &Usage) -> String {
    let parts = usage
        .parts
        .iter()
        .map(|part| (part.name.clone(), part.sum.pss_mb, format!("{:.0}", part.sum.pss_mb)));
    svg::bars(&parts.collect::<Vec<_>>())
}

fn share(at: usize, of: usize) -> f64 {
    at as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Point, Spread};

    #[test]
    fn the_page_shows_everything_and_needs_nothing_else() {
        let ms = Spread { p50: 12.0, p99: 34.0, ..Spread::default() };
        let report = Report {
            placed: 3000,
            placed_each_s: Series(vec![1000, 2000]),
            finished_each_s: Series(vec![900, 2000, 100]),
            final_by_percentile: [0.0, 50.0, 99.0, 100.0]
                .map(|percentile| Point { percentile, ms: percentile + 1.0 })
                .into(),
            by_status: [("CONFIRMED".to_owned(), 3000)].into(),
            errors: [("<script src=//evil>".to_owned(), 1)].into(),
            hops: vec![Hop { from: "order.created", to: "payment.approved", orders: 9, ms }],
            ..Report::default()
        };
        let shown = page(&report);
        for part in [
            "3,000 orders: <span class=good>as asked",
            "<td>CONFIRMED<td class=n>3,000",
            "points=\"70.0,122.5 480.0,15.0\"",
            "order.created → payment.approved",
            "12 (p99 34)",
            "&lt;script",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(shown.matches("<svg").count(), 3, "without usage");
        assert!(!shown.contains("<script") && !shown.contains("url("), "{shown}");
        assert!(!page(&Report { refused: 1, ..Report::default() }).contains("class=good"));
    }
}
