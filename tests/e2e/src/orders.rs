//! Orders as a customer writes them.

use events::ProductId;
use serde_json::{Value, json};
use uuid::Uuid;

pub const PLENTY: u128 = 1;
pub const LIMITED: u128 = 2;
pub const SOLD_OUT: u128 = 3;
pub const OVERSIZED: u128 = 4;

/// An order as the API shows it.
pub type Order = Value;

pub fn product(number: u128) -> ProductId {
    Uuid::from_u128(number)
}

pub fn order(method: &str, product_number: u128, quantity: u32) -> Value {
    json!({
        "customer_id": "123e4567-e89b-12d3-a456-426614174000",
        "payment_method": method,
        "items": [{
            "product_id": product(product_number),
            "quantity": quantity,
            "unit_price": serde_json::from_str::<Value>("49.90").expect("a number"),
        }],
    })
}
