//! What the provider's answer makes of a payment: as pure a decision as any reaction.
//!
//! A payment fails only on the provider's word that nothing is charged. Where an answer is missing,
//! the payment is in doubt from then on: it is looked up before it is tried again, and voided
//! before it fails, since the first request may still be on its way.

use crate::payment::{Call, Charge, Payment, Status};
use crate::policy::Policy;
use events::{PaymentApproved, PaymentFailure, PaymentReversed};
use saga::Decision;
use std::time::Duration;
use uuid::Uuid;

/// The provider's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The money is taken, or given back.
    Done { reference: String },
    /// It will not be charged, today or ever.
    Declined { reason: String },
    /// It is not charged, and never will be, since we have asked for that.
    Voided,
    /// Nothing is charged so far.
    NotCharged,
    /// This call has done nothing, and may do so later.
    Unavailable { reason: String, retry_after: Option<Duration> },
    /// Nobody knows what this call has done, or will do.
    Unknown { reason: String },
    /// The request is wrong, or is not allowed: somebody has to mend something.
    Refused { reason: String },
}

impl Verdict {
    /// The provider has failed, as opposed to having said something that nobody likes.
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }

    /// As it is counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Declined { .. } => "declined",
            Self::Voided => "voided",
            Self::NotCharged => "not-charged",
            Self::Unavailable { .. } => "unavailable",
            Self::Unknown { .. } => "unknown",
            Self::Refused { .. } => "refused",
        }
    }

    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: None }
    }

    fn reason(self) -> String {
        match self {
            Self::Declined { reason }
            | Self::Unavailable { reason, .. }
            | Self::Unknown { reason }
            | Self::Refused { reason } => reason,
            Self::Done { reference } => reference,
            Self::Voided => "it was voided".into(),
            Self::NotCharged => "nothing was charged".into(),
        }
    }
}

/// What becomes of a payment by the answer to what was asked about it, which was `asked` then.
/// Only he is heard who has it in hand: whoever else had it since has asked under the same key.
pub fn settle(
    payment: Payment,
    asked: &Charge,
    verdict: Verdict,
    policy: Policy,
) -> Decision<Payment> {
    let Some(claim) = asked.claim else {
        return Decision::nothing();
    };
    match asked.status {
        Status::Reversing => settle_refund(payment, claim, verdict, policy),
        _ => settle_charge(payment, claim, verdict, policy),
    }
}

fn settle_charge(
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
        Verdict::Done { reference } => charge.approve(reference),
        Verdict::Declined { reason } => charge.noting(reason).decline(),
        Verdict::Voided => charge.end(),
        Verdict::NotCharged => charge.try_again(policy, Duration::ZERO),
        Verdict::Unavailable { reason, retry_after } => {
            let wait = retry_after.unwrap_or_default().min(Policy::LONGEST);
            match charge.next_call {
                Call::Charge => charge.noting(reason).try_again(policy, wait),
                Call::LookUp | Call::Void => charge.noting(reason).ask_again(policy, wait),
            }
        }
        Verdict::Unknown { reason } => {
            Charge { in_doubt: true, ..charge }.noting(reason).ask_again(policy, Duration::ZERO)
        }
        Verdict::Refused { reason } => match charge.next_call {
            Call::Charge if charge.cancel_requested => {
                charge.noting(reason).try_again(policy, Duration::ZERO)
            }
            // Nothing of this is the order's fault: it costs no attempt.
            Call::Charge => Charge { attempts: charge.attempts.saturating_sub(1), ..charge }
                .noting(reason)
                .later(Call::Charge, Policy::LONGEST),
            Call::LookUp | Call::Void => charge.noting(reason).ask_again(policy, Policy::LONGEST),
        },
    }
}

/// The provider's answer to a refund. It is asked until it says yes.
fn settle_refund(
    payment: Payment,
    claim: Uuid,
    verdict: Verdict,
    policy: Policy,
) -> Decision<Payment> {
    let Some(charge) = payment.charge else {
        return Decision::nothing();
    };
    if charge.status != Status::Reversing || charge.claim != Some(claim) {
        return Decision::nothing();
    }
    if let Verdict::Done { reference: refund_ref } = verdict {
        let said = PaymentReversed {
            order_id: charge.order_id,
            amount: charge.amount,
            refund_ref: refund_ref.clone(),
        };
        let reversed = Charge { refund_ref: Some(refund_ref), last_error: None, ..charge };
        return Decision::to(reversed.rest(Status::Reversed).into()).and_say(&said);
    }
    let asked = match verdict {
        Verdict::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let wait = policy.wait(charge.refund_attempts, charge.charge_key);
    let wait = wait.max(asked.min(Policy::LONGEST));
    Decision::to(charge.noting(verdict.reason()).due(Status::Reversing, wait).into())
}

impl Charge {
    fn noting(self, error: String) -> Self {
        Self { last_error: Some(error), ..self }
    }

    fn approve(self, provider_ref: String) -> Decision<Payment> {
        let said = PaymentApproved {
            order_id: self.order_id,
            amount: self.amount,
            provider_ref: provider_ref.clone(),
            items: self.items.clone(),
        };
        let provider_ref = Some(provider_ref);
        let approved = Self { provider_ref, last_error: None, in_doubt: false, ..self };
        Decision::to(approved.rest(Status::Approved).into()).and_say(&said)
    }

    fn decline(self) -> Decision<Payment> {
        let declined = Self { in_doubt: false, ..self };
        if declined.cancel_requested {
            declined.fail(Status::Failed, PaymentFailure::Cancelled)
        } else {
            declined.fail(Status::Declined, PaymentFailure::Declined)
        }
    }

    /// Fails, since it is certain that nothing is charged.
    fn end(self) -> Decision<Payment> {
        let reason = match self.cancel_requested {
            true => PaymentFailure::Cancelled,
            false => PaymentFailure::Unavailable,
        };
        Self { in_doubt: false, ..self }.fail(Status::Failed, reason)
    }

    /// This call has charged nothing. An earlier one, if there is doubt, still may.
    fn try_again(self, policy: Policy, at_least: Duration) -> Decision<Payment> {
        match (self.is_given_up(policy), self.in_doubt) {
            (true, false) => self.end(),
            (true, true) => self.later(Call::Void, Duration::ZERO),
            (false, _) => {
                let wait = policy.wait(self.attempts, self.charge_key).max(at_least);
                Self { look_ups: 0, ..self }.later(Call::Charge, wait)
            }
        }
    }

    /// In doubt, it is asked about for as long as that takes.
    fn ask_again(self, policy: Policy, at_least: Duration) -> Decision<Payment> {
        let wait = policy.wait_in_doubt(self.look_ups, self.charge_key).max(at_least);
        let call = match self.is_given_up(policy) {
            true => Call::Void,
            false => Call::LookUp,
        };
        self.later(call, wait)
    }

    fn later(self, next_call: Call, wait: Duration) -> Decision<Payment> {
        Decision::to(Self { next_call, ..self }.due(Status::Retrying, wait).into())
    }

    const fn is_given_up(&self, policy: Policy) -> bool {
        self.cancel_requested || self.attempts >= policy.attempts_max
    }
}

#[cfg(test)]
mod tests;
