//! Filters dead letters.

use events::OrderId;
use messaging::dead_letters;

use dead_letters::Letter;

/// All given filters must match; without any, everything matches.
#[derive(Clone, Debug, Default)]
pub struct Pick {
    /// The queue that it failed in, or its dead-letter queue.
    pub queue: Option<String>,
    /// A message's id, whether or not that is a UUID.
    pub event: Option<String>,
    pub order: Option<OrderId>,
    /// Part of the reason.
    pub reason: Option<String>,
}

impl Pick {
    pub const fn is_everything(&self) -> bool {
        let Self { queue, event, order, reason } = self;
        queue.is_none() && event.is_none() && order.is_none() && reason.is_none()
    }

    /// Whether a matching message can be in that queue.
    pub fn looks_into(&self, parking: &str) -> bool {
        let named = self.queue.as_deref();
        named.is_none_or(|queue| queue == parking || dead_letters(queue) == parking)
    }

    pub fn fits(&self, letter: &Letter) -> bool {
        let event = self.event.as_ref();
        self.looks_into(&letter.parked)
            && event.is_none_or(|id| letter.message.id.as_ref() == Some(id))
            && self.order.is_none_or(|order| letter.order_id() == Some(order))
            && self.reason.as_ref().is_none_or(|part| letter.reason().contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use dead_letters::testing::letter;
    use uuid::Uuid;

    #[test]
    fn everything_that_is_given_must_fit() {
        let letter = letter(DateTime::from_timestamp(1_767_000_000, 0).unwrap());
        let pick = Pick {
            queue: Some("inventory.payment-approved".into()),
            event: letter.message.id.clone(),
            order: Some(Uuid::from_u128(5)),
            reason: Some("broke".into()),
        };
        assert!(pick.fits(&letter) && Pick::default().fits(&letter));
        let parked = Pick { queue: Some(letter.parked.clone()), ..Pick::default() };
        assert!(parked.fits(&letter));
        let others = [
            Pick { queue: Some("payment.order-created".into()), ..pick.clone() },
            Pick { event: Some("other".into()), ..pick.clone() },
            Pick { order: Some(Uuid::nil()), ..pick.clone() },
            Pick { reason: Some("fine".into()), ..pick },
        ];
        assert!(others.iter().all(|other| !other.fits(&letter) && !other.is_everything()));
    }
}
