//! Renders the system as JSON, for the page.

use crate::{
    order::{Cancel, Fact, Order},
    system::{SCENARIOS, System},
};
use events::{OrderId, said_by};
use serde_json::{Value, json};

/// The newest orders.
const SHOWN: usize = 30;

pub fn of(system: &System) -> Value {
    let services: Vec<_> = system.consumers.iter().map(|it| {
        let event = |message: &crate::queues::Message| {
            json!({ "event": message.said.event, "order": labels::short(message.order_id()) })
        };
        json!({
            "name": it.name,
            "is_running": it.is_running,
            "waiting": it.waiting.iter().map(|message| event(message)).collect::<Vec<_>>(),
            "repetitions": it.repetitions,
        })
    }).collect();
    let newest = system.placed.keys().rev().take(SHOWN);
    let published = system.published.iter().map(|(event, order)| {
        json!({ "event": event, "words": labels::event(event), "order": labels::short(*order) })
    });
    json!({
        "scenarios": SCENARIOS.map(|(name, _)| name),
        "services": services,
        "orders": newest.map(|id| order(system, *id)).collect::<Vec<_>>(),
        "published": published.collect::<Vec<_>>(),
        "dead": system.dead,
        "is_provider_up": system.is_provider_up,
        "is_busy": system.is_busy(),
    })
}

fn order(system: &System, id: OrderId) -> Value {
    let Some(order) = system.stores.orders.get(&id) else { return Value::Null };
    let first = order.timeline().first().map(|fact| fact.at);
    let steps = order
        .timeline()
        .iter()
        .flat_map(|fact| order.unheard(fact).into_iter().chain([fact.clone()]));
    let step = |fact: Fact| {
        let after = first.map(|first| (fact.at - first).num_milliseconds());
        json!({
            "service": said_by(fact.event),
            "event": fact.event,
            "words": labels::fact(fact.event, &fact.detail),
            "more": labels::more(fact.event, &fact.detail),
            "after": after.map(labels::span),
        })
    };
    json!({
        "id": id,
        "short": labels::short(id),
        "method": system.placed[&id].payment_method,
        "status": order.status(),
        "is_final": order.status().is_final(),
        "can_cancel": order.cancel() == Cancel::Publish,
        "waits": waits(system, id, order),
        "steps": steps.map(step).collect::<Vec<_>>(),
    })
}

/// What an order that has not ended waits for.
fn waits(system: &System, id: OrderId, order: &Order) -> Vec<String> {
    if order.status().is_final() {
        return Vec::new();
    }
    let queued = system.consumers.iter().flat_map(|it| {
        let of_order = it.waiting.iter().filter(move |message| message.order_id() == id);
        let state = if it.is_running { "" } else { ", which is stopped" };
        of_order.map(move |message| format!("{} waits for {}{state}", message.said.event, it.name))
    });
    let charge = system.stores.payments.get(&id).and_then(|payment| payment.charge.as_ref());
    let at_payment = charge.filter(|charge| crate::payment::Status::OPEN.contains(&charge.status));
    let at_payment = at_payment.map(|charge| {
        let tried = charge.attempts.max(1);
        let error = charge.last_error.as_ref().map_or_else(String::new, |it| format!(" ({it})"));
        format!("payment {}, try {tried}{error}", charge.status.name().to_lowercase())
    });
    queued.chain(at_payment).collect()
}
