//! The payment provider: the simulated one's answers.

use crate::{
    files_of_payment::gateway::simulated::demo,
    payment::{Call, Charge, Status},
    verdict::Verdict,
};
use std::time::Duration;

/// What the simulated provider's answers depend on.
pub mod gateway {
    use events::PaymentMethod;

    pub struct Request {
        pub method: PaymentMethod,
        pub attempt: u32,
    }
}

/// Every other answer takes this long.
const QUICK: Duration = Duration::from_millis(300);

pub fn latency(charge: &Charge) -> Duration {
    let is_charge = charge.status == Status::Processing && charge.next_call == Call::Charge;
    demo::latency(charge.method).filter(|_| is_charge).unwrap_or(QUICK)
}

pub fn answer(charge: &Charge) -> Verdict {
    if charge.status == Status::Reversing {
        return Verdict::Done { reference: reference("REF", charge) };
    }
    let request = gateway::Request { method: charge.method, attempt: charge.attempts };
    match (charge.next_call, demo::verdict(&request)) {
        (_, None) => Verdict::Done { reference: reference("SIM", charge) },
        (Call::LookUp, Some(Verdict::Unavailable { .. })) => Verdict::NotCharged,
        (Call::Void, Some(Verdict::Unavailable { .. })) => Verdict::Voided,
        (_, Some(verdict)) => verdict,
    }
}

fn reference(kind: &str, charge: &Charge) -> String {
    let key = charge.refund_key.unwrap_or(charge.charge_key);
    format!("{kind}-{}", &key.simple().to_string()[20..])
}
