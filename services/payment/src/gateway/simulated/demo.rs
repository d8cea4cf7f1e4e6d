//! Gives the demonstration's payment methods the endings that they ask for.

use crate::{gateway::Request, verdict::Verdict};
use events::PaymentMethod;
use std::time::Duration;

/// `card_slow` is approved after this long.
const SLOW: Duration = Duration::from_secs(5);

/// `None`: answered at once.
pub fn latency(method: PaymentMethod) -> Option<Duration> {
    (method == PaymentMethod::CardSlow).then_some(SLOW)
}

/// `None`: approved.
pub fn verdict(request: &Request) -> Option<Verdict> {
    match request.method {
        PaymentMethod::CardDeclined => {
            Some(Verdict::Declined { reason: "422: card declined".into() })
        }
        PaymentMethod::CardUnavailable => Some(unavailable()),
        PaymentMethod::CardFlaky if request.attempt <= 2 => Some(unavailable()),
        _ => None,
    }
}

fn unavailable() -> Verdict {
    Verdict::unavailable("503: the provider is unavailable")
}
