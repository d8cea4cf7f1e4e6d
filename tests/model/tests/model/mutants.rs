//! Each of these deliberate bugs must be found, so that the model is known to detect bugs.

use crate::{ONE, TWO};
use model::{ALWAYS, Break, IN_THE_END, NO_DEAD_END, PROMISES, Saga, Switches};
use stateright::{Checker, HasDiscoveries, Model};

/// The bug, the invariant that it breaks first, and how the shortest such run ends.
const MUTANTS: [(Break, &str, &str); 14] = [
    (
        Break::ChargesAgain,
        ALWAYS,
        "payment says payment.reversed · the desk takes it up · the provider approves · payment says payment.approved",
    ),
    (
        Break::TakesSilenceForNo,
        IN_THE_END,
        "the provider approves, and the answer is 201 · the customer cancels · order says order.cancel-requested · payment hears order.cancel-requested · payment says payment.failed · shipping hears order.cancel-requested · order hears payment.failed",
    ),
    (
        Break::Takes503ForNo,
        IN_THE_END,
        "the provider approves, and the answer is 503 · the customer cancels · order says order.cancel-requested · payment hears order.cancel-requested · payment says payment.failed · shipping hears order.cancel-requested · order hears payment.failed",
    ),
    (
        Break::TakesPendingForNo,
        IN_THE_END,
        "the provider decides later · payment says payment.failed · order hears payment.failed · the provider decides, and approves",
    ),
    (
        Break::FailsUnvoided,
        IN_THE_END,
        "the provider does not answer in time · the desk takes it up · the provider has charged nothing · payment says payment.failed · order hears payment.failed · a late charge reaches the provider, who approves",
    ),
    (
        Break::ForgetsTheDoubt,
        IN_THE_END,
        "payment crashes with it in hand · a late charge reaches the provider, who approves · the customer cancels · order says order.cancel-requested · payment hears order.cancel-requested · payment says payment.failed · shipping hears order.cancel-requested · order hears payment.failed",
    ),
    (
        Break::FailsInHand,
        IN_THE_END,
        "payment hears order.cancel-requested · payment says payment.failed · shipping hears order.cancel-requested · order hears payment.failed",
    ),
    (
        Break::RefundsUnderNewKeys,
        ALWAYS,
        "the provider approves, and the answer is 503 · the desk takes it up · the provider approves · payment says payment.reversed",
    ),
    (
        Break::ShipsTheCancelled,
        NO_DEAD_END,
        "shipping says shipping.scheduled · order hears inventory.reserved · order hears shipping.scheduled",
    ),
    (
        Break::ConfirmsTheCancelled,
        IN_THE_END,
        "payment says payment.reversed · order hears payment.reversed",
    ),
    (
        Break::KeepsTheMoney,
        NO_DEAD_END,
        "inventory says inventory.released · order hears shipping.failed · payment hears inventory.released",
    ),
    (
        Break::ReleasesTwice,
        IN_THE_END,
        "inventory hears shipping.failed again · inventory says inventory.released · payment hears inventory.released",
    ),
    (
        Break::ChargesTheRepeated,
        ALWAYS,
        "payment hears order.created again · the desk takes it up · the provider approves · payment says payment.approved",
    ),
    (
        Break::Oversells,
        ALWAYS,
        "order 1: inventory hears payment.approved · inventory says inventory.reserved",
    ),
];

#[test]
fn each_bug_is_found_and_its_run_can_be_read() {
    let not_so = MUTANTS.iter().filter_map(|(broken, promise, end)| {
        let (found, told) = counterexample(*broken);
        let is_so = found == *promise && told.ends_with(end);
        (!is_so).then(|| format!("{broken:?}: not so: {found}\n{told}"))
    });
    let not_so: Vec<_> = not_so.collect();
    assert!(not_so.is_empty(), "{}", not_so.join("\n\n"));
}

fn counterexample(broken: Break) -> (&'static str, String) {
    // Two of them need the same message twice.
    let tables = !matches!(broken, Break::ReleasesTwice | Break::ChargesTheRepeated);
    let switches = if broken == Break::Oversells { TWO } else { ONE };
    let checker = Saga::new(Switches { tables, broken: Some(broken), ..switches }).checker();
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut found = checker.discoveries();
    let first = PROMISES.into_iter().find_map(|promise| Some((promise, found.remove(promise)?)));
    let (promise, path) = first.unwrap_or_else(|| panic!("{broken:?} is not found"));
    (promise, checker.model().tell(promise, path))
}
