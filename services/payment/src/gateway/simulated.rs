//! Simulates a provider in this process: it approves every charge, but for the demonstration's
//! methods. A pure function of key, method and attempt, so that a crash between call and commit
//! changes nothing.

#[cfg(feature = "demo")]
mod demo;

use super::{Gateway, Request};
use crate::verdict::Verdict;
use async_trait::async_trait;
use uuid::Uuid;

pub struct Simulated;

#[async_trait]
impl Gateway for Simulated {
    async fn charge(&self, request: &Request) -> Verdict {
        #[cfg(feature = "demo")]
        if let Some(latency) = demo::latency(request.method) {
            tokio::time::sleep(latency).await;
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
    #[cfg(feature = "demo")]
    if let Some(verdict) = demo::verdict(request) {
        return verdict;
    }
    Verdict::Done { reference: reference("SIM", request.key) }
}

fn reference(kind: &str, key: Uuid) -> String {
    format!("{kind}-{}", &key.simple().to_string()[20..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{Money, PaymentMethod};

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
