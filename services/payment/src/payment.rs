//! Holds payment's state of an order and its transitions. Pure.

use events::{EventId, Item, Money, OrderId, PaymentFailed, PaymentFailure, PaymentMethod};
use reaction::{Cause, Decision};
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payment {
    /// None: the order is unknown.
    pub charge: Option<Charge>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    pub order_id: OrderId,
    pub status: Status,
    pub method: PaymentMethod,
    pub amount: Money,
    pub items: Vec<Item>,
    /// A cancel came during a call to the provider: only an approval still counts.
    pub cancel_requested: bool,
    pub attempts: u32,
    pub refund_attempts: u32,
    /// The next or present call of the desk; a refund goes by the status.
    pub next_call: Call,
    /// A request to charge may have reached the provider, or may yet: its outcome is unknown.
    pub in_doubt: bool,
    /// Look-ups and voids since the last charge.
    pub look_ups: u32,
    pub provider_ref: Option<String>,
    pub refund_ref: Option<String>,
    pub last_error: Option<String>,
    /// The cause of the present work.
    pub cause: Cause,
    /// The keys of charge and refund at the provider, the same at every attempt.
    pub charge_key: EventId,
    pub refund_key: Option<EventId>,
    /// The time from now until the desk may claim it.
    pub due_in: Option<Duration>,
    /// The desk's claim on it.
    pub claim: Option<Uuid>,
}

/// The kind of call about a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Charge,
    /// Asks for the outcome. Charges nothing.
    LookUp,
    /// Voids the charge, or reports that it was charged.
    Void,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Processing,
    Approved,
    Declined,
    Retrying,
    Failed,
    Reversing,
    Reversed,
}

impl Call {
    pub const ALL: [Self; 3] = [Self::Charge, Self::LookUp, Self::Void];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Charge => "CHARGE",
            Self::LookUp => "LOOK_UP",
            Self::Void => "VOID",
        }
    }
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Processing,
        Self::Approved,
        Self::Declined,
        Self::Retrying,
        Self::Failed,
        Self::Reversing,
        Self::Reversed,
    ];
    /// The states with pending work.
    pub const OPEN: [Self; 4] = [Self::Pending, Self::Processing, Self::Retrying, Self::Reversing];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Processing => "PROCESSING",
            Self::Approved => "APPROVED",
            Self::Declined => "DECLINED",
            Self::Retrying => "RETRYING",
            Self::Failed => "FAILED",
            Self::Reversing => "REVERSING",
            Self::Reversed => "REVERSED",
        }
    }
}

impl From<Charge> for Payment {
    fn from(charge: Charge) -> Self {
        Self { charge: Some(charge) }
    }
}

impl Charge {
    /// Nothing is due yet. Its key at the provider is the id of the event that brought it.
    pub const fn new(
        order_id: OrderId,
        method: PaymentMethod,
        amount: Money,
        items: Vec<Item>,
        cause: Cause,
    ) -> Self {
        Self {
            order_id,
            status: Status::Pending,
            method,
            amount,
            items,
            cancel_requested: false,
            attempts: 0,
            refund_attempts: 0,
            next_call: Call::Charge,
            in_doubt: false,
            look_ups: 0,
            provider_ref: None,
            refund_ref: None,
            last_error: None,
            charge_key: cause.event_id,
            cause,
            refund_key: None,
            due_in: None,
            claim: None,
        }
    }

    /// At rest: unclaimed, and nothing is due.
    pub fn rest(self, status: Status) -> Self {
        Self { status, due_in: None, claim: None, ..self }
    }

    /// Due for the desk, after a while.
    pub fn due(self, status: Status, due_in: Duration) -> Self {
        Self { status, due_in: Some(due_in), claim: None, ..self }
    }

    /// Claims it for a desk, which calls the provider; only this claim may write the answer.
    pub fn take_up(self, claim: Uuid) -> Self {
        let taken = Self { claim: Some(claim), due_in: None, ..self };
        match (taken.status, taken.next_call) {
            (Status::Reversing, _) => Self { refund_attempts: taken.refund_attempts + 1, ..taken },
            (_, Call::Charge) => {
                Self { status: Status::Processing, attempts: taken.attempts + 1, ..taken }
            }
            (_, Call::LookUp | Call::Void) => {
                Self { status: Status::Processing, look_ups: taken.look_ups + 1, ..taken }
            }
        }
    }

    /// Releases an expired claim. The outcome of a charge is unknown, and due for a look-up; a
    /// refund, a look-up or a void is sent again.
    pub fn put_back(self) -> Self {
        if self.status == Status::Reversing {
            return self.due(Status::Reversing, Duration::ZERO);
        }
        let next_call = match self.next_call {
            Call::Charge => Call::LookUp,
            asked => asked,
        };
        Self { in_doubt: true, next_call, ..self }.due(Status::Retrying, Duration::ZERO)
    }

    /// A request to charge was sent, and may still take effect unless it was voided.
    pub const fn may_be_charged(&self) -> bool {
        self.in_doubt || self.attempts > 0
    }

    /// Ends without a charge, and publishes that.
    pub fn fail(self, status: Status, reason: PaymentFailure) -> Decision<Payment> {
        let said = PaymentFailed { order_id: self.order_id, reason, attempts: self.attempts };
        Decision::to(self.rest(status).into()).and_say(&said)
    }
}

impl Payment {
    /// The goods are sold out or released: the payment is refunded.
    pub fn give_back(self, cause: Cause) -> Decision<Self> {
        let Some(charge) = self.charge else {
            return Decision::impossible("this order was never charged");
        };
        match charge.status {
            Status::Approved => {
                let refund_key = Some(cause.event_id);
                let refund = Charge { refund_key, cause, ..charge };
                Decision::to(refund.due(Status::Reversing, Duration::ZERO).into())
            }
            Status::Reversing | Status::Reversed => Decision::nothing(),
            never => Decision::impossible(format!(
                "a payment in status {} cannot be refunded",
                never.name()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on::examples::charge;

    const ME: Uuid = Uuid::from_u128(1);

    fn due(status: Status, next_call: Call) -> Charge {
        Charge { next_call, ..charge(status) }.due(status, Duration::ZERO)
    }

    /// Attempts, attempts of a refund, look-ups.
    const fn counted(charge: &Charge) -> (u32, u32, u32) {
        (charge.attempts, charge.refund_attempts, charge.look_ups)
    }

    #[test]
    fn what_is_taken_up_is_in_one_hand_and_counted() {
        use Status::{Pending, Processing, Retrying, Reversing};
        for (status, call, then, count) in [
            (Pending, Call::Charge, Processing, (1, 0, 0)),
            (Retrying, Call::Charge, Processing, (1, 0, 0)),
            (Retrying, Call::LookUp, Processing, (0, 0, 1)),
            (Retrying, Call::Void, Processing, (0, 0, 1)),
            (Reversing, Call::Charge, Reversing, (0, 1, 0)),
        ] {
            let taken = due(status, call).take_up(ME);
            assert_eq!((taken.status, taken.claim, taken.due_in), (then, Some(ME), None));
            assert_eq!((taken.next_call, counted(&taken)), (call, count));
        }
    }

    #[test]
    fn a_charge_left_in_hand_is_in_doubt_and_looked_up_before_anything() {
        for (asked, then) in
            [(Call::Charge, Call::LookUp), (Call::LookUp, Call::LookUp), (Call::Void, Call::Void)]
        {
            let left = due(Status::Retrying, asked).take_up(ME).put_back();
            assert_eq!((left.status, left.claim), (Status::Retrying, None));
            assert_eq!((left.next_call, left.in_doubt), (then, true));
            assert_eq!(left.due_in, Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_refund_left_in_hand_is_asked_for_again() {
        let reversing = due(Status::Reversing, Call::Charge);
        let left = reversing.clone().take_up(ME).put_back();
        assert_eq!(left, Charge { refund_attempts: 1, ..reversing });
    }

    #[test]
    fn states_and_calls_have_the_names_that_others_know() {
        assert_eq!(Call::ALL.map(Call::name), ["CHARGE", "LOOK_UP", "VOID"]);
        let states = Status::ALL.map(Status::name);
        assert_eq!(states[..4], ["PENDING", "PROCESSING", "APPROVED", "DECLINED"]);
        assert_eq!(states[4..], ["RETRYING", "FAILED", "REVERSING", "REVERSED"]);
    }
}
