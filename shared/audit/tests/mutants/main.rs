//! A healthy system passes; each mutant of it is caught by the right invariant.

mod beside;
mod catalogue;
mod healthy;
mod patch;

use audit::*;
use catalogue::{ALWAYS, IN_THE_END, Mutant};
use healthy::*;
use patch::Of;
use std::collections::BTreeSet;
use uuid::Uuid;

fn mutants() -> impl Iterator<Item = &'static Mutant> {
    ALWAYS.iter().chain(IN_THE_END)
}

fn patched(patch: fn(&mut Snapshot)) -> Snapshot {
    let mut snapshot = healthy();
    patch(&mut snapshot);
    snapshot
}

#[test]
fn a_healthy_system_passes() {
    assert_eq!(check(&healthy(), Quiet::Yes), []);
    assert_eq!(check(&healthy(), Quiet::No), []);
    assert_eq!(check(&Snapshot::default(), Quiet::Yes), []);
}

#[test]
fn every_mutant_is_caught_by_its_invariant() {
    for (invariant, why, patch) in mutants() {
        let found = check(&patched(*patch), Quiet::Yes);
        let caught = found.iter().any(|v| v.invariant == *invariant && v.why.contains(why));
        assert!(caught, "{invariant} {why:?}: {found:#?}");
    }
}

#[test]
fn every_invariant_has_a_mutant() {
    for invariant in 1..=6 {
        assert!(mutants().any(|(number, ..)| *number == invariant), "{invariant}");
    }
}

#[test]
fn what_must_hold_at_every_moment_is_not_put_off() {
    for (invariant, why, patch) in ALWAYS {
        let found = check(&patched(*patch), Quiet::No);
        let caught = found.iter().any(|v| v.invariant == *invariant && v.why.contains(why));
        assert!(caught, "{invariant} {why:?}: {found:#?}");
    }
}

#[test]
fn what_may_still_come_right_is_not_held_against_a_system_that_moves() {
    for (_, why, patch) in IN_THE_END {
        assert_eq!(check(&patched(*patch), Quiet::No), [], "{why}");
    }
}

#[test]
fn a_parked_dead_letter_excuses_its_order_and_no_other() {
    let mut stuck = healthy();
    stuck.unhear("order", DECLINED, "payment.failed");
    stuck.order(DECLINED).facts.pop();
    stuck.order(DECLINED).status = OrderStatus::Pending;
    assert_ne!(check(&stuck, Quiet::Yes), []);

    let mut by_order = stuck.clone();
    let letter = by_order.park("order.payment-failed.dlq", DECLINED, "payment.failed");
    assert_eq!(check(&by_order, Quiet::Yes), []);

    let mut purged = stuck.clone();
    purged.purged.push(letter);
    assert_eq!(check(&purged, Quiet::Yes), []);

    let mut of_another = stuck.clone();
    of_another.park("payment.order-created.dlq", CONFIRMED, "order.created");
    assert_ne!(check(&of_another, Quiet::Yes), []);
}

#[test]
fn a_dead_letter_without_an_order_id_is_known_by_its_event() {
    let mut stuck = healthy();
    stuck.unhear("payment", DECLINED, "order.created");
    stuck.unhear("order", DECLINED, "payment.failed");
    stuck.order(DECLINED).facts.pop();
    stuck.order(DECLINED).status = OrderStatus::Pending;
    stuck.payments.retain(|payment| payment.order_id != DECLINED);
    stuck.park("payment.order-created.dlq", DECLINED, "order.created");
    stuck.dead_letters[0].order_id = None;
    assert_eq!(check(&stuck, Quiet::Yes), []);
}

#[test]
fn a_mended_message_stands_for_the_old_one() {
    let (old, new) = (event_id(CONFIRMED, "payment.approved"), Uuid::from_u128(97));
    let mut mended = healthy();
    let row = mended.unhear("inventory", CONFIRMED, "payment.approved");
    let rows = mended.handled.get_mut("inventory").unwrap();
    rows.push(EventRow { event_id: new, digest: [7; 16], ..row });
    mended.fact(CONFIRMED, "inventory.reserved").caused_by = Some(new);
    assert_ne!(check(&mended, Quiet::Yes), []);
    mended.repaired.push(Repair { old, new });
    assert_eq!(check(&mended, Quiet::Yes), []);
}

#[test]
fn a_mended_message_is_a_fact_caused_by_the_old_one() {
    let (old, new) = (event_id(DECLINED, "payment.failed"), Uuid::from_u128(97));
    let mut mended = healthy();
    let row = mended.unhear("order", DECLINED, "payment.failed");
    let rows = mended.handled.get_mut("order").unwrap();
    rows.push(EventRow { event_id: new, digest: [7; 16], ..row });
    let fact = mended.fact(DECLINED, "payment.failed");
    (fact.event_id, fact.caused_by) = (new, Some(old));
    mended.repaired.push(Repair { old, new });
    assert_eq!(check(&mended, Quiet::Yes), []);
}

#[test]
fn keys_that_are_past_their_time_are_missed_by_nobody() {
    let mut old = healthy();
    old.handled.values_mut().for_each(Vec::clear);
    assert_ne!(check(&old, Quiet::Yes), []);
    old.keys_kept_since = Some(said_at() + chrono::TimeDelta::seconds(1));
    assert_eq!(check(&old, Quiet::Yes), []);
    old.keys_kept_since = Some(said_at());
    assert_ne!(check(&old, Quiet::Yes), []);
}

#[test]
fn a_snapshot_goes_through_json_and_back() {
    let text = serde_json::to_string(&healthy()).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), healthy());
}

/// One snapshot for each order, with all its rows, and one for all other ids.
fn parts(whole: &Snapshot) -> Vec<Snapshot> {
    let orders = (1..=6).map(|id| Scope::only([Uuid::from_u128(id)]));
    let scopes = orders.chain([Scope::range(Uuid::from_u128(7), Uuid::max())]);
    scopes.map(|scope| part(whole, &scope)).collect()
}

fn part(whole: &Snapshot, scope: &Scope) -> Snapshot {
    let mut part = whole.clone();
    part.orders.retain(|order| scope.contains(order.id));
    part.payments.retain(|payment| scope.contains(payment.order_id));
    part.reservations.retain(|reservation| scope.contains(reservation.order_id));
    part.refusals.retain(|order| scope.contains(*order));
    part.shipments.retain(|shipment| scope.contains(shipment.order_id));
    part.cancel_marks.retain(|order| scope.contains(*order));
    part.handled.values_mut().for_each(|rows| rows.retain(|row| scope.contains(row.order_id)));
    part.outboxes.values_mut().for_each(|rows| rows.retain(|row| scope.contains(row.order_id)));
    let books = part.provider.iter_mut();
    for books in books.flat_map(|provider| [&mut provider.charges, &mut provider.refunds]) {
        books.retain(|booking| scope.contains(booking.order_id));
    }
    part.told = whole.told.of(scope);
    part
}

/// Two orders that claim one event break other rules where each is read alone: its parts are read
/// once more by the events' ids.
#[test]
fn an_order_that_breaks_a_rule_breaks_one_in_its_part_too() {
    let in_parts = |whole: &Snapshot| {
        let (parts, mut held) = (parts(whole), Held::default());
        parts.iter().for_each(|part| held.add(part, |_| true));
        let found = parts.iter().flat_map(|part| check_orders(&[], part, Quiet::Yes));
        found.chain(check_whole(whole, &held, Quiet::Yes)).collect::<Vec<_>>()
    };
    assert_eq!(in_parts(&healthy()), []);
    for (invariant, why, patch) in mutants() {
        let whole = patched(*patch);
        let found: BTreeSet<_> = in_parts(&whole).iter().map(|found| found.order_id).collect();
        let wanted = check(&whole, Quiet::Yes).into_iter();
        let missed: Vec<_> = wanted.filter(|broken| !found.contains(&broken.order_id)).collect();
        assert_eq!(missed, [], "{invariant} {why:?}");
    }
}
