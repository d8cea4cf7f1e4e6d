//! Explores every run of the shipped saga. A changed saga has another number of states: where the
//! change is intended, update the number here.

use crate::{ONE, TWO};
use audit::Quiet;
use model::{Break, PROMISES, Saga, Switches};
use stateright::{Checker, Expectation, Model};

/// The number of states, none of which breaks an invariant; each ending is among them.
#[track_caller]
fn states(switches: Switches) -> usize {
    let checker = explored(switches);
    let found = checker.discoveries();
    for property in checker.model().properties() {
        let is_end = property.expectation == Expectation::Sometimes;
        assert!(!is_end || found.contains_key(property.name), "never: {}", property.name);
    }
    checker.unique_state_count()
}

/// No invariant is broken.
#[track_caller]
fn explored(switches: Switches) -> impl Checker<Saga> {
    let checker = Saga::new(switches).checker().threads(2).spawn_bfs().join();
    let (model, mut found) = (checker.model(), checker.discoveries());
    let broken = PROMISES.into_iter().find_map(|promise| Some((promise, found.remove(promise)?)));
    if let Some((promise, path)) = broken {
        let wrong = model.violations(path.last_state(), Quiet::Yes);
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        panic!("not so: {promise}\n{}\n{}", model.tell(promise, path), wrong.join("\n"));
    }
    checker
}

#[test]
fn one_order_comes_well_through_everything() {
    assert_eq!(states(ONE), 275_177);
}

/// A repeated message changes nothing: no reaction does anything the second time.
#[test]
fn without_the_idempotency_tables_there_is_not_one_state_more() {
    assert_eq!(states(Switches { tables: false, ..ONE }), 275_177);
}

#[test]
fn two_orders_share_the_last_piece() {
    assert_eq!(states(TWO), 894_723);
}

/// Payment's reaction to a cancel ends orders sooner, and saves a charge; shipping's makes a cancel
/// correct.
#[test]
fn no_promise_hangs_on_payment_hearing_of_a_cancel() {
    explored(Switches { broken: Some(Break::ChargesTheCancelled), ..ONE });
}
