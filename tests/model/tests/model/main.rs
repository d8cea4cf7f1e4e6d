//! Explores the saga as shipped, and with deliberate bugs, which it must find.

mod exploring;
mod mutants;

use model::Switches;

/// Explores all that can happen to one order.
const ONE: Switches = Switches {
    orders: 1,
    faults: true,
    dead_letters: true,
    deadline: true,
    tables: true,
    broken: None,
};

/// Two orders, for the same piece. They affect each other only in inventory, so that a single
/// order's faults are left to the test above: a bad provider, dead letters, the deadline.
const TWO: Switches = Switches {
    orders: 2,
    faults: false,
    dead_letters: false,
    deadline: false,
    tables: false,
    broken: None,
};
