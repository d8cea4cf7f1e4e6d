use super::*;
use crate::on::examples::{ORDER, charge};
use events::PaymentFailed;
use std::collections::BTreeSet;

const ME: Uuid = Uuid::from_u128(1);
const POLICY: Policy = Policy { attempts_max: 5, retry_delay: Duration::from_secs(2) };

fn in_hand(attempts: u32) -> Charge {
    Charge { claim: Some(ME), attempts, ..charge(Status::Processing) }
}

fn in_doubt(call: Call, attempts: u32) -> Charge {
    Charge { in_doubt: true, next_call: call, ..in_hand(attempts) }
}

fn refund_in_hand() -> Charge {
    Charge { claim: Some(ME), refund_attempts: 3, ..charge(Status::Reversing) }
}

#[track_caller]
fn answer(charge: Charge, verdict: Verdict) -> (Charge, Vec<saga::Said>) {
    let asked = charge.clone();
    match settle(charge.into(), &asked, verdict, POLICY) {
        Decision::Change { state, says } => (state.charge.unwrap(), says),
        other => panic!("{other:?}"),
    }
}

/// It waits for its next call, and nothing is said.
#[track_caller]
fn waits(charge: Charge, verdict: Verdict) -> (Call, bool, u64) {
    let (after, says) = answer(charge, verdict);
    assert_eq!((after.status, after.claim, says.len()), (Status::Retrying, None, 0));
    (after.next_call, after.in_doubt, after.due_in.unwrap().as_secs())
}

#[track_caller]
fn fails(charge: Charge, verdict: Verdict) -> PaymentFailure {
    let (after, says) = answer(charge, verdict);
    assert!(matches!(after.status, Status::Failed | Status::Declined), "{after:?}");
    assert!(!after.in_doubt && after.due_in.is_none() && after.claim.is_none());
    says[0].read::<PaymentFailed>().unwrap().reason
}

fn unavailable() -> Verdict {
    Verdict::unavailable("503")
}

fn unknown() -> Verdict {
    Verdict::Unknown { reason: "no answer".into() }
}

fn refused() -> Verdict {
    Verdict::Refused { reason: "401".into() }
}

fn done() -> Verdict {
    Verdict::Done { reference: "SIM-1".into() }
}

#[test]
fn an_approval_is_said_with_its_reference() {
    let (after, says) = answer(in_hand(1).noting("503".into()), done());
    assert_eq!((after.status, after.claim, after.due_in), (Status::Approved, None, None));
    assert_eq!((after.provider_ref.as_deref(), after.last_error), (Some("SIM-1"), None));
    assert_eq!(says[0].read::<PaymentApproved>().unwrap().provider_ref, "SIM-1");
}

#[test]
fn an_approval_counts_whenever_and_however_it_comes() {
    for call in Call::ALL {
        let charge = Charge { cancel_requested: true, ..in_doubt(call, 5) };
        let (after, says) = answer(charge, done());
        assert_eq!((after.status, after.in_doubt, says.len()), (Status::Approved, false, 1));
    }
}

#[test]
fn the_provider_is_asked_again_at_once_then_later_and_later_then_never() {
    let waited: Vec<_> = (1..5).map(|n| waits(in_hand(n), unavailable())).collect();
    assert_eq!(waited, [0, 2, 4, 8].map(|seconds| (Call::Charge, false, seconds)));
    let (after, says) = answer(in_hand(5), unavailable());
    assert_eq!(after.status, Status::Failed);
    let said = PaymentFailed { order_id: ORDER, reason: PaymentFailure::Unavailable, attempts: 5 };
    assert_eq!(says[0].read::<PaymentFailed>(), Some(said));
}

#[test]
fn the_provider_may_ask_for_a_longer_wait_but_not_for_any() {
    let after = |seconds| Verdict::Unavailable {
        reason: "429".into(),
        retry_after: Some(Duration::from_secs(seconds)),
    };
    assert_eq!(waits(in_hand(1), after(7)).2, 7);
    assert_eq!(waits(in_hand(4), after(1)).2, 8);
    assert_eq!(waits(in_hand(1), after(86_400)).2, Policy::LONGEST.as_secs());
}

#[test]
fn after_a_cancel_anything_but_an_approval_fails_as_cancelled() {
    let declined = Verdict::Declined { reason: "422".into() };
    for verdict in [declined, unavailable(), refused(), Verdict::Voided] {
        let charge = Charge { cancel_requested: true, ..in_hand(1) };
        assert_eq!(fails(charge, verdict), PaymentFailure::Cancelled);
    }
}

#[test]
fn without_an_answer_it_is_looked_up_and_not_at_once() {
    for attempts in 1..5 {
        assert_eq!(waits(in_hand(attempts), unknown()), (Call::LookUp, true, 2));
    }
}

#[test]
fn a_look_up_goes_on_for_ever_less_and_less_often() {
    let asked =
        |look_ups, verdict| waits(Charge { look_ups, ..in_doubt(Call::LookUp, 1) }, verdict);
    assert_eq!(asked(1, unavailable()), (Call::LookUp, true, 4));
    assert_eq!(asked(2, unknown()), (Call::LookUp, true, 8));
    assert!(asked(1_000_000, unavailable()).2 <= 75);
    assert_eq!(asked(1, refused()), (Call::LookUp, true, 60));
}

#[test]
fn what_is_not_charged_yet_is_tried_again_and_stays_in_doubt() {
    assert_eq!(waits(in_doubt(Call::LookUp, 1), Verdict::NotCharged), (Call::Charge, true, 0));
    assert_eq!(waits(in_doubt(Call::LookUp, 2), Verdict::NotCharged), (Call::Charge, true, 2));
    assert_eq!(waits(in_doubt(Call::Charge, 2), unavailable()), (Call::Charge, true, 2));
    let looked_up = Charge { look_ups: 7, ..in_doubt(Call::LookUp, 1) };
    let (after, _) = answer(looked_up, Verdict::NotCharged);
    assert_eq!(after.look_ups, 0, "the next time it is looked up soon again");
}

#[test]
fn in_doubt_nothing_but_a_void_or_a_refusal_fails_it() {
    for cancel_requested in [false, true] {
        let given_up = |call| {
            let attempts = if cancel_requested { 1 } else { 5 };
            Charge { cancel_requested, ..in_doubt(call, attempts) }
        };
        for verdict in [unavailable(), unknown(), Verdict::NotCharged] {
            for call in Call::ALL {
                let (next, still_in_doubt, _) = waits(given_up(call), verdict.clone());
                assert_eq!((next, still_in_doubt), (Call::Void, true), "{verdict:?} to {call:?}");
            }
        }
        let wanted = match cancel_requested {
            true => PaymentFailure::Cancelled,
            false => PaymentFailure::Unavailable,
        };
        assert_eq!(fails(given_up(Call::Void), Verdict::Voided), wanted);
    }
    let declined = Verdict::Declined { reason: "422".into() };
    assert_eq!(fails(in_doubt(Call::LookUp, 1), declined), PaymentFailure::Declined);
}

#[test]
fn a_request_that_is_refused_waits_for_somebody_and_costs_no_attempt() {
    let (after, says) = answer(in_hand(5), refused());
    assert_eq!((after.status, after.attempts, says.len()), (Status::Retrying, 4, 0));
    assert_eq!((after.next_call, after.due_in), (Call::Charge, Some(Policy::LONGEST)));
    assert_eq!(after.last_error.as_deref(), Some("401"));
    assert_eq!(waits(in_doubt(Call::Void, 5), refused()), (Call::Void, true, 60));
}

#[test]
fn only_he_who_has_it_in_hand_may_write_the_verdict() {
    for asked in [in_hand(1), refund_in_hand()] {
        let nothing_comes = |now: Charge, asked: &Charge| {
            assert_eq!(settle(now.into(), asked, done(), POLICY), Decision::Nothing);
        };
        let other = Charge { claim: Some(Uuid::from_u128(2)), ..asked.clone() };
        nothing_comes(other, &asked);
        for elsewhere in [Status::Approved, Status::Reversed] {
            nothing_comes(Charge { status: elsewhere, ..asked.clone() }, &asked);
        }
        let nobodys = Charge { claim: None, ..asked };
        nothing_comes(nobodys.clone(), &nobodys);
    }
}

#[test]
fn a_refund_is_asked_for_until_it_is_given() {
    let declined = Verdict::Declined { reason: "422".into() };
    for (verdict, noted) in [
        (unavailable(), "503"),
        (unknown(), "no answer"),
        (refused(), "401"),
        (declined, "422"),
        (Verdict::NotCharged, "nothing was charged"),
        (Verdict::Voided, "it was voided"),
    ] {
        let (waiting, says) = answer(refund_in_hand(), verdict);
        assert_eq!((waiting.status, waiting.claim, says.len()), (Status::Reversing, None, 0));
        assert_eq!(waiting.due_in.unwrap().as_secs(), 4);
        assert_eq!(waiting.last_error.as_deref(), Some(noted));
    }
    let often = Charge { refund_attempts: 99, ..refund_in_hand() };
    let (waiting, _) = answer(often, unavailable());
    assert!(waiting.due_in.unwrap() <= Policy::LONGEST * 5 / 4);

    let given = Verdict::Done { reference: "REF-1".into() };
    let (reversed, says) = answer(refund_in_hand().noting("503".into()), given);
    assert_eq!((reversed.status, reversed.claim), (Status::Reversed, None));
    assert_eq!((reversed.refund_ref.as_deref(), reversed.last_error), (Some("REF-1"), None));
    assert_eq!(says[0].read::<PaymentReversed>().unwrap().refund_ref, "REF-1");
}

#[test]
fn a_refund_waits_as_long_as_the_provider_asks_for_but_not_for_ever() {
    for (asked, waited) in [(1, 4), (30, 30), (86_400, Policy::LONGEST.as_secs())] {
        let retry_after = Some(Duration::from_secs(asked));
        let verdict = Verdict::Unavailable { reason: "429".into(), retry_after };
        assert_eq!(answer(refund_in_hand(), verdict).0.due_in.unwrap().as_secs(), waited);
    }
}

#[test]
fn each_answer_is_counted_apart_and_two_are_the_providers_fault() {
    let declined = Verdict::Declined { reason: "422".into() };
    let others = [done(), declined, Verdict::Voided, Verdict::NotCharged, refused()];
    let faults = [unavailable(), unknown()];
    assert!(faults.iter().all(Verdict::is_fault) && !others.iter().any(Verdict::is_fault));
    let names: BTreeSet<_> = others.iter().chain(&faults).map(Verdict::name).collect();
    assert_eq!(names.len(), 7, "{names:?}");
}
