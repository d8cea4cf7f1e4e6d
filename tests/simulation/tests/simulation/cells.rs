//! Runs three cells that share their stock, and each mutant of the sharing.

use simulation::{Cells, Mutant, Outcome, Rule, Sales, Trace, run_cells};

fn three(seed: u64, rule: Rule, mutant: Option<Mutant>) -> Outcome {
    run_cells(seed, Cells { count: 3, rule }, mutant, &Trace::default())
}

fn sales_of(seeds: u64, rule: Rule) -> Sales {
    let mut sales = Sales::default();
    for seed in 1..=seeds {
        let outcome = three(seed, rule, None);
        assert!(
            outcome.broken.is_empty(),
            "{:#?}\nagain: make simulate CELLS=3 SEED={seed}",
            outcome.broken
        );
        sales += outcome.sales;
    }
    sales
}

#[test]
fn shared_stock_is_neither_oversold_nor_out_of_reach() {
    let Sales { refused, starved, pieces, .. } = sales_of(50, Rule::Allotment);
    assert!(refused > 100 && pieces > 100, "{refused} refused, {pieces} moved");
    assert_eq!(starved, 0);
}

#[test]
fn an_equal_split_refuses_what_lies_elsewhere() {
    let Sales { refused, starved, .. } = sales_of(50, Rule::EqualSplit);
    assert!(starved > refused / 10, "{starved} of {refused}");
}

#[test]
fn a_seed_is_one_run_of_all_cells() {
    for seed in 1..=5 {
        let [once, again] = [seed, seed].map(|seed| three(seed, Rule::Allotment, None));
        assert_eq!((once.hash, once.steps), (again.hash, again.steps), "seed {seed}");
    }
}

/// Some seed finds it, and says this.
#[track_caller]
fn is_caught(mutant: Mutant, why: &str) {
    let says_why = |seed| {
        let broken = three(seed, Rule::Allotment, Some(mutant)).broken;
        broken.iter().any(|found| found.why.contains(why))
    };
    assert!((1..=50).any(says_why), "{mutant:?} goes unnoticed");
}

#[test]
fn a_transfer_that_is_applied_twice_is_noticed() {
    is_caught(Mutant::AppliesTransfersTwice, "the cells have");
}

#[test]
fn pieces_that_are_given_after_it_is_said_are_noticed() {
    is_caught(Mutant::ReducesAfterSaying, "the cells have");
}

#[test]
fn a_lost_request_is_noticed() {
    is_caught(Mutant::LosesRequests, "waited for");
}

#[test]
fn silence_that_is_taken_for_an_answer_is_noticed() {
    is_caught(Mutant::TakesSilenceForNothing, "another cell had");
}
