//! Defines the interface to the payment provider.

mod answer;
mod credentials;
mod http;
mod simulated;

use crate::verdict::Verdict;
use async_trait::async_trait;
use events::{Money, OrderId, PaymentMethod};
use uuid::Uuid;

pub use answer::{Answer, Asked, read};
pub use credentials::Credentials;
pub use http::Http;
pub use simulated::Simulated;

/// A request to the provider, idempotent by its key: repeated, it charges only once and gets the
/// same answer.
#[derive(Clone, Debug)]
pub struct Request {
    pub order_id: OrderId,
    pub key: Uuid,
    pub method: PaymentMethod,
    pub amount: Money,
    pub attempt: u32,
    /// The W3C `traceparent` of its cause.
    pub trace: Option<String>,
}

#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    async fn charge(&self, request: &Request) -> Verdict;

    /// Looks up the outcome of a charge. Charges nothing.
    async fn look_up(&self, request: &Request) -> Verdict;

    /// Voids this key: it is never charged from here on. If it was charged before, the answer says
    /// so.
    async fn void(&self, request: &Request) -> Verdict;

    /// Refunds what was charged under `charge_key`; the request's own key is the refund's.
    async fn refund(&self, request: &Request, charge_key: Uuid) -> Verdict;

    /// Checks that the provider is reachable. Concerns no order.
    async fn probe(&self) -> Verdict;
}
