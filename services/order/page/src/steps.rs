//! Lists the steps of one order for the drawing: publisher, consumers and cause of each event.

use crate::order_labels;
use events::{EventId, SAGA, said_by};
use order::{Fact, Order, Waiting};

/// One line of the drawing.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its publisher's lane.
    pub lane: usize,
    /// The lanes of its consumers; order's only if it is the only one.
    pub to: Vec<usize>,
    /// The line of its cause.
    pub cause: Option<usize>,
    pub kind: Kind,
    pub event: &'static str,
    pub words: &'static str,
    pub more: String,
    /// Since the first step.
    pub at_ms: Option<i64>,
    /// Since its cause.
    pub took_ms: Option<i64>,
    /// For an awaited step: since when, in milliseconds since 1970.
    pub since_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On the way to the customer.
    Forth,
    /// A compensation, or a bad end.
    Back,
    /// Order does not consume it: inferred, since a later event presupposes it.
    Inferred,
    /// It has not happened yet.
    Awaited,
    /// It has not happened yet, and will not happen by itself.
    Stuck,
}

impl Kind {
    pub const fn class(self) -> &'static str {
        match self {
            Self::Forth => "forth",
            Self::Back => "back",
            Self::Inferred => "inferred",
            Self::Awaited => "awaited",
            Self::Stuck => "stuck",
        }
    }
}

pub fn steps(order: &Order, waiting: &[Waiting]) -> Vec<Step> {
    let first = order.timeline().first().map(|fact| fact.at);
    let mut steps: Vec<Step> = Vec::new();
    let mut ids: Vec<Option<EventId>> = Vec::new();
    for fact in order.timeline() {
        let mut cause = position(&ids, fact.caused_by);
        if let Some(unheard) = order.unheard(fact) {
            cause = Some(steps.len());
            ids.push(fact.caused_by);
            steps.push(Step { cause: position(&ids, unheard.caused_by), ..said(unheard.event) });
        }
        let at = |fact: &Fact| first.map(|first| (fact.at - first).num_milliseconds());
        let before = cause.and_then(|cause| steps[cause].at_ms);
        let at_ms = at(fact);
        let is_failure = fact.event.ends_with("failed");
        ids.push(Some(fact.event_id));
        steps.push(Step {
            cause,
            kind: if is_failure || gives_back(fact.event) { Kind::Back } else { Kind::Forth },
            words: labels::fact(fact.event, &fact.detail),
            more: labels::more(fact.event, &fact.detail),
            at_ms,
            took_ms: at_ms.zip(before).map(|(at, before)| (at - before).max(0)),
            ..said(fact.event)
        });
    }
    for one in waiting {
        let cause = steps.iter().rposition(|step| step.event == one.after);
        steps.push(Step {
            lane: order_labels::place(one.service),
            to: Vec::new(),
            cause,
            kind: if one.stuck { Kind::Stuck } else { Kind::Awaited },
            since_ms: Some(one.since.timestamp_millis()),
            words: "waits",
            ..said(one.answers.first().copied().unwrap_or(one.after))
        });
    }
    steps
}

fn said(event: &'static str) -> Step {
    let hearers = SAGA.iter().filter(|step| step.hears == event && step.service != order::NAME);
    let mut to: Vec<_> = hearers.map(|step| order_labels::place(step.service)).collect();
    if to.is_empty() {
        to.push(order_labels::place(order::NAME));
    }
    Step {
        lane: order_labels::place(said_by(event)),
        to,
        cause: None,
        kind: Kind::Inferred,
        event,
        words: labels::event(event),
        more: String::new(),
        at_ms: None,
        took_ms: None,
        since_ms: None,
    }
}

fn gives_back(event: &str) -> bool {
    SAGA.iter().any(|step| step.compensates && (step.hears == event || step.may_say == [event]))
}

fn position(ids: &[Option<EventId>], id: Option<EventId>) -> Option<usize> {
    id.and_then(|id| ids.iter().position(|known| *known == Some(id)))
}
