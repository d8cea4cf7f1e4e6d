//! The payment provider, behind one small interface.

use crate::verdict::Verdict;
use async_trait::async_trait;
use events::{Money, PaymentMethod};
use std::time::Duration;
use uuid::Uuid;

/// What is asked of the provider. It knows a charge by its key: asked again, it charges no second
/// time and gives the same answer.
#[derive(Clone, Debug)]
pub struct Request {
    pub key: Uuid,
    pub method: PaymentMethod,
    pub amount: Money,
    pub attempt: u32,
}

#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    async fn charge(&self, request: &Request) -> Verdict;

    /// What has become of a charge whose answer nobody wrote down. Charges nothing.
    async fn look_up(&self, request: &Request) -> Verdict;

    /// The refund's reference, or why there is none yet.
    async fn refund(&self, request: &Request) -> Result<String, String>;
}

/// A provider inside this process that does what the payment method asks for. A pure function of
/// key, method and attempt, so that a crash between asking and writing down changes nothing.
pub struct Simulated;

/// `card_slow` is approved after this long.
const SLOW: Duration = Duration::from_secs(5);

#[async_trait]
impl Gateway for Simulated {
    async fn charge(&self, request: &Request) -> Verdict {
        if request.method == PaymentMethod::CardSlow {
            tokio::time::sleep(SLOW).await;
        }
        verdict(request)
    }

    async fn look_up(&self, request: &Request) -> Verdict {
        verdict(request)
    }

    async fn refund(&self, request: &Request) -> Result<String, String> {
        Ok(reference("REF", request.key))
    }
}

fn verdict(request: &Request) -> Verdict {
    match request.method {
        PaymentMethod::CardDeclined => Verdict::Declined { reason: "422: card declined".into() },
        PaymentMethod::CardUnavailable => unavailable(),
        PaymentMethod::CardFlaky if request.attempt <= 2 => unavailable(),
        PaymentMethod::CreditCard
        | PaymentMethod::DebitCard
        | PaymentMethod::Pix
        | PaymentMethod::BankTransfer
        | PaymentMethod::CardFlaky
        | PaymentMethod::CardSlow => {
            Verdict::Approved { provider_ref: reference("SIM", request.key) }
        }
    }
}

fn unavailable() -> Verdict {
    Verdict::Unavailable { reason: "503: the provider is unavailable".into() }
}

fn reference(kind: &str, key: Uuid) -> String {
    format!("{kind}-{}", &key.simple().to_string()[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_up_gives_the_answer_that_the_charge_had() {
        for method in PaymentMethod::ALL.into_iter().filter(|m| *m != PaymentMethod::CardSlow) {
            for attempt in 1..4 {
                let request =
                    Request { key: Uuid::from_u128(1), method, amount: Money::ZERO, attempt };
                let first = Simulated.charge(&request).await;
                assert_eq!(first, Simulated.look_up(&request).await, "{method} {attempt}");
            }
        }
    }
}
