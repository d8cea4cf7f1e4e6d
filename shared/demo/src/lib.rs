//! Lists the orders of the demonstration, one for each ending: their payment methods, products and
//! cancels. The simulated provider, the stock and the carrier treat them specially.

use events::{Item, Money, PaymentMethod, ProductId};
use std::time::Duration;
use uuid::Uuid;

/// In stock, limited to 10, sold out, and too large for any carrier.
pub const QUILL: ProductId = Uuid::from_u128(1);
pub const LIMITED: ProductId = Uuid::from_u128(2);
pub const SOLD_OUT: ProductId = Uuid::from_u128(3);
pub const OVERSIZED: ProductId = Uuid::from_u128(4);
const UNKNOWN: ProductId = Uuid::from_u128(0xffff_ffff);

/// The default customer of these orders.
pub const CUSTOMER: Uuid = Uuid::from_u128(0x123e_4567_e89b_12d3_a456_4266_1417_4000);
pub const PRICE: Money = Money::cents(4990);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoOrder {
    pub method: PaymentMethod,
    pub product_id: ProductId,
    pub quantity: u32,
    /// The time from placing the order to the customer's cancel request.
    pub cancel_after: Option<Duration>,
}

impl DemoOrder {
    pub const CONFIRMED: Self = Self::paying(PaymentMethod::CreditCard);
    pub const DECLINED: Self = Self::paying(PaymentMethod::CardDeclined);
    pub const UNAVAILABLE: Self = Self::paying(PaymentMethod::CardUnavailable);
    pub const FLAKY: Self = Self::paying(PaymentMethod::CardFlaky);
    pub const SLOW: Self = Self::paying(PaymentMethod::CardSlow);
    pub const NONE_LEFT: Self = Self::of(SOLD_OUT, 1);
    pub const TOO_MANY: Self = Self::of(LIMITED, 11);
    pub const UNKNOWN_PRODUCT: Self = Self::of(UNKNOWN, 1);
    pub const CARRIER: Self = Self::of(OVERSIZED, 1);
    /// While `card_slow` is being charged, which takes 5 s.
    pub const CANCEL_CHARGED: Self = Self::SLOW.cancelled(1500);
    /// While `card_flaky` waits for its third try, which takes 2 s.
    pub const CANCEL_UNCHARGED: Self = Self::FLAKY.cancelled(700);

    const fn paying(method: PaymentMethod) -> Self {
        Self { method, product_id: QUILL, quantity: 2, cancel_after: None }
    }

    const fn of(product_id: ProductId, quantity: u32) -> Self {
        Self { product_id, quantity, ..Self::CONFIRMED }
    }

    const fn cancelled(self, after_ms: u64) -> Self {
        Self { cancel_after: Some(Duration::from_millis(after_ms)), ..self }
    }

    pub fn items(&self) -> Vec<Item> {
        vec![Item { product_id: self.product_id, quantity: self.quantity, unit_price: PRICE }]
    }
}
