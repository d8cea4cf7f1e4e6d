//! Simulates a provider in this process: the payment method determines the answer. A pure function
//! of key, method and attempt, so that a crash between call and commit changes nothing.

use super::{Gateway, Request};
use crate::verdict::Verdict;
use async_trait::async_trait;
use events::PaymentMethod;
use std::time::Duration;
use uuid::Uuid;

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
        match verdict(request) {
            Verdict::Unavailable { .. } => Verdict::NotCharged,
            word => word,
        }
    }

    async fn void(&self, request: &Request) -> Verdict {
        match verdict(request) {
            Verdict::Unavailable { .. } => Verdict::Voided,
            word => word,
        }
    }

    async fn refund(&self, request: &Request, _charge_key: Uuid) -> Verdict {
        Verdict::Done { reference: reference("REF", request.key) }
    }

    async fn probe(&self) -> Verdict {
        Verdict::NotCharged
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
        | PaymentMethod::CardSlow => Verdict::Done { reference: reference("SIM", request.key) },
    }
}

fn unavailable() -> Verdict {
    Verdict::unavailable("503: the provider is unavailable")
}

fn reference(kind: &str, key: Uuid) -> String {
    format!("{kind}-{}", &key.simple().to_string()[20..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Money;

    #[tokio::test]
    async fn a_look_up_and_a_void_know_what_the_charge_was_answered() {
        for method in PaymentMethod::ALL.iter().copied().filter(|it| it.name() != "card_slow") {
            for attempt in 1..4 {
                let (order_id, key) = (Uuid::from_u128(7), Uuid::from_u128(1));
                let amount = Money::ZERO;
                let request = Request { order_id, key, method, amount, attempt, trace: None };
                let (looked_up, voided) = match Simulated.charge(&request).await {
                    Verdict::Unavailable { .. } => (Verdict::NotCharged, Verdict::Voided),
                    word => (word.clone(), word),
                };
                assert_eq!(Simulated.look_up(&request).await, looked_up, "{method} {attempt}");
                assert_eq!(Simulated.void(&request).await, voided, "{method} {attempt}");
            }
        }
    }
}
