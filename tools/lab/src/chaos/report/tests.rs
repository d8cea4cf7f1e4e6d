use std::time::Duration;

use audit::{Checked, DeadLetter, Violation};

use super::*;
use crate::chaos::fault::Faults;
use crate::chaos::faults::Recovery;
use crate::chaos::plan::{Every, Step};
use crate::chaos::poison::digest;

/// A run in which all went well.
struct Run {
    asked: Chaos,
    faults: Vec<Done>,
    orders: load::Report,
    poison: Poison,
    memory: Vec<Peak>,
    verdict: Result<Verdict, String>,
}

impl Run {
    fn good() -> Self {
        let second = Duration::from_secs(1);
        let every = Every { least: second, most: second };
        let asked = Chaos {
            seed: 1,
            length: second,
            faults: Faults::default(),
            every,
            orders: Some(10),
            rate: 40,
            in_flight: 8,
            rabbitmq: None,
            previous: None,
            mix: load::Mix::default(),
        };
        let steps = Plan::new(1, &asked.faults, every).take(3);
        let recoveries =
            [0.5, 2.5, 1.0].map(|took_s| vec![Recovery { measure: Measure::Consuming, took_s }]);
        let faults = steps.zip(recoveries).map(|(step, recoveries)| Done {
            step: Step { fault: Fault::ServiceKill, ..step },
            at_s: 0.0,
            took_s: 1.0,
            detail: "killed".into(),
            recoveries,
            placed: Vec::new(),
            error: None,
        });
        let mut poison = Poison::default();
        poison.add("order.payment-failed", b"poison", "the poison");
        let memory = vec![Peak { service: "order", rss_mb: 60.0, pss_mb: 50.0, limit_mb: 256.0 }];
        Self {
            faults: faults.collect(),
            orders: all_final(10),
            verdict: Ok(clean(vec![letter("poison")])),
            poison,
            memory,
            asked,
        }
    }

    fn report(self) -> Report {
        let Self { asked, faults, orders, poison, memory, verdict } = self;
        let seen = (&poison, memory);
        Report::new(&asked, faults, orders, seen, verdict, Duration::from_secs(9))
    }

    fn verdict(&mut self) -> &mut Verdict {
        self.verdict.as_mut().unwrap()
    }
}

fn all_final(number: usize) -> load::Report {
    let mut orders = load::Report::default();
    (orders.placed, orders.finished) = (number, number);
    orders
}

fn letter(id: &str) -> DeadLetter {
    DeadLetter {
        queue: "order.payment-failed.dlq".into(),
        message_id: Some(id.into()),
        order_id: None,
        event: None,
        reason: None,
        digest: Some(digest(id.as_bytes())),
    }
}

fn clean(dead_letters: Vec<DeadLetter>) -> Verdict {
    Verdict {
        outcome: Outcome::Clean,
        quiet: true,
        restless: Vec::new(),
        waited_s: 0.0,
        checked: Checked {
            orders: 10,
            orders_by_status: BTreeMap::new(),
            facts: 40,
            payments: 10,
            reservations: 10,
            shipments: 10,
            idempotency_keys: 80,
            queues: 27,
        },
        left: 0,
        young: 0,
        dead_letters,
        purged: Vec::new(),
        stranded: Vec::new(),
        repaired: Vec::new(),
        violations: Vec::new(),
        unchecked: BTreeMap::new(),
    }
}

#[test]
fn a_good_run_has_no_breaks_and_tells_how_long_recovery_took() {
    let report = Run::good().report();
    assert!(report.breaks.is_empty(), "{:?}", report.breaks);
    let [recovered] = report.recovery.as_slice() else { panic!("{:?}", report.recovery) };
    assert_eq!((recovered.fault, recovered.times), ("service-kill", 3));
    assert_eq!((recovered.p50_s, recovered.max_s, recovered.missed), (1.0, 2.5, 1));
    assert_eq!((report.lost, report.doubled, report.poisoned), (0, 0, 1));
}

/// The expected complaint, and a change to a good run that must cause it.
type Sabotage = (&'static str, fn(&mut Run));

const SABOTAGE: [Sabotage; 14] = [
    ("2: the order is charged twice", |run| {
        let why = "the order is charged twice".into();
        run.verdict().violations.push(Violation { invariant: 2, order_id: None, why });
        run.verdict().outcome = Outcome::Broken;
    }),
    ("does not come to rest", |run| run.verdict().outcome = Outcome::Moving),
    ("cannot be verified: no database", |run| run.verdict = Err("no database".into())),
    ("not final in the end", |run| run.orders.unfinished = 1),
    ("refused", |run| run.orders.refused = 1),
    ("1 order not placed in time", |run| run.orders.placed = 9),
    ("nothing to judge", |run| run.orders.placed = 0),
    ("1 order: confirmed ended CANCELLED", |run| {
        run.orders.unexpected_ends.insert("confirmed ended CANCELLED".into(), 1);
    }),
    ("1 order: flaky ended PAYMENT_FAILED", |run| {
        run.orders.unexpected_ends.insert("flaky ended PAYMENT_FAILED".into(), 1);
    }),
    ("fault 2, service-kill", |run| run.faults[1].error = Some("it cannot be killed".into())),
    ("nothing went wrong", |run| run.faults.clear()),
    ("and nobody poisoned it", |run| run.verdict().dead_letters.push(letter("an event"))),
    ("does not hold the poison", |run| run.verdict().dead_letters.clear()),
    ("order took 300 MB, and its container has 256", |run| run.memory[0].rss_mb = 300.0),
];

#[test]
fn whatever_is_wrong_is_a_break() {
    for (told, sabotage) in SABOTAGE {
        let mut run = Run::good();
        sabotage(&mut run);
        let breaks = run.report().breaks;
        assert!(breaks.iter().any(|why| why.contains(told)), "{told}: {breaks:?}");
    }
}

#[test]
fn poison_is_a_dead_letter_once() {
    let mut run = Run::good();
    run.verdict().dead_letters.push(letter("poison"));
    assert!(run.report().breaks[0].contains("a second time"));
}

#[test]
fn a_card_that_fails_anyway_may_fail_for_good_while_the_provider_is_away() {
    let mut run = Run::good();
    run.orders.unexpected_ends.insert("flaky ended PAYMENT_FAILED".into(), 2);
    run.faults[0].step.fault = Fault::ProviderKill;
    let breaks = run.report().breaks;
    assert!(breaks.is_empty(), "{breaks:?}");
}

#[test]
fn what_is_lost_and_what_is_doubled_is_counted() {
    let mut run = Run::good();
    for invariant in [1, 2, 4, 5, 6] {
        let why = String::new();
        run.verdict().violations.push(Violation { invariant, order_id: None, why });
    }
    run.orders.unfinished = 1;
    let report = run.report();
    assert_eq!((report.lost, report.doubled), (4, 2));
}
