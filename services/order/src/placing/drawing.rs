//! Turns a request into the rows to write and the answer.

use super::{Answered, Draft, Request};
use crate::{
    order::Order,
    root_event::root_event,
    store::{Answer, Placed},
    view::View,
};
use events::OrderCreated;
use messaging::Env;
use serde_json::json;
use sha2::{Digest, Sha256};

/// The order, its event, and the answer.
pub fn draw_up(env: &dyn Env, request: &Request) -> (Placed, Answered) {
    let Draft { customer_id, payment_method, items, total_amount } = request.draft.clone();
    let order_id = env.new_id();
    let created =
        OrderCreated { order_id, customer_id, payment_method, total_amount, items: items.clone() };
    let detail = json!({ "payment_method": payment_method, "total_amount": total_amount });
    let (fact, said) = root_event(env, &created, detail, request.trace.clone());
    let created_at = fact.at;
    let order = Order::new([fact]);
    let view = View {
        id: order_id,
        customer_id,
        payment_method,
        total_amount,
        items,
        created_at,
        order,
        waits_for: None,
    };
    let body = serde_json::to_string(&view).expect("an order is plain data");
    let answer = request.key.clone().map(|key| Answer {
        key,
        digest: digest(&request.draft),
        order_id,
        body: body.clone(),
    });
    let client = request.client.clone();
    (Placed { view, said, answer, client }, Answered { order_id, body })
}

/// Hashes the request's content, whatever its formatting.
fn digest(draft: &Draft) -> Vec<u8> {
    Sha256::digest(serde_json::to_vec(draft).expect("a draft is plain data")).to_vec()
}
