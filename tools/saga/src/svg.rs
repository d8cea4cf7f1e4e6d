//! Plots as SVG, for a page that needs nothing else.

use std::fmt::Write;

use crate::draw::count;
use crate::html::{TAKES_ALL, escaped};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 30.0;
const TOP: f64 = 15.0;
const ROW: f64 = 24.0;
const NAMES: f64 = 280.0;
const GRID: usize = 4;

pub struct Line<'a> {
    pub name: &'a str,
    pub class: &'a str,
    /// By x, from 0 to 1.
    pub points: Vec<(f64, f64)>,
}

/// Lines over one scale from 0, with these marks below, each where it belongs between 0 and 1.
pub fn lines(lines: &[Line], marks: &[(f64, String)]) -> String {
    let top = nice(lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(0.0, f64::max));
    let x = |at: f64| LEFT + at * (WIDTH - LEFT - 10.0);
    let y = |value: f64| TOP + (1.0 - value / top) * (HEIGHT - TOP - BOTTOM);
    let mut svg = open(HEIGHT);
    for step in 0..=GRID {
        let value = top * step as f64 / GRID as f64;
        let (at, right) = (y(value), x(1.0));
        write!(
            svg,
            "<line class=grid x1={LEFT} x2={right:.1} y1={at:.1} y2={at:.1} />\
             <text x={:.1} y={:.1} text-anchor=end>{}</text>",
            LEFT - 8.0,
            at + 4.0,
            number(value),
        )
        .expect(TAKES_ALL);
    }
    for (at, text) in marks {
        let (at, below) = (x(*at), HEIGHT - 8.0);
        write!(svg, "<text x={at:.1} y={below:.1} text-anchor=middle>{}</text>", escaped(text))
            .expect(TAKES_ALL);
    }
    for (place, Line { name, class, points }) in lines.iter().enumerate() {
        let points: Vec<_> =
            points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        write!(
            svg,
            "<polyline class={class} points=\"{}\" /><text class={class} x={:.1} y={}>{}</text>",
            points.join(" "),
            LEFT + 10.0,
            TOP + 14.0 + 16.0 * place as f64,
            escaped(name),
        )
        .expect(TAKES_ALL);
    }
    svg + "</svg>"
}

/// A bar for each of these, with its value in words behind it.
pub fn bars(rows: &[(String, f64, String)]) -> String {
    let top = rows.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
    let mut svg = open(ROW * rows.len() as f64 + 8.0);
    for (place, (name, value, words)) in rows.iter().enumerate() {
        let y = ROW * place as f64 + 4.0;
        let width = if top > 0.0 { value / top * (WIDTH - NAMES - 150.0) } else { 0.0 };
        write!(
            svg,
            "<text x={:.1} y={:.1} text-anchor=end>{}</text>\
             <rect x={NAMES} y={y:.1} width={:.1} height={:.1} />\
             <text x={:.1} y={:.1}>{}</text>",
            NAMES - 8.0,
            y + 14.0,
            escaped(name),
            width.max(1.0),
            ROW - 6.0,
            NAMES + width + 8.0,
            y + 14.0,
            escaped(words),
        )
        .expect(TAKES_ALL);
    }
    svg + "</svg>"
}

fn open(height: f64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=img xmlns=\"http://www.w3.org/2000/svg\">")
}

/// The next of 1, 2 and 5 with noughts, so that the scale can be read.
fn nice(top: f64) -> f64 {
    if top <= 0.0 {
        return 1.0;
    }
    let unit = 10_f64.powf(top.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|step| step * unit)
        .find(|step| *step >= top)
        .unwrap_or(10.0 * unit)
}

fn number(value: f64) -> String {
    if value >= 10.0 || value == 0.0 {
        return count(value.round() as usize);
    }
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        let tops = [0.0, 0.7, 1.0, 3.0, 180.0, 640.0, 1001.0].map(nice);
        assert_eq!(tops, [1.0, 1.0, 1.0, 5.0, 200.0, 1000.0, 2000.0]);
    }

    #[test]
    fn the_highest_value_lies_at_the_top_of_its_scale() {
        let points = vec![(0.0, 0.0), (1.0, 200.0)];
        let plot = lines(&[Line { name: "a<b", class: "one", points }], &[(0.5, "half".into())]);
        assert!(plot.contains("points=\"70.0,230.0 890.0,15.0\""), "{plot}");
        assert!(plot.contains(">half</text>") && plot.contains("a&lt;b"), "{plot}");
    }

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let rows = [("all", 2.0), ("half", 1.0), ("none", 0.0)];
        let plot = bars(&rows.map(|(name, value)| (name.into(), value, format!("{value} s"))));
        for width in ["width=470.0", "width=235.0", "width=1.0", "2 s", "half"] {
            assert!(plot.contains(width), "{width}: {plot}");
        }
    }
}
