//! Runs seeds, each mutant with its seed, and compares the in-memory databases with the real ones.

mod books;
mod cells;

use simulation::{Mutant, Outcome, Trace, run};

fn healthy(seed: u64) -> Outcome {
    run(seed, None, Trace::default())
}

#[test]
fn every_invariant_holds_whatever_goes_wrong() {
    for seed in 1..=200 {
        let outcome = healthy(seed);
        assert!(
            outcome.broken.is_empty(),
            "{:#?}\nagain: make simulate SEED={seed}",
            outcome.broken
        );
    }
}

#[test]
fn a_seed_is_one_run_and_another_seed_another() {
    for seed in 1..=10 {
        let (once, again) = (healthy(seed), healthy(seed));
        assert_eq!((once.hash, once.steps), (again.hash, again.steps), "seed {seed}");
        assert_ne!(once.hash, healthy(seed + 1000).hash, "seed {seed}");
    }
}

#[track_caller]
fn is_caught_within(seeds: u64, mutant: Mutant) {
    let is_caught = |seed| !run(seed, Some(mutant), Trace::default()).broken.is_empty();
    assert!((1..=seeds).any(is_caught), "{mutant:?} goes unnoticed in {seeds} seeds");
}

#[test]
fn an_acknowledgement_before_the_commit_is_noticed() {
    is_caught_within(20, Mutant::AcknowledgesBeforeCommit);
}

#[test]
fn an_outbox_row_deleted_before_the_confirm_is_noticed() {
    is_caught_within(20, Mutant::DeletesBeforeConfirm);
}

#[test]
fn a_missing_idempotency_table_is_noticed() {
    is_caught_within(20, Mutant::HasNoIdempotencyTable);
}

#[test]
fn a_forgery_that_passes_for_a_repetition_is_noticed() {
    is_caught_within(50, Mutant::IgnoresForgeries);
}

/// The idempotency table saves the reactions work; the invariants hold because each reaction checks
/// the order's state as well.
#[test]
fn what_is_handled_again_changes_nothing() {
    for seed in 1..=100 {
        let broken = run(seed, Some(Mutant::HandlesAgain), Trace::default()).broken;
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
    }
}

#[test]
fn a_503_that_is_taken_for_a_no_is_noticed() {
    is_caught_within(50, Mutant::Takes503ForNo);
}

#[test]
fn a_reaper_that_charges_blindly_is_noticed() {
    is_caught_within(400, Mutant::ReaperChargesBlindly);
}

#[test]
fn a_process_that_goes_by_its_machines_clock_is_noticed() {
    is_caught_within(20, Mutant::GoesByItsOwnClock);
}

#[test]
fn a_deadline_by_the_clock_of_a_replica_is_noticed() {
    is_caught_within(20, Mutant::DeadlineByItsOwnClock);
}
