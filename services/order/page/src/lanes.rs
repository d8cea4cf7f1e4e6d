//! Draws one order: a lane for each service, time downwards, an arrow for each event.

use crate::{
    order_labels,
    steps::{Kind, Step},
};
use askama::Template;
use events::SERVICES;
use labels::span;

/// Drawn twice, for wide and for narrow screens: the style sheet shows one of them.
#[derive(Template)]
#[template(path = "lanes.html")]
struct Lanes {
    title: String,
    drawings: [Drawing; 2],
}

struct Drawing {
    class: &'static str,
    width: i32,
    height: i32,
    heads: Vec<Head>,
    bars: Vec<Bar>,
    lines: Vec<Line>,
}

struct Head {
    service: &'static str,
    x: i32,
    y: i32,
    bottom: i32,
}

/// A service has consumed one event and not yet published the next.
struct Bar {
    class: &'static str,
    service: &'static str,
    x: i32,
    y: i32,
    height: i32,
}

struct Line {
    step: Step,
    service: &'static str,
    x: i32,
    y: i32,
    arrows: Vec<Arrow>,
    /// Where order consumes it too, besides the services that act on it.
    noticed: Option<i32>,
    label: (i32, i32),
    event: (i32, i32),
    time: (i32, i32),
    when: String,
}

struct Arrow {
    from: i32,
    to: i32,
    /// Of its head.
    points: String,
}

/// The measures of a drawing.
struct Measures {
    class: &'static str,
    width: i32,
    lane: i32,
    gap: i32,
    top: i32,
    row: i32,
    /// How far above its arrow the text stands; else it stands beside it.
    text_above: Option<i32>,
}

const BAR: i32 = 5;
const WIDE: Measures =
    Measures { class: "wide", width: 780, lane: 232, gap: 140, top: 66, row: 46, text_above: None };
const NARROW: Measures = Measures {
    class: "narrow",
    width: 340,
    lane: 34,
    gap: 90,
    top: 78,
    row: 60,
    text_above: Some(20),
};

pub fn draw(title: String, steps: &[Step]) -> String {
    let drawings = [WIDE, NARROW].map(|measures| measures.drawing(steps));
    Lanes { title, drawings }.render().expect("a drawing is text")
}

impl Measures {
    const fn x(&self, lane: usize) -> i32 {
        self.lane + self.gap * lane as i32
    }

    const fn y(&self, row: usize) -> i32 {
        self.top + self.row * row as i32
    }

    fn drawing(&self, steps: &[Step]) -> Drawing {
        let bottom = self.y(steps.len().saturating_sub(1)) + 24;
        let heads = SERVICES.iter().enumerate().map(|(lane, service)| Head {
            service,
            x: self.x(lane),
            y: 22,
            bottom,
        });
        Drawing {
            class: self.class,
            width: self.width,
            height: bottom + 6,
            heads: heads.collect(),
            bars: (0..steps.len()).filter_map(|row| self.bar(steps, row)).collect(),
            lines: steps.iter().enumerate().map(|(row, step)| self.line(step, row)).collect(),
        }
    }

    fn bar(&self, steps: &[Step], row: usize) -> Option<Bar> {
        let (lane, cause) = (steps[row].lane, steps[row].cause?);
        Some(Bar {
            class: steps[row].kind.class(),
            service: SERVICES[lane],
            x: self.x(lane) - BAR,
            y: self.y(cause),
            height: self.y(row) - self.y(cause),
        })
    }

    fn line(&self, step: &Step, row: usize) -> Line {
        let (x, y) = (self.x(step.lane), self.y(row));
        let order = order_labels::place(order::NAME);
        let is_noticed = !matches!(step.kind, Kind::Inferred | Kind::Awaited | Kind::Stuck);
        let noticed =
            (is_noticed && step.lane != order && !step.to.contains(&order)).then(|| self.x(order));
        let (label, event, time) = match self.text_above {
            Some(above) => ((0, y - above), (0, y - above), (self.width, y - above)),
            None => ((0, y - 3), (0, y + 13), (self.width, y + 4)),
        };
        Line {
            service: SERVICES[step.lane],
            x,
            y,
            arrows: step.to.iter().map(|to| arrow(x, self.x(*to), y)).collect(),
            noticed,
            label,
            event,
            time,
            when: step.at_ms.map_or_else(String::new, |at| format!("+{}", span(at))),
            step: step.clone(),
        }
    }
}

fn arrow(from: i32, to: i32, y: i32) -> Arrow {
    const HEAD: i32 = 9;
    let towards = (to - from).signum();
    let tip = to - towards * (BAR + 1);
    let back = tip - towards * HEAD;
    Arrow {
        from: from + towards * BAR,
        to: back,
        points: format!("{tip},{y} {back},{} {back},{}", y - 5, y + 5),
    }
}
