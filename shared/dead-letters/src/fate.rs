//! What a replay would do, told before it is done. Pure.

use chrono::{DateTime, Utc};
use events::EventId;
use messaging::Kept;
use serde::Serialize;

use crate::Letter;

/// What its hearer's database knows of a dead letter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// The digest of what was handled under its id.
    pub handled: Option<Vec<u8>>,
    pub deed: Option<Deed>,
}

/// What a person has done about it before.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    Purged,
    /// It went on under this id.
    Repaired(EventId),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It goes into this queue, and is handled there.
    Goes { to: String },
    /// It goes into this queue, where it is known and changes nothing.
    NoEffect { to: String },
    /// It stays where it is.
    Refused { why: String },
}

/// What its hearer would refuse is refused here: nothing would stop a second handling.
pub fn fate(letter: &Letter, past: &Past, kept: Kept, now: DateTime<Utc>) -> Fate {
    let refused = |why: &str| Fate::Refused { why: why.into() };
    let Some(to) = letter.origin() else {
        return refused("nothing tells which queue it came from: export it, then purge it");
    };
    if let Some(why) = letter.message.unreadable() {
        let why = format!(
            "{why}, so it would be dead again: export it, write its properties anew, and import it \
             with --new-id; or purge it"
        );
        return Fate::Refused { why };
    }
    let Some(said_at) = letter.said_at() else {
        return refused(
            "its message_id is no UUID of version 7, so it would be dead again: export it, and \
             import it with --new-id",
        );
    };
    if let Some(Deed::Repaired(new)) = past.deed {
        let why = format!("it was repaired and went on as event {new}: purge it");
        return Fate::Refused { why };
    }
    match (&past.handled, kept.check(said_at, now)) {
        (Some(digest), in_time) if *digest == letter.message.digest() => match in_time {
            Ok(()) => Fate::NoEffect { to },
            Err(_) => refused("it was handled, and would be dead again for its age: purge it"),
        },
        (Some(_), _) => refused(
            "another content was handled under its id, so it would be dead again: purge it, or \
             find out who gave two events one id",
        ),
        (None, Err(why)) => Fate::Refused { why },
        (None, Ok(())) => Fate::Goes { to },
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

    /// Of a letter that was said just now.
    fn fate(letter: &Letter, past: &Past) -> Fate {
        super::fate(letter, past, Kept::default(), now())
    }

    fn why(letter: &Letter, past: &Past) -> String {
        match fate(letter, past) {
            Fate::Refused { why } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nobody_has_handled_goes_to_its_queue() {
        let goes = Fate::Goes { to: QUEUE.into() };
        assert_eq!(fate(&letter(now()), &Past::default()), goes);
        let purged_and_put_back = Past { deed: Some(Deed::Purged), ..Past::default() };
        assert_eq!(fate(&letter(now()), &purged_and_put_back), goes);
    }

    #[test]
    fn what_was_handled_has_no_effect() {
        let letter = letter(now());
        let past = Past { handled: Some(letter.message.digest()), deed: None };
        assert_eq!(fate(&letter, &past), Fate::NoEffect { to: QUEUE.into() });
        let forged = Past { handled: Some(vec![0; 16]), deed: None };
        assert!(why(&letter, &forged).contains("another content"));
    }

    #[test]
    fn what_its_hearer_would_refuse_for_its_time_is_refused() {
        let too_old = letter(now() - TimeDelta::days(31));
        let why_expired = why(&too_old, &Past::default());
        assert!(why_expired.contains("expired") && why_expired.contains("--new-id"));
        assert!(why(&letter(now() + TimeDelta::days(2)), &Past::default()).contains("future"));
        let handled = Past { handled: Some(too_old.message.digest()), deed: None };
        assert!(
            why(&too_old, &handled).contains("it was handled"),
            "not a second time by --new-id"
        );
    }

    #[test]
    fn what_went_on_under_another_id_does_not_go_again() {
        let past = Past { deed: Some(Deed::Repaired(Uuid::from_u128(3))), ..Past::default() };
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
        assert!(why(&lost, &Past::default()).contains("which queue"));
    }
}
