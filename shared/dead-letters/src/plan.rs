//! Computes what a replay would do, before it is done. Pure.

use chrono::{DateTime, Utc};
use events::EventId;
use messaging::Retention;
use serde::Serialize;

use crate::Letter;

/// The records of a dead letter in its consumer's database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// The digest of what was handled under its id.
    pub handled: Option<Vec<u8>>,
    pub prior_action: Option<PriorAction>,
}

/// The earlier action of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum PriorAction {
    Purged,
    /// It was republished under this id.
    Repaired(EventId),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayPlan {
    /// It goes to this queue, and is handled there.
    Goes { to: String },
    /// It goes to this queue, where it is known and changes nothing.
    NoEffect { to: String },
    /// It stays where it is.
    Refused { why: String },
}

impl ReplayPlan {
    /// For people, and whether a replay would be a success.
    pub fn told(&self) -> (String, bool) {
        match self {
            Self::Goes { to } => (format!("would go to {to}, to be handled once"), true),
            Self::NoEffect { to } => (format!("already handled: no effect in {to}"), true),
            Self::Refused { why } => (format!("refused: {why}"), false),
        }
    }
}

/// Refuses what the consumer would refuse: nothing would prevent a second handling.
pub fn plan(letter: &Letter, past: &Past, retention: Retention, now: DateTime<Utc>) -> ReplayPlan {
    let refused = |why: &str| ReplayPlan::Refused { why: why.into() };
    let Some(to) = letter.origin() else {
        return refused("its original queue is unknown: export it, then purge it");
    };
    if let Some(why) = letter.message.unreadable() {
        let why = format!(
            "{why}, so it would become a dead letter again: export it, rewrite its properties, and \
             import it with --new-id; or purge it"
        );
        return ReplayPlan::Refused { why };
    }
    let Some(said_at) = letter.said_at() else {
        return refused(
            "its message_id is not a UUID of version 7, so it would become a dead letter again: \
             export it, and import it with --new-id",
        );
    };
    if let Some(PriorAction::Repaired(new)) = past.prior_action {
        let why = format!("it was repaired and republished as event {new}: purge it");
        return ReplayPlan::Refused { why };
    }
    match (&past.handled, retention.check(said_at, now)) {
        (Some(digest), in_time) if *digest == letter.message.digest() => match in_time {
            Ok(()) => ReplayPlan::NoEffect { to },
            Err(_) => refused("it was already handled, and is expired: purge it"),
        },
        (Some(_), _) => refused(
            "another body was already handled under its id, so it would become a dead letter \
             again: purge it, or find the publisher that reuses ids",
        ),
        (None, Err(why)) => ReplayPlan::Refused { why },
        (None, Ok(())) => ReplayPlan::Goes { to },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{QUEUE, letter};
    use chrono::TimeDelta;
    use uuid::Uuid;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_000_000, 0).unwrap()
    }

    /// Of a letter of just now.
    fn plan(letter: &Letter, past: &Past) -> ReplayPlan {
        super::plan(letter, past, Retention::default(), now())
    }

    fn why(letter: &Letter, past: &Past) -> String {
        match plan(letter, past) {
            ReplayPlan::Refused { why } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nobody_has_handled_goes_to_its_queue() {
        let goes = ReplayPlan::Goes { to: QUEUE.into() };
        assert_eq!(plan(&letter(now()), &Past::default()), goes);
        let purged_and_put_back =
            Past { prior_action: Some(PriorAction::Purged), ..Past::default() };
        assert_eq!(plan(&letter(now()), &purged_and_put_back), goes);
    }

    #[test]
    fn what_was_handled_has_no_effect() {
        let letter = letter(now());
        let past = Past { handled: Some(letter.message.digest()), prior_action: None };
        assert_eq!(plan(&letter, &past), ReplayPlan::NoEffect { to: QUEUE.into() });
        let forged = Past { handled: Some(vec![0; 16]), prior_action: None };
        assert!(why(&letter, &forged).contains("another body"));
    }

    #[test]
    fn what_its_hearer_would_refuse_for_its_time_is_refused() {
        let too_old = letter(now() - TimeDelta::days(31));
        let why_expired = why(&too_old, &Past::default());
        assert!(why_expired.contains("expired") && why_expired.contains("--new-id"));
        assert!(why(&letter(now() + TimeDelta::days(2)), &Past::default()).contains("future"));
        let handled = Past { handled: Some(too_old.message.digest()), prior_action: None };
        assert!(
            why(&too_old, &handled).contains("it was already handled"),
            "not a second time by --new-id"
        );
    }

    #[test]
    fn what_went_on_under_another_id_does_not_go_again() {
        let past = Past {
            prior_action: Some(PriorAction::Repaired(Uuid::from_u128(3))),
            ..Past::default()
        };
        assert!(why(&letter(now()), &past).contains("purge it"));
    }

    #[test]
    fn what_cannot_be_handled_anywhere_is_refused() {
        let mut odd = letter(now());
        odd.message.id = Some("seven".into());
        assert!(why(&odd, &Past::default()).contains("version 7"));
        let mut lost = letter(now());
        lost.parked = "unrouted".into();
        lost.message.headers.clear();
        assert!(why(&lost, &Past::default()).contains("original queue is unknown"));
    }
}
