//! Draws the choreography: the four services, an edge for each event and its consumers, and room
//! for the depths of the queues. Events light their edges by name.

use crate::{order_labels, scene::Number};
use askama::Template;
use events::{EVENTS, Event, OrderCancelRequested, SAGA, SERVICES, said_by};
use std::collections::BTreeMap;

/// Drawn along the screen and down it: the style sheet shows one of them.
#[derive(Template)]
#[template(path = "map.html")]
struct Map<'a> {
    drawings: [Drawing; 2],
    numbers: &'a BTreeMap<String, Number>,
    rates: &'a BTreeMap<&'static str, String>,
}

impl Map<'_> {
    fn number(&self, service: &str, name: &str) -> &str {
        self.numbers.get(&format!("{service}.{name}")).map_or("–", |number| &number.text)
    }

    fn rate(&self, event: &str) -> &str {
        self.rates.get(event).map_or("", String::as_str)
    }

    fn alarm(&self, service: &str, name: &str) -> &'static str {
        let number = self.numbers.get(&format!("{service}.{name}"));
        if number.is_some_and(|number| number.is_alarm) { " alarm" } else { "" }
    }
}

struct Drawing {
    class: &'static str,
    width: i32,
    height: i32,
    boxes: Vec<Place>,
    edges: Vec<Edge>,
}

struct Place {
    service: &'static str,
    x: i32,
    y: i32,
}

struct Edge {
    event: &'static str,
    service: &'static str,
    class: &'static str,
    words: &'static str,
    path: String,
    head: String,
    label: Option<Label>,
}

struct Label {
    x: i32,
    y: i32,
    anchor: &'static str,
}

/// A drawing's measures: `u` runs with the saga, `v` across it.
struct Measures {
    class: &'static str,
    is_down: bool,
    /// Of a box, along and across.
    size: (i32, i32),
    step: i32,
    /// Where the boxes begin, along and across.
    begin: (i32, i32),
    /// Across: the cancel request, the way forth, the way back, and the events that only order
    /// consumes.
    cancel: i32,
    forth: i32,
    back: i32,
    news: i32,
    width: i32,
    height: i32,
}

pub const BOX_WIDTH: i32 = 196;
pub const BOX_HEIGHT: i32 = 104;

const ALONG: Measures = Measures {
    class: "wide",
    is_down: false,
    size: (BOX_WIDTH, BOX_HEIGHT),
    step: 328,
    begin: (2, 56),
    cancel: 22,
    forth: 88,
    back: 128,
    news: 232,
    width: 1224,
    height: 240,
};
const DOWN: Measures = Measures {
    class: "narrow",
    is_down: true,
    size: (BOX_HEIGHT, BOX_WIDTH),
    step: 160,
    begin: (2, 30),
    cancel: 8,
    forth: 98,
    back: 208,
    news: 356,
    width: 366,
    height: 588,
};

pub fn draw(numbers: &BTreeMap<String, Number>, rates: &BTreeMap<&'static str, String>) -> String {
    Map { drawings: [ALONG, DOWN].map(|measures| measures.drawing()), numbers, rates }
        .render()
        .expect("a drawing is text")
}

impl Measures {
    fn drawing(&self) -> Drawing {
        let boxes = SERVICES.iter().enumerate().map(|(place, service)| {
            let (x, y) = self.point(self.start(place), self.begin.1);
            Place { service, x, y }
        });
        Drawing {
            class: self.class,
            width: self.width,
            height: self.height,
            boxes: boxes.collect(),
            edges: self.edges(),
        }
    }

    const fn start(&self, place: usize) -> i32 {
        self.begin.0 + self.step * place as i32
    }

    const fn end(&self, place: usize) -> i32 {
        self.start(place) + self.size.0
    }

    const fn middle(&self, place: usize) -> i32 {
        self.start(place) + self.size.0 / 2
    }

    /// The far side of the boxes.
    const fn far(&self) -> i32 {
        self.begin.1 + self.size.1
    }

    const fn point(&self, u: i32, v: i32) -> (i32, i32) {
        if self.is_down { (v, u) } else { (u, v) }
    }

    fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for event in EVENTS {
            let from = order_labels::place(said_by(event));
            let hearers = SAGA.iter().filter(|step| step.hears == *event);
            for (nth, to) in hearers.map(|step| order_labels::place(step.service)).enumerate() {
                let edge = if *event == OrderCancelRequested::NAME {
                    self.asked(event, to, nth)
                } else if to == 0 {
                    self.heard_by_order(event, from, edges.as_slice())
                } else {
                    self.neighbours(event, from, to, edges.as_slice())
                };
                edges.push(edge);
            }
        }
        edges
    }

    /// From a box to the next one, or back.
    fn neighbours(&self, event: &'static str, from: usize, to: usize, others: &[Edge]) -> Edge {
        let is_forth = to > from;
        let v = if is_forth { self.forth } else { self.back };
        let (u, tip) = if is_forth {
            (self.end(from) + 4, self.start(to) - 3)
        } else {
            (self.start(from) - 4, self.end(to) + 3)
        };
        let alike =
            |edge: &&Edge| !is_forth && edge.class == "back" && edge.service == SERVICES[from];
        let line = others.iter().filter(alike).count() as i32;
        let (u0, v0) = ((self.end(from.min(to)) + self.start(from.max(to))) / 2, v);
        let (x, y) = self.point(u0, v0);
        let label = match (self.is_down, is_forth) {
            (false, true) => Label { x, y: y - 9, anchor: "middle" },
            (false, false) => Label { x, y: y + 18 + 14 * line, anchor: "middle" },
            (true, _) => Label { x: x + 9, y: y + 4 + 14 * line, anchor: "start" },
        };
        let points = [(u, v), (tip, v)];
        self.edge(event, if is_forth { "forth" } else { "back" }, &points, Some(label))
    }

    /// What order asks for goes past its neighbour.
    fn asked(&self, event: &'static str, to: usize, nth: usize) -> Edge {
        let near = self.begin.1;
        let points = [
            (self.middle(0), near - 3),
            (self.middle(0), self.cancel),
            (self.middle(to), self.cancel),
            (self.middle(to), near - 3),
        ];
        let (x, y) = self.point((self.end(0) + self.start(1)) / 2, self.cancel);
        let label = match self.is_down {
            true => Label { x: x + 7, y: y + 4, anchor: "start" },
            false => Label { x, y: y - 6, anchor: "middle" },
        };
        self.edge(event, "asked", &points, (nth == 0).then_some(label))
    }

    /// An event that order consumes, besides its other consumers.
    fn heard_by_order(&self, event: &'static str, from: usize, others: &[Edge]) -> Edge {
        let far = self.far() + 3;
        let points = [
            (self.middle(from), far),
            (self.middle(from), self.news),
            (self.middle(0), self.news),
            (self.middle(0), far),
        ];
        let alike = |edge: &&Edge| edge.class == "news" && edge.service == SERVICES[from];
        let line = others.iter().filter(alike).count();
        let (x, y) = self.point(self.middle(from), self.far());
        let label = match self.is_down {
            // Above its line, and below.
            true => Label { x: x + 8, y: y + [-8, 17, 32][line.min(2)], anchor: "start" },
            false => Label { x: x + 9, y: y + 22 + 15 * line as i32, anchor: "start" },
        };
        self.edge(event, "news", &points, Some(label))
    }

    fn edge(
        &self,
        event: &'static str,
        class: &'static str,
        points: &[(i32, i32)],
        label: Option<Label>,
    ) -> Edge {
        let points: Vec<_> = points.iter().map(|(u, v)| self.point(*u, *v)).collect();
        let each = points.iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>();
        let (tip, before) = (points[points.len() - 1], points[points.len() - 2]);
        Edge {
            event,
            service: said_by(event),
            class,
            words: labels::event(event),
            path: format!("M{}", each.join(" L")),
            head: head(before, tip),
            label,
        }
    }
}

/// An arrow's head, as points.
fn head(from: (i32, i32), tip: (i32, i32)) -> String {
    let (dx, dy) = ((tip.0 - from.0).signum(), (tip.1 - from.1).signum());
    let (x, y) = (tip.0 - 9 * dx, tip.1 - 9 * dy);
    format!("{},{} {},{} {},{}", tip.0, tip.1, x - 5 * dy, y - 5 * dx, x + 5 * dy, y + 5 * dx)
}
