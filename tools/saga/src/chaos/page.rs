//! The report as one page that needs nothing else.

use std::fmt::Write;

use super::Report;
use super::faults::Done;
use super::memory::Peak;
use crate::draw::count;
use crate::html::{STYLE, TAKES_ALL, escaped};

const BARS: &str = "
.line { position: relative; height: 1.1rem; background: #8882; margin: 2px 0 }
.line b { position: absolute; left: .3rem; font-weight: normal; font-size: 11px }
.line i { position: absolute; top: 0; bottom: 0; min-width: 2px; background: #d9822b }
.line i.bad { background: #c0392b }
";

pub fn page(report: &Report) -> String {
    let is_good = report.breaks.is_empty();
    let (class, word) = if is_good { ("good", "everything holds") } else { ("bad", "BROKEN") };
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Chaos, seed {seed}</title>\
         <style>{STYLE}{BARS}</style><h1>Chaos, seed {seed}: <span class={class}>{word}</span></h1>\
         <p>{faults} faults in {took:.0} s, plan {plan}; {placed} orders placed, {finished} final; \
         lost {lost}, doubled {doubled}; {poisoned} messages poisoned, {letters} dead letters.</p>",
        seed = report.asked.seed,
        faults = report.faults.len(),
        took = report.took_s,
        plan = report.plan,
        placed = count(report.orders.placed),
        finished = count(report.orders.finished),
        lost = report.lost,
        doubled = report.doubled,
        poisoned = report.poisoned,
        letters = report.dead_letters,
    );
    if !is_good {
        list(&mut page, "What is wrong", &report.breaks);
    }
    endings(&mut page, report);
    recovery(&mut page, report);
    memory(&mut page, report);
    timeline(&mut page, report);
    faults(&mut page, report);
    page
}

fn list(page: &mut String, title: &str, lines: &[String]) {
    write!(page, "<h2>{title}</h2><ul class=bad>").expect(TAKES_ALL);
    for line in lines {
        write!(page, "<li>{}", escaped(line)).expect(TAKES_ALL);
    }
    page.push_str("</ul>");
}

fn endings(page: &mut String, report: &Report) {
    page.push_str("<h2>Orders by ending</h2><table>");
    for (status, number) in &report.orders.by_status {
        write!(page, "<tr><td>{}<td class=n>{}", escaped(status), count(*number)).expect(TAKES_ALL);
    }
    let failed: usize = report.orders.errors.values().sum();
    write!(page, "</table><p>{} requests failed and were repeated.</p>", count(failed))
        .expect(TAKES_ALL);
}

fn recovery(page: &mut String, report: &Report) {
    page.push_str(
        "<h2>Recovery</h2><table><tr><th>fault<th>measured<th class=n>times<th class=n>p50 s\
         <th class=n>max s<th class=n>goal s",
    );
    for one in &report.recovery {
        let class = if one.missed > 0 { "bad" } else { "good" };
        let goal = one.goal_s.map_or_else(String::new, |goal| format!("{goal:.0}"));
        write!(
            page,
            "<tr class={class}><td>{}<td>{}<td class=n>{}<td class=n>{:.2}<td class=n>{:.2}\
             <td class=n>{goal}",
            one.fault,
            one.measure.text(),
            one.times,
            one.p50_s,
            one.max_s,
        )
        .expect(TAKES_ALL);
    }
    page.push_str("</table>");
}

fn memory(page: &mut String, report: &Report) {
    page.push_str(
        "<h2>Memory at most</h2><table><tr><th>service<th class=n>RSS MB<th class=n>PSS MB\
         <th class=n>its container's MB",
    );
    for peak in &report.memory {
        let class = if peak.is_too_much() { "bad" } else { "good" };
        let Peak { service, rss_mb, pss_mb, limit_mb } = peak;
        write!(
            page,
            "<tr class={class}><td>{service}<td class=n>{rss_mb:.0}<td class=n>{pss_mb:.0}\
             <td class=n>{limit_mb:.0}"
        )
        .expect(TAKES_ALL);
    }
    page.push_str("</table>");
}

fn timeline(page: &mut String, report: &Report) {
    page.push_str("<h2>Timeline</h2>");
    for name in report.faults_by_name.keys() {
        write!(page, "<div class=line><b>{name}</b>").expect(TAKES_ALL);
        let of_name = report.faults.iter().filter(|done| done.step.fault.name() == *name);
        for Done { at_s, took_s, error, step, .. } in of_name {
            let class = if error.is_some() { "bad" } else { "good" };
            let percent = |seconds: f64| seconds / report.took_s * 100.0;
            write!(
                page,
                "<i class={class} style=\"left:{:.2}%;width:{:.2}%\" \
                 title=\"{at_s:.0} s: {}\"></i>",
                percent(*at_s),
                percent(*took_s),
                step.target,
            )
            .expect(TAKES_ALL);
        }
        page.push_str("</div>");
    }
}

fn faults(page: &mut String, report: &Report) {
    page.push_str(
        "<h2>Faults</h2><table><tr><th class=n>at s<th>fault<th>target<th class=n>took s<th>what",
    );
    for Done { step, at_s, took_s, detail, error, recoveries, .. } in &report.faults {
        let class = if error.is_some() { "bad" } else { "" };
        let mut what = error.as_ref().unwrap_or(detail).clone();
        for one in recoveries {
            write!(what, "; {} {:.2} s", one.measure.text(), one.took_s).expect(TAKES_ALL);
        }
        write!(
            page,
            "<tr class=\"{class}\"><td class=n>{at_s:.0}<td>{}<td>{}<td class=n>{took_s:.1}<td>{}",
            step.fault.name(),
            step.target,
            escaped(&what),
        )
        .expect(TAKES_ALL);
    }
    page.push_str("</table>\n");
}
