//! The payment provider, behind one small interface.

mod answer;
mod http;
mod simulated;

use crate::verdict::Verdict;
use async_trait::async_trait;
use events::{Money, OrderId, PaymentMethod};
use uuid::Uuid;

pub use answer::{Answer, Asked, read};
pub use http::Http;
pub use simulated::Simulated;

/// What is asked of the provider. It knows a charge by its key: asked again, it charges no second
/// time and gives the same answer.
#[derive(Clone, Debug)]
pub struct Request {
    pub order_id: OrderId,
    pub key: Uuid,
    pub method: PaymentMethod,
    pub amount: Money,
    pub attempt: u32,
    /// The W3C `traceparent` of what asks for it.
    pub trace: Option<String>,
}

#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    async fn charge(&self, request: &Request) -> Verdict;

    /// What has become of a charge. Charges nothing.
    async fn look_up(&self, request: &Request) -> Verdict;

    /// From here on this key is never charged, unless it was before: then the answer says so.
    async fn void(&self, request: &Request) -> Verdict;

    /// Gives back what was charged under `charge_key`; the request's own key is the refund's.
    async fn refund(&self, request: &Request, charge_key: Uuid) -> Verdict;

    /// Whether it is there at all. No order has to do with it.
    async fn probe(&self) -> Verdict;
}
