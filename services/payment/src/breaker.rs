//! Circuit breaker: stops calls to a failing provider, and resumes them step by step.
//!
//! Pure: the caller passes the time. It counts the share of failures among all calls, so that a few
//! orders that are bound to fail do not stop the others.

use std::{collections::VecDeque, time::Duration};

/// Since the desk began, by a clock that nothing sets.
type Moment = Duration;

#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Fewer calls than this say nothing about the provider.
    pub calls_min: usize,
    /// The share of failures, in percent, that is too much.
    pub failures_max: usize,
    /// Circuit breaker: the window of calls that count.
    pub window: Duration,
    /// How long it stays open before a probe.
    pub pause: Duration,
    pub in_flight_max: usize,
}

pub struct Breaker {
    limits: Limits,
    state: State,
    /// The time of each answer, and whether it was a failure.
    calls: VecDeque<(Moment, bool)>,
    failures: usize,
}

#[derive(Clone, Copy)]
enum State {
    Closed,
    Open {
        until: Moment,
    },
    /// Half-open: so many concurrent calls, more with each success.
    Ramping {
        allowed: usize,
    },
}

/// The calls that the provider may get now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// So many calls at the same time.
    Calls(usize),
    /// Only a probe.
    Probe,
    Nothing {
        for_now: Duration,
    },
}

/// Reports that it has opened, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    pub failures: usize,
    pub calls: usize,
}

impl Breaker {
    const FIRST_ALLOWED: usize = 4;

    pub const fn new(limits: Limits) -> Self {
        Self { limits, state: State::Closed, calls: VecDeque::new(), failures: 0 }
    }

    /// Closed: the provider is not known to fail.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    pub fn room(&self, at: Moment) -> Room {
        match self.state {
            State::Closed => Room::Calls(self.limits.in_flight_max),
            State::Ramping { allowed } => Room::Calls(allowed),
            State::Open { until } => match until.saturating_sub(at) {
                Duration::ZERO => Room::Probe,
                for_now => Room::Nothing { for_now },
            },
        }
    }

    /// Records a call that was answered or has timed out.
    pub fn record(&mut self, at: Moment, failed: bool) -> Option<Opened> {
        if matches!(self.state, State::Open { .. }) {
            // The call was begun before it opened.
            return None;
        }
        self.calls.push_back((at, failed));
        self.failures += usize::from(failed);
        while let Some((then, old_failed)) = self.calls.front().copied()
            && at.saturating_sub(then) > self.limits.window
        {
            self.calls.pop_front();
            self.failures -= usize::from(old_failed);
        }
        let (failures, calls) = (self.failures, self.calls.len());
        if calls >= self.limits.calls_min && failures * 100 >= self.limits.failures_max * calls {
            self.open(at);
            return Some(Opened { failures, calls });
        }
        if let State::Ramping { allowed } = self.state
            && !failed
        {
            self.state = match allowed + 1 {
                enough if enough >= self.limits.in_flight_max => State::Closed,
                allowed => State::Ramping { allowed },
            };
        }
        None
    }

    /// Records a probe.
    pub fn probed(&mut self, at: Moment, failed: bool) {
        if failed {
            self.open(at);
        } else {
            let allowed = Self::FIRST_ALLOWED.min(self.limits.in_flight_max);
            self.state = State::Ramping { allowed };
        }
    }

    fn open(&mut self, at: Moment) {
        self.state = State::Open { until: at + self.limits.pause };
        self.calls.clear();
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        calls_min: 20,
        failures_max: 50,
        window: Duration::from_secs(10),
        pause: Duration::from_secs(5),
        in_flight_max: 8,
    };

    const fn second(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(LIMITS);
        let reports: Vec<_> = (0..20).filter_map(|_| breaker.record(second(0), true)).collect();
        assert_eq!(reports, [Opened { failures: 20, calls: 20 }]);
        breaker
    }

    #[test]
    fn it_takes_many_calls_and_half_of_them_failed() {
        let mut few = Breaker::new(LIMITS);
        assert!((0..19).all(|_| few.record(second(0), true).is_none()));
        let mut mixed = Breaker::new(LIMITS);
        assert!((0..1000).all(|call| mixed.record(second(0), call % 5 < 2).is_none()));
        assert_eq!(mixed.room(second(0)), Room::Calls(8));
        let at_half = (0..1000).find_map(|_| mixed.record(second(0), true)).unwrap();
        assert_eq!((at_half.failures, at_half.calls), (600, 1200));
    }

    #[test]
    fn old_calls_do_not_count() {
        let failed_at_first = || {
            let mut breaker = Breaker::new(LIMITS);
            assert!((0..19).all(|_| breaker.record(second(0), true).is_none()));
            breaker
        };
        assert!(failed_at_first().record(second(10), true).is_some(), "just young enough");
        let mut recovered = failed_at_first();
        assert!((0..20).all(|_| recovered.record(second(11), false).is_none()));
        assert!((0..19).all(|_| recovered.record(second(12), true).is_none()));
        assert!(recovered.record(second(12), true).is_some());

        let mut breaker = Breaker::new(LIMITS);
        assert!((0..19).all(|_| breaker.record(second(0), true).is_none()));
        assert!((0..19).all(|_| breaker.record(second(11), true).is_none()));
        assert!(breaker.record(second(11), true).is_some());
    }

    #[test]
    fn while_open_nothing_is_asked_and_then_only_whether_it_is_there() {
        let mut breaker = opened();
        assert_eq!(breaker.room(second(1)), Room::Nothing { for_now: Duration::from_secs(4) });
        assert_eq!(breaker.record(second(1), false), None, "it was begun before");
        assert_eq!(breaker.room(second(5)), Room::Probe);
        breaker.probed(second(6), true);
        assert_eq!(breaker.room(second(10)), Room::Nothing { for_now: Duration::from_secs(1) });
        assert_eq!(breaker.room(second(11)), Room::Probe);
    }

    #[test]
    fn the_drain_begins_with_few_and_grows_with_each_that_goes_well() {
        let mut breaker = opened();
        breaker.probed(second(5), false);
        assert_eq!(breaker.room(second(5)), Room::Calls(4));
        assert_eq!(breaker.record(second(5), true), None);
        assert_eq!(breaker.room(second(5)), Room::Calls(4));
        for allowed in 5..8 {
            breaker.record(second(6), false);
            assert_eq!(breaker.room(second(6)), Room::Calls(allowed));
        }
        for _ in 0..3 {
            breaker.record(second(6), false);
            assert_eq!(breaker.room(second(6)), Room::Calls(8), "as many as ever, and no more");
        }
    }

    #[test]
    fn a_relapse_opens_it_again() {
        let mut breaker = opened();
        breaker.probed(second(5), false);
        assert!((0..20).any(|_| breaker.record(second(6), true).is_some()));
        assert!(matches!(breaker.room(second(6)), Room::Nothing { .. }));
    }
}
