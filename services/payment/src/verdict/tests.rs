use super::*;
use crate::gateway::{Answer, Asked, read};
use crate::on::examples::{ORDER, charge};
use events::PaymentFailed;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ME: Uuid = Uuid::from_u128(1);
const POLICY: Policy = Policy { attempts_max: 5, retry_delay: Duration::from_secs(2) };

/// Its key gives little jitter.
fn in_hand(attempts: u32) -> Charge {
    let charge_key = Uuid::from_u128(1);
    Charge { claim: Some(ME), attempts, charge_key, ..charge(Status::Processing) }
}

impl Charge {
    fn asking(self, next_call: Call) -> Self {
        Self { next_call, ..self }
    }
}

fn in_doubt(call: Call, attempts: u32) -> Charge {
    Charge { in_doubt: true, next_call: call, ..in_hand(attempts) }
}

fn refund_in_hand() -> Charge {
    Charge { claim: Some(ME), refund_attempts: 3, ..charge(Status::Reversing) }
}

#[track_caller]
fn answer(charge: Charge, verdict: Verdict) -> (Charge, Vec<reaction::Said>) {
    let asked = charge.clone();
    match settle(charge.into(), &asked, verdict, POLICY) {
        Decision::Change { state, says } => (state.charge.unwrap(), says),
        other => panic!("{other:?}"),
    }
}

/// It waits for its next call, and no event is published.
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

fn unauthorised() -> Verdict {
    Verdict::Unauthorised { reason: "401".into() }
}

#[test]
fn without_valid_credentials_a_charge_waits_and_no_attempt_counts() {
    let waiting = in_hand(5).asking(Call::Charge);
    let (after, says) = answer(waiting, unauthorised());
    assert_eq!((after.status, after.attempts, says.len()), (Status::Retrying, 4, 0));
    assert_eq!(waits(in_hand(1).asking(Call::Charge), unauthorised()), (Call::LookUp, true, 2));
    // A proxy may have said it after the charge: a cancel is voided first.
    let cancelled = Charge { cancel_requested: true, ..in_hand(1).asking(Call::Charge) };
    let (next, in_doubt, _) = waits(cancelled, unauthorised());
    assert_eq!((next, in_doubt), (Call::Void, true));
    let (refund, says) = answer(refund_in_hand(), unauthorised());
    assert_eq!((refund.status, says.len()), (Status::Reversing, 0));
}

fn unsent() -> Verdict {
    Verdict::Unsent { reason: "no connection".into() }
}

fn pending() -> Verdict {
    Verdict::Pending { reason: "202".into() }
}

fn unknown() -> Verdict {
    Verdict::Unknown { reason: "no answer".into() }
}

fn refused() -> Verdict {
    Verdict::Refused { reason: "400".into() }
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
fn where_nothing_was_charged_it_is_tried_at_once_then_later_and_later_then_voided() {
    let looked_up = |attempts| waits(in_doubt(Call::LookUp, attempts), Verdict::NotCharged);
    let waited: Vec<_> = (1..5).map(looked_up).collect();
    assert_eq!(waited, [0, 2, 4, 8].map(|seconds| (Call::Charge, true, seconds)));
    assert_eq!(looked_up(5), (Call::Void, true, 0));
    let (after, says) = answer(in_doubt(Call::Void, 5), Verdict::Voided);
    assert_eq!(after.status, Status::Failed);
    let said = PaymentFailed { order_id: ORDER, reason: PaymentFailure::Unavailable, attempts: 5 };
    assert_eq!(says[0].read::<PaymentFailed>(), Some(said));
}

/// It may be a proxy's answer, after the provider has charged.
#[test]
fn an_answer_that_asks_for_patience_is_doubted_and_looked_up_at_once() {
    for attempts in 1..5 {
        assert_eq!(waits(in_hand(attempts), unavailable()), (Call::LookUp, true, 0));
    }
    assert_eq!(waits(in_hand(5), unavailable()), (Call::Void, true, 0));
}

#[test]
fn the_provider_may_ask_for_a_longer_wait_but_not_for_any() {
    let after = |seconds| Verdict::Unavailable {
        reason: "429".into(),
        retry_after: Some(Duration::from_secs(seconds)),
    };
    assert_eq!(waits(in_hand(1), after(7)).2, 7);
    assert_eq!(waits(in_doubt(Call::LookUp, 4), after(7)).2, 7);
    assert_eq!(waits(in_doubt(Call::LookUp, 4), after(1)).2, 2);
    assert_eq!(waits(in_hand(1), after(86_400)).2, Policy::LONGEST.as_secs());
}

#[test]
fn after_a_cancel_only_a_no_of_the_provider_fails_it_and_all_else_is_voided() {
    let cancelled = |call| Charge { cancel_requested: true, next_call: call, ..in_hand(1) };
    let declined = Verdict::Declined { reason: "422".into() };
    for verdict in [declined, Verdict::Voided] {
        assert_eq!(fails(cancelled(Call::Charge), verdict), PaymentFailure::Cancelled);
    }
    for verdict in [unavailable(), unknown(), refused(), pending(), Verdict::NotCharged] {
        for call in Call::ALL {
            let (next, ..) = waits(cancelled(call), verdict.clone());
            assert_eq!(next, Call::Void, "{verdict:?} to {call:?}");
        }
    }
}

#[test]
fn what_was_never_sent_costs_no_attempt_and_waits_for_the_provider() {
    for attempts in [1, 5] {
        let (after, says) = answer(in_hand(attempts), unsent());
        assert_eq!((after.status, after.attempts, says.len()), (Status::Retrying, attempts - 1, 0));
        assert_eq!((after.next_call, after.in_doubt), (Call::LookUp, false));
    }
    let never_sent = |look_ups| Charge { look_ups, ..in_hand(0) }.asking(Call::LookUp);
    assert_eq!(waits(never_sent(1), unsent()), (Call::LookUp, false, 4));
    assert!(waits(never_sent(1_000_000), unsent()).2 <= 75);
    assert_eq!(waits(never_sent(3), Verdict::NotCharged), (Call::Charge, false, 0));
}

#[test]
fn what_was_never_sent_is_cancelled_without_the_provider() {
    for (call, attempts) in [(Call::Charge, 1), (Call::LookUp, 0)] {
        let charge = Charge { cancel_requested: true, ..in_hand(attempts) }.asking(call);
        assert_eq!(fails(charge, unsent()), PaymentFailure::Cancelled);
    }
    let sent_before = Charge { cancel_requested: true, ..in_hand(2) };
    assert_eq!(waits(sent_before, unsent()).0, Call::Void);
}

#[test]
fn what_is_pending_is_asked_about_until_it_is_decided() {
    let asked = |call, look_ups, attempts| {
        waits(Charge { look_ups, ..in_hand(attempts) }.asking(call), pending())
    };
    assert_eq!(asked(Call::Charge, 0, 1), (Call::LookUp, true, 2));
    assert_eq!(asked(Call::LookUp, 1, 5), (Call::LookUp, true, 4), "it is not given up");
    assert_eq!(asked(Call::Void, 2, 5), (Call::Void, true, 8), "what is given up stays so");
    assert!(asked(Call::LookUp, 1_000_000, 1).2 <= 75);
    let (undecided, _) = answer(in_hand(5), pending());
    let undecided = Charge { claim: Some(ME), status: Status::Processing, ..undecided };
    assert_eq!(waits(undecided, unavailable()).0, Call::LookUp, "nor for an outage meanwhile");
}

#[test]
fn without_a_known_answer_it_is_looked_up_and_not_at_once() {
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
    assert_eq!((after.next_call, after.in_doubt), (Call::LookUp, true), "a proxy may say so");
    assert_eq!(after.due_in, Some(Policy::LONGEST));
    assert_eq!(after.last_error.as_deref(), Some("400"));
    assert_eq!(waits(in_doubt(Call::Void, 5), refused()), (Call::Void, true, 60));
    let (approved, _) = answer(in_doubt(Call::LookUp, 0), done());
    assert_eq!(approved.attempts, 1, "that answer was not his");
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
        (unsent(), "no connection"),
        (unknown(), "no answer"),
        (pending(), "202"),
        (refused(), "400"),
        (unauthorised(), "401"),
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
fn each_answer_is_counted_apart_and_three_are_the_providers_fault() {
    let declined = Verdict::Declined { reason: "422".into() };
    let others = [done(), declined, Verdict::Voided, Verdict::NotCharged, refused(), pending()];
    let faults = [unsent(), unavailable(), unknown()];
    assert!(faults.iter().all(Verdict::is_fault) && !others.iter().any(Verdict::is_fault));
    let names: BTreeSet<_> = others.iter().chain(&faults).map(Verdict::name).collect();
    assert_eq!(names.len(), 9, "{names:?}");
}

prop_compose! {
    fn any_charge_in_hand()(
        call in prop::sample::select(Call::ALL.to_vec()),
        attempts in 0..7_u32,
        in_doubt: bool,
        cancel_requested: bool,
        look_ups in 0..9_u32,
    ) -> Charge {
        let attempts = if call == Call::Charge { attempts.max(1) } else { attempts };
        Charge { in_doubt, cancel_requested, look_ups, ..in_hand(attempts) }.asking(call)
    }
}

proptest! {
    #[test]
    fn what_was_sent_fails_only_on_the_word_of_the_provider(
        charge in any_charge_in_hand(),
        status in prop_oneof![100..600_u16, Just(200), Just(404), Just(410), Just(422)],
        word in prop_oneof!["approved", "declined", "voided", "refunded", "pending", ".*"],
    ) {
        let asked = match charge.next_call {
            Call::Charge => Asked::Charge,
            Call::LookUp => Asked::LookUp,
            Call::Void => Asked::Void,
        };
        let body = format!(r#"{{"status":"{word}","reference":"R"}}"#);
        let verdict = read(asked, Answer { status, retry_after: None, body: body.as_bytes() });
        let was_sent = charge.may_be_charged();
        let (after, says) = answer(charge, verdict.clone());
        let is_word = matches!(verdict, Verdict::Declined { .. } | Verdict::Voided);
        let has_failed = matches!(after.status, Status::Failed | Status::Declined);
        prop_assert!(!has_failed || is_word || !was_sent, "{verdict:?}");
        prop_assert_eq!(after.due_in.is_some(), says.is_empty(), "it goes on, or says how it ended");
    }
}
