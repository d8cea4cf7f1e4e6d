//! Draws the choreography from `SAGA`.

use crate::{SAGA, SERVICES, said_by};

/// The services and their events as a Mermaid flowchart: the way forth solid, the way back dotted.
pub fn diagram() -> String {
    let mut lines = vec!["flowchart LR".to_owned(), "    customer([customer])".to_owned()];
    lines.extend(SERVICES.iter().map(|service| format!("    {service}[{service}]")));
    lines.push("    customer == \"POST /orders\" ==> order".to_owned());
    let arrows = arrows();
    lines.extend(arrows.iter().map(|Arrow { from, to, back, labels }| {
        let (tail, head) = if *back { ("-.", ".->") } else { ("--", "-->") };
        format!("    {from} {tail} \"{}\" {head} {to}", labels.join("<br/>"))
    }));
    let backward = (1..).zip(&arrows).filter(|(_, arrow)| arrow.back);
    let backward: Vec<_> = backward.map(|(place, _): (usize, _)| place.to_string()).collect();
    lines.push(format!("    linkStyle {} stroke:#d9534f,stroke-width:2px", backward.join(",")));
    lines.join("\n") + "\n"
}

/// All events from one service to another, in one direction of the saga.
struct Arrow {
    from: &'static str,
    to: &'static str,
    back: bool,
    labels: Vec<&'static str>,
}

/// In the order of the steps, so that the drawing follows the way of an order.
fn arrows() -> Vec<Arrow> {
    let mut arrows: Vec<Arrow> = Vec::new();
    for step in SAGA {
        let (from, to, back) = (said_by(step.hears), step.service, step.compensates);
        match arrows.iter_mut().find(|a| (a.from, a.to, a.back) == (from, to, back)) {
            Some(arrow) => arrow.labels.push(step.hears),
            None => arrows.push(Arrow { from, to, back, labels: vec![step.hears] }),
        }
    }
    arrows
}
