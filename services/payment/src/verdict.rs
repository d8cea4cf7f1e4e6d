//! What the provider's answer makes of a payment: as pure a decision as any reaction.

use crate::payment::{Charge, Payment, Status};
use events::{PaymentApproved, PaymentFailure, PaymentReversed};
use saga::Decision;
use std::time::Duration;
use uuid::Uuid;

/// The provider's answer to a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Approved {
        provider_ref: String,
    },
    /// It will not, today or ever.
    Declined {
        reason: String,
    },
    /// It has charged nothing, and may do so later.
    Unavailable {
        reason: String,
    },
}

/// How patient the desk is.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub attempts_max: u32,
    pub retry_delay: Duration,
}

/// Writes the verdict, but only for him who asked: whoever else had the charge in hand since has
/// asked under the same key.
pub fn settle_charge(
    payment: Payment,
    claim: Uuid,
    verdict: Verdict,
    policy: Policy,
) -> Decision<Payment> {
    let Some(charge) = payment.charge else {
        return Decision::nothing();
    };
    if charge.status != Status::Processing || charge.claim != Some(claim) {
        return Decision::nothing();
    }
    match verdict {
        Verdict::Approved { provider_ref } => {
            let said = PaymentApproved {
                order_id: charge.order_id,
                amount: charge.amount,
                provider_ref: provider_ref.clone(),
                items: charge.items.clone(),
            };
            let provider_ref = Some(provider_ref);
            let approved = Charge { provider_ref, last_error: None, ..charge };
            Decision::to(approved.rest(Status::Approved).into()).and_say(&said)
        }
        Verdict::Declined { reason } => Charge { last_error: Some(reason), ..charge }.refused(),
        Verdict::Unavailable { reason } => {
            let charge = Charge { last_error: Some(reason), ..charge };
            if charge.cancel_requested {
                charge.fail(Status::Failed, PaymentFailure::Cancelled)
            } else if charge.attempts >= policy.attempts_max {
                charge.fail(Status::Failed, PaymentFailure::Unavailable)
            } else {
                let wait = policy.wait(charge.attempts, charge.charge_key);
                Decision::to(charge.due(Status::Retrying, wait).into())
            }
        }
    }
}

/// The provider's answer to a refund. It is asked until it says yes.
pub fn settle_refund(
    payment: Payment,
    claim: Uuid,
    refund: Result<String, String>,
    policy: Policy,
) -> Decision<Payment> {
    let Some(charge) = payment.charge else {
        return Decision::nothing();
    };
    if charge.status != Status::Reversing || charge.claim != Some(claim) {
        return Decision::nothing();
    }
    match refund {
        Ok(refund_ref) => {
            let said = PaymentReversed {
                order_id: charge.order_id,
                amount: charge.amount,
                refund_ref: refund_ref.clone(),
            };
            let reversed = Charge { refund_ref: Some(refund_ref), last_error: None, ..charge };
            Decision::to(reversed.rest(Status::Reversed).into()).and_say(&said)
        }
        Err(reason) => {
            let wait = policy.wait(charge.refund_attempts, charge.charge_key);
            let charge = Charge { last_error: Some(reason), ..charge };
            Decision::to(charge.due(Status::Reversing, wait).into())
        }
    }
}

impl Charge {
    fn refused(self) -> Decision<Payment> {
        if self.cancel_requested {
            self.fail(Status::Failed, PaymentFailure::Cancelled)
        } else {
            self.fail(Status::Declined, PaymentFailure::Declined)
        }
    }
}

impl Policy {
    const LONGEST: Duration = Duration::from_secs(60);

    /// The second try is at once; from the third on the wait doubles, with a quarter of it for the
    /// jitter, which comes from the key: the same for every process that looks.
    fn wait(self, attempts: u32, key: Uuid) -> Duration {
        if attempts <= 1 {
            return Duration::ZERO;
        }
        let doubled = self.retry_delay.saturating_mul(1 << (attempts - 2).min(20));
        let wait = doubled.min(Self::LONGEST);
        let noise = u32::from(key.as_bytes()[15].wrapping_add(attempts.to_le_bytes()[0]));
        wait + wait * noise / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on::examples::{ORDER, charge};
    use events::PaymentFailed;

    const ME: Uuid = Uuid::from_u128(1);
    const POLICY: Policy = Policy { attempts_max: 5, retry_delay: Duration::from_secs(2) };

    fn in_hand(attempts: u32) -> Charge {
        Charge { claim: Some(ME), attempts, ..charge(Status::Processing) }
    }

    fn answer(charge: Charge, verdict: Verdict) -> (Charge, Vec<saga::Said>) {
        match settle_charge(charge.into(), ME, verdict, POLICY) {
            Decision::Change { state, says } => (state.charge.unwrap(), says),
            other => panic!("{other:?}"),
        }
    }

    fn unavailable() -> Verdict {
        Verdict::Unavailable { reason: "503".into() }
    }

    fn approved() -> Verdict {
        Verdict::Approved { provider_ref: "SIM-1".into() }
    }

    #[test]
    fn an_approval_is_said_with_its_reference() {
        let (after, says) = answer(in_hand(1), approved());
        assert_eq!((after.status, after.claim, after.due_in), (Status::Approved, None, None));
        assert_eq!(says[0].read::<PaymentApproved>().unwrap().provider_ref, "SIM-1");
    }

    #[test]
    fn an_approval_counts_even_after_a_cancel() {
        let (after, says) = answer(Charge { cancel_requested: true, ..in_hand(1) }, approved());
        assert_eq!((after.status, says.len()), (Status::Approved, 1));
    }

    #[test]
    fn the_provider_is_asked_again_at_once_then_later_and_later_then_never() {
        let waits: Vec<_> =
            (1..5).map(|n| answer(in_hand(n), unavailable()).0.due_in.unwrap().as_secs()).collect();
        assert_eq!(waits, [0, 2, 4, 8]);
        let (after, says) = answer(in_hand(5), unavailable());
        assert_eq!(after.status, Status::Failed);
        let said =
            PaymentFailed { order_id: ORDER, reason: PaymentFailure::Unavailable, attempts: 5 };
        assert_eq!(says[0].read::<PaymentFailed>(), Some(said));
    }

    #[test]
    fn after_a_cancel_anything_but_an_approval_fails_as_cancelled() {
        let declined = Verdict::Declined { reason: "422".into() };
        for verdict in [declined, unavailable()] {
            let (after, says) = answer(Charge { cancel_requested: true, ..in_hand(1) }, verdict);
            assert_eq!(after.status, Status::Failed);
            let said = says[0].read::<PaymentFailed>().unwrap();
            assert_eq!(said.reason, PaymentFailure::Cancelled);
        }
    }

    #[test]
    fn only_he_who_has_it_in_hand_may_write_the_verdict() {
        let other = Uuid::from_u128(2);
        let late = settle_charge(in_hand(1).into(), other, approved(), POLICY);
        assert_eq!(late, Decision::Nothing);
        let settled = Charge { claim: Some(ME), ..charge(Status::Approved) };
        assert_eq!(settle_charge(settled.into(), ME, approved(), POLICY), Decision::Nothing);
    }

    #[test]
    fn a_refund_is_asked_for_until_it_is_given() {
        let due = Charge { claim: Some(ME), refund_attempts: 99, ..charge(Status::Reversing) };
        let again = settle_refund(due.clone().into(), ME, Err("503".into()), POLICY);
        let Decision::Change { state, says } = again else { panic!("{again:?}") };
        let waiting = state.charge.unwrap();
        assert_eq!((waiting.status, says.len()), (Status::Reversing, 0));
        assert!(waiting.due_in.unwrap() <= Policy::LONGEST * 5 / 4);
        let given = settle_refund(due.into(), ME, Ok("REF-1".into()), POLICY);
        let Decision::Change { state, says } = given else { panic!("{given:?}") };
        assert_eq!(state.charge.unwrap().status, Status::Reversed);
        assert_eq!(says[0].read::<PaymentReversed>().unwrap().refund_ref, "REF-1");
    }
}
