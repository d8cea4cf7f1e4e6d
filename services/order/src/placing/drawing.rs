//! Makes of a request what is written and what is answered.

use super::{Answered, Draft, Request};
use crate::{
    order::Order,
    saying::say,
    store::{Answer, Placed},
    view::View,
};
use events::OrderCreated;
use messaging::World;
use serde_json::json;
use sha2::{Digest, Sha256};

/// The order, what is said about it, and what is answered.
pub fn draw_up(world: &dyn World, request: &Request) -> (Placed, Answered) {
    let Draft { customer_id, payment_method, items, total_amount } = request.draft.clone();
    let order_id = world.new_id();
    let created =
        OrderCreated { order_id, customer_id, payment_method, total_amount, items: items.clone() };
    let detail = json!({ "payment_method": payment_method, "total_amount": total_amount });
    let (fact, said) = say(world, &created, detail, request.trace.clone());
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
    (Placed { view, said, answer }, Answered { order_id, body })
}

/// Of what is asked for, however the client writes it down.
fn digest(draft: &Draft) -> Vec<u8> {
    Sha256::digest(serde_json::to_vec(draft).expect("a draft is plain data")).to_vec()
}
