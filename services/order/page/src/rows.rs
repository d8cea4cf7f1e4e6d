//! Renders one row of the list for each order.

use crate::{
    order_labels::{self, Ending},
    queues::Queues,
};
use askama::Template;
use events::OrderId;
use labels::short;
use messaging::queue_name;
use order::View;

#[derive(Template)]
#[template(path = "row.html")]
struct Row<'a> {
    id: OrderId,
    short: String,
    ending: Ending,
    what: String,
    /// The service it waits for, if that has no consumer.
    trouble: &'a str,
    /// For an order that waits, in milliseconds since 1970.
    since_ms: Option<i64>,
}

pub fn row(view: &View, queues: &Queues) -> String {
    let order = &view.order;
    let ending = Ending::of(order.status());
    let waiting = view.waits_for.as_deref().unwrap_or_default();
    let has_no_consumer =
        waiting.iter().any(|one| queues.consumers(&queue_name(one.service, one.after)) == Some(0));
    let trouble = match (waiting.iter().any(|one| one.stuck), has_no_consumer) {
        (true, _) => "stuck",
        (false, true) => "0 consumers",
        (false, false) => "",
    };
    let since = waiting.iter().map(|one| one.since).min();
    let is_open = ending == Ending::Open;
    let what = if is_open { order_labels::waits(waiting) } else { order_labels::ending(order) };
    let row = Row {
        id: view.id,
        short: short(view.id),
        ending,
        what,
        trouble,
        since_ms: since.map(|at| at.timestamp_millis()),
    };
    row.render().expect("a line of text can be written")
}
