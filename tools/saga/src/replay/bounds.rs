//! Parses and checks from when to when events are replayed. Pure.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use events::{EventId, lowest_id, said_at};
use messaging::history::{Kept, Range};
use messaging::{Retention, parse_duration};

#[derive(Clone, Debug)]
pub struct Wanted {
    pub from: From,
    pub until: Option<Moment>,
}

/// Where a replay begins.
#[derive(Clone, Debug)]
pub enum From {
    /// All that is kept, and that consumers accept.
    Oldest,
    Moment(Moment),
    /// Where another one was interrupted.
    After(EventId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    Ago(TimeDelta),
    At(DateTime<Utc>),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let ago = parse_duration(text).ok().and_then(|ago| TimeDelta::from_std(ago).ok());
        ago.map(Self::Ago)
            .ok_or_else(|| format!("{text:?} is no time; examples: 90m, 2h, 2026-11-28T10:00:00Z"))
    }
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "oldest" => Ok(Self::Oldest),
            _ => text.parse().map(Self::Moment).map_err(|why| format!("{why}, or oldest")),
        }
    }
}

impl Moment {
    fn before(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Ago(ago) => now.checked_sub_signed(*ago),
            Self::At(at) => Some(*at),
        }
    }
}

impl Wanted {
    /// `Kept` is of a moment at which the queue was bound: later events get there by themselves.
    pub fn range(&self, event: &str, kept: &Kept, retention: Retention) -> Result<Range> {
        let (Some(oldest), Some(newest)) = (kept.oldest, kept.newest) else {
            bail!(
                "nothing is kept that {} has published: it keeps events from its start with \
                 HISTORY_DAYS on",
                events::said_by(event)
            );
        };
        let accepted = lowest_id(retention.since(kept.now));
        let after = match &self.from {
            From::Oldest => lowest_id(time_of(oldest)).max(accepted),
            From::Moment(moment) => lowest_id(self.since(moment, oldest, kept.now)?),
            From::After(id) => *id,
        };
        ensure!(
            after >= accepted,
            "consumers refuse events from before {} (KEEP_DAYS): say a later --since",
            shown(retention.since(kept.now))
        );
        let end = EventId::from_u128(newest.as_u128().saturating_add(1));
        let before = match &self.until {
            Some(until) => lowest_id(until.before(kept.now).context("--until is too long ago")?),
            None => end,
        };
        ensure!(after < before || self.until.is_none(), "--until is before the beginning");
        Ok(Range { event: event.into(), after, before: before.min(end) })
    }

    fn since(&self, moment: &Moment, oldest: EventId, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        let since = moment.before(now).context("--since is too long ago")?;
        let kept_since = time_of(oldest);
        ensure!(
            since >= kept_since,
            "the oldest event that is kept is of {}: say `--since oldest` if that is enough, and \
             keep more by HISTORY_DAYS",
            shown(kept_since)
        );
        Ok(since)
    }
}

fn time_of(id: EventId) -> DateTime<Utc> {
    said_at(id).unwrap_or_default()
}

/// With milliseconds, to be repeated as an argument.
fn shown(at: DateTime<Utc>) -> String {
    at.format("%FT%T%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-29T12:00:00Z".parse().unwrap()
    }

    fn id(ago: TimeDelta) -> EventId {
        EventId::from_u128(lowest_id(now() - ago).as_u128() | 7 << 76 | 5)
    }

    fn range(since: &str, until: Option<&str>) -> Result<Range> {
        let until = until.map(|text| text.parse().unwrap());
        let kept = Kept {
            now: now(),
            oldest: Some(id(TimeDelta::days(8))),
            newest: Some(id(TimeDelta::minutes(1))),
        };
        let wanted = Wanted { from: since.parse().unwrap(), until };
        wanted.range("payment.approved", &kept, Retention::days(10))
    }

    #[test]
    fn it_begins_and_ends_where_it_is_told() {
        let both = range("2h", Some("2026-11-29T11:30:00Z")).unwrap();
        assert_eq!(both.after, lowest_id(now() - TimeDelta::hours(2)));
        assert_eq!(both.before, lowest_id(now() - TimeDelta::minutes(30)));
        let all = range("oldest", None).unwrap();
        assert!(all.after < id(TimeDelta::days(8)));
        assert!(all.before > id(TimeDelta::minutes(1)), "the newest is among them");
        assert!(all.before < id(TimeDelta::zero()), "later ones come by themselves");
        let none = range("10s", None).unwrap();
        assert!(none.after > none.before, "nothing was published since");
    }

    #[test]
    fn what_is_not_kept_or_would_be_refused_is_said() {
        let why = range("2026-11-21T11:59:59Z", None).unwrap_err().to_string();
        assert!(why.starts_with("the oldest event that is kept is of 2026-11-21T12:00:00.000Z"));
        assert!(why.contains("`--since oldest`") && why.contains("HISTORY_DAYS"), "{why}");
        let why = range("1h", Some("2h")).unwrap_err().to_string();
        assert_eq!(why, "--until is before the beginning");

        let kept = Kept { now: now(), oldest: Some(id(TimeDelta::days(8))), newest: None };
        let wanted = |from| Wanted { from, until: None };
        let nothing = wanted(From::Oldest).range("payment.approved", &kept, Retention::days(7));
        assert!(nothing.unwrap_err().to_string().contains("that payment has published"));
        let kept = Kept { newest: kept.oldest, ..kept };
        let old = From::Moment(Moment::Ago(TimeDelta::hours(24 * 8 - 1)));
        let why = wanted(old).range("payment.approved", &kept, Retention::days(7)).unwrap_err();
        assert!(why.to_string().contains("before 2026-11-22T12:00:00.000Z (KEEP_DAYS)"), "{why}");
        let accepted = wanted(From::Oldest).range("payment.approved", &kept, Retention::days(7));
        assert_eq!(accepted.unwrap().after, lowest_id(now() - TimeDelta::days(7)));
    }

    #[test]
    fn times_are_durations_or_dates() {
        assert_eq!("90m".parse(), Ok(Moment::Ago(TimeDelta::minutes(90))));
        assert_eq!("2026-11-29T13:00:00+01:00".parse(), Ok(Moment::At(now())));
        for wrong in ["", "yesterday", "2026-11-29", "7d"] {
            assert!(
                wrong.parse::<From>().unwrap_err().ends_with("2026-11-28T10:00:00Z, or oldest")
            );
        }
    }
}
