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

#[test]
fn every_mutant_is_caught_within_a_few_seeds() {
    for mutant in Mutant::ALL {
        let is_caught = |seed| !run(seed, Some(mutant), Trace::default()).broken.is_empty();
        assert!((1..=100).any(is_caught), "{mutant:?} goes unnoticed");
    }
}
