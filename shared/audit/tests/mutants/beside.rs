//! The same with two services beside the saga: mail hears the saga, and post hears mail.

use crate::catalogue::Mutant;
use crate::healthy::*;
use crate::patch::Of;
use audit::*;
use chrono::TimeDelta;
use events::{OrderId, Step};

const BESIDE: &[Step] = &[
    Step {
        service: "mail",
        hears: "payment.approved",
        may_say: &["mail.sent"],
        compensates: false,
    },
    // No service hears of that yet.
    Step { service: "post", hears: "mail.sent", may_say: &["post.stamped"], compensates: false },
];

fn row(order_id: OrderId, event: &str) -> EventRow {
    let (event_id, digest) = (event_id(order_id, event), digest(order_id, event));
    EventRow { event_id, event: name(event), order_id, digest }
}

fn with_both() -> Snapshot {
    let mut all = healthy();
    for Step { service, hears, .. } in BESIDE {
        let due = [((*hears).to_owned(), said_at())].into();
        all.due.insert((*service).into(), due);
        for rows in [&mut all.handled, &mut all.published] {
            rows.insert((*service).into(), Vec::new());
        }
        all.outboxes.insert((*service).into(), Vec::new());
    }
    let is_paid = |order: &&Order| order.facts.iter().any(|it| it.event == "payment.approved");
    let paid: Vec<_> = all.orders.iter().filter(is_paid).map(|order| order.id).collect();
    for order in paid {
        all.handled.get_mut("mail").unwrap().push(row(order, "payment.approved"));
        all.published.get_mut("mail").unwrap().push(row(order, "mail.sent"));
        all.handled.get_mut("post").unwrap().push(row(order, "mail.sent"));
        all.outboxes.get_mut("post").unwrap().push(row(order, "post.stamped"));
    }
    all
}

fn check(snapshot: &Snapshot) -> Vec<Violation> {
    check_with(BESIDE, snapshot, Quiet::Yes)
}

fn patched(patch: impl Fn(&mut Snapshot)) -> Snapshot {
    let mut snapshot = with_both();
    patch(&mut snapshot);
    snapshot
}

#[test]
fn a_healthy_system_with_them_passes() {
    assert_eq!(check(&with_both()), []);
}

#[test]
fn what_they_have_not_handled_or_published_is_a_violation() {
    let mutants: &[Mutant] = &[
        (5, "mail has not handled payment.approved", |s| {
            s.unhear("mail", CONFIRMED, "payment.approved");
        }),
        (5, "post has not handled mail.sent", |s| {
            s.unhear("post", CONFIRMED, "mail.sent");
        }),
        (5, "is still in mail's outbox", |s| {
            let row = row(CONFIRMED, "mail.sent");
            s.outboxes.get_mut("mail").unwrap().push(row);
        }),
        (5, "mail has handled order.created, which is not for it", |s| {
            s.hear("mail", DECLINED, "order.created", event_id(DECLINED, "order.created"));
        }),
        (1, "was published without its cause", |s| {
            s.published.get_mut("mail").unwrap().push(row(DECLINED, "mail.sent"));
        }),
        (6, "does not have the same bytes", |s| {
            s.handled.get_mut("mail").unwrap()[0].digest = [0; 16];
        }),
    ];
    for (invariant, why, patch) in mutants {
        let found = check(&patched(patch));
        let caught = found.iter().any(|it| it.invariant == *invariant && it.why.contains(why));
        assert!(caught, "{invariant} {why:?}: {found:#?}");
    }
}

#[test]
fn one_that_came_later_or_was_not_read_misses_nothing() {
    let deaf = patched(|s| {
        s.unhear("mail", CONFIRMED, "payment.approved");
    });
    assert_ne!(check(&deaf), []);
    let mut later = deaf.clone();
    let since = said_at() + TimeDelta::seconds(1);
    later.due.get_mut("mail").unwrap().insert("payment.approved".into(), since);
    assert_eq!(check(&later), []);
    let mut unread = deaf;
    unread.due.remove("mail");
    assert_eq!(check(&unread), []);
}

#[test]
fn a_dead_letter_of_theirs_excuses_them_and_not_the_order() {
    let mut stuck = with_both();
    stuck.unhear("mail", CONFIRMED, "payment.approved");
    stuck.park("mail.payment-approved.dlq", CONFIRMED, "payment.approved");
    assert_eq!(check(&stuck), []);
    stuck.dead_letters[0].message_id = None;
    stuck.poisoned = None;
    assert_eq!(check(&stuck), [], "the order tells what it is about");
    stuck.payment(CONFIRMED).status = PaymentStatus::Reversed;
    assert_ne!(check(&stuck), [], "the order's money does not depend on it");
}
