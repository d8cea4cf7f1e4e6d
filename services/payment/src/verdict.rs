//! Applies a provider's answer to a payment; as pure as any reaction.
//!
//! A payment that was sent to the provider fails only on the provider's documented answer: declined
//! or voided. After any other answer its outcome is unknown: it is looked up before the next
//! attempt, and voided before it fails, since the first request may still be on its way.

use crate::payment::{Call, Charge, Payment, Status};
use crate::policy::Policy;
use events::{PaymentApproved, PaymentFailure, PaymentReversed};
use reaction::Decision;
use std::time::Duration;
use uuid::Uuid;

/// The provider's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The money is charged, or refunded.
    Done { reference: String },
    /// It is not charged, and never will be.
    Declined { reason: String },
    /// It is not charged, and never will be: it was voided.
    Voided,
    /// Nothing is charged so far.
    NotCharged,
    /// The provider has accepted the request, and decides later.
    Pending { reason: String },
    /// Nothing was sent: no connection could be made.
    Unsent { reason: String },
    /// It does not let us in: an operator must act. It may be a proxy's answer.
    Unauthorised { reason: String },
    /// Not now. It may be a proxy's answer, and the call may have succeeded.
    Unavailable { reason: String, retry_after: Option<Duration> },
    /// The outcome of this call is unknown, now or later.
    Unknown { reason: String },
    /// The request seems wrong, or not allowed: an operator must act.
    Refused { reason: String },
}

impl Verdict {
    /// The provider has failed; a declined charge is not a failure.
    pub const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Unsent { .. }
                | Self::Unauthorised { .. }
                | Self::Unavailable { .. }
                | Self::Unknown { .. }
        )
    }

    /// Its label in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Declined { .. } => "declined",
            Self::Voided => "voided",
            Self::NotCharged => "not-charged",
            Self::Pending { .. } => "pending",
            Self::Unsent { .. } => "unsent",
            Self::Unauthorised { .. } => "unauthorised",
            Self::Unavailable { .. } => "unavailable",
            Self::Unknown { .. } => "unknown",
            Self::Refused { .. } => "refused",
        }
    }

    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: None }
    }

    pub(crate) fn reason(self) -> String {
        match self {
            Self::Declined { reason }
            | Self::Pending { reason }
            | Self::Unsent { reason }
            | Self::Unauthorised { reason }
            | Self::Unavailable { reason, .. }
            | Self::Unknown { reason }
            | Self::Refused { reason } => reason,
            Self::Done { reference } => reference,
            Self::Voided => "it was voided".into(),
            Self::NotCharged => "nothing was charged".into(),
        }
    }
}

/// Applies the answer to `asked`, the charge as it was when it was sent. Only the current claim's
/// result is applied: any later claim has asked under the same key.
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
        Verdict::NotCharged => charge.try_again(policy),
        Verdict::Pending { reason } => charge.noting(reason).await_decision(policy),
        Verdict::Unsent { reason } => {
            charge.uncounted().noting(reason).ask_again(policy, Duration::ZERO)
        }
        Verdict::Unavailable { reason, retry_after } => {
            let at_least = retry_after.unwrap_or_default().min(Policy::LONGEST);
            let charge = charge.doubted().noting(reason);
            match charge.next_call {
                // A provider that answers can be asked at once for the outcome.
                Call::Charge => charge.ask(policy, at_least),
                Call::LookUp | Call::Void => charge.ask_again(policy, at_least),
            }
        }
        Verdict::Unknown { reason } => {
            charge.doubted().noting(reason).ask_again(policy, Duration::ZERO)
        }
        Verdict::Unauthorised { reason } => {
            charge.doubted().uncounted().noting(reason).ask_again(policy, Duration::ZERO)
        }
        // Nothing of this is the order's fault.
        Verdict::Refused { reason } => {
            charge.doubted().uncounted().noting(reason).ask_again(policy, Policy::LONGEST)
        }
    }
}

/// The provider's answer to a refund. It is repeated until it succeeds.
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
        let approved = Self { provider_ref, last_error: None, ..self.decided() };
        Decision::to(approved.rest(Status::Approved).into()).and_say(&said)
    }

    fn decline(self) -> Decision<Payment> {
        let declined = self.decided();
        if declined.cancel_requested {
            declined.fail(Status::Failed, PaymentFailure::Cancelled)
        } else {
            declined.fail(Status::Declined, PaymentFailure::Declined)
        }
    }

    /// Fails: it is certain that nothing is charged.
    fn end(self) -> Decision<Payment> {
        let reason = match self.cancel_requested {
            true => PaymentFailure::Cancelled,
            false => PaymentFailure::Unavailable,
        };
        Self { in_doubt: false, ..self }.fail(Status::Failed, reason)
    }

    /// A request to charge was sent, and its outcome is unknown.
    fn doubted(self) -> Self {
        Self { in_doubt: self.in_doubt || self.next_call == Call::Charge, ..self }
    }

    /// The provider has processed it, however that attempt was counted.
    fn decided(self) -> Self {
        Self { in_doubt: false, attempts: self.attempts.max(1), ..self }
    }

    /// This attempt is not counted.
    fn uncounted(self) -> Self {
        let tried = u32::from(self.next_call == Call::Charge);
        Self { attempts: self.attempts.saturating_sub(tried), ..self }
    }

    /// Nothing is charged so far; a request that was sent still may be.
    fn try_again(self, policy: Policy) -> Decision<Payment> {
        match (self.is_given_up(policy), self.may_be_charged()) {
            (true, false) => self.end(),
            (true, true) => self.later(Call::Void, Duration::ZERO),
            (false, _) => {
                let wait = policy.wait(self.attempts, self.charge_key);
                Self { look_ups: 0, ..self }.later(Call::Charge, wait)
            }
        }
    }

    /// The same call again, as often as it takes.
    fn ask_again(self, policy: Policy, at_least: Duration) -> Decision<Payment> {
        if self.cancel_requested && !self.may_be_charged() {
            return self.end();
        }
        let wait = policy.wait_in_doubt(self.look_ups, self.charge_key).max(at_least);
        self.ask(policy, wait)
    }

    /// The provider decides in its own time: no reason to give up, even at the last attempt.
    fn await_decision(self, policy: Policy) -> Decision<Payment> {
        let attempts = match self.next_call {
            Call::Charge | Call::LookUp => self.attempts.min(policy.attempts_max - 1),
            Call::Void => self.attempts,
        };
        Self { in_doubt: true, attempts, ..self }.ask_again(policy, Duration::ZERO)
    }

    fn ask(self, policy: Policy, wait: Duration) -> Decision<Payment> {
        let call = if self.is_given_up(policy) { Call::Void } else { Call::LookUp };
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
