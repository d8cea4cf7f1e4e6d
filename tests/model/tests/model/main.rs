//! The saga as it is shipped, explored; and with bugs, found.

mod exploring;
mod mutants;

use model::Switches;

/// Everything that can happen to one order.
const ONE: Switches = Switches {
    orders: 1,
    faults: true,
    dead_letters: true,
    deadline: true,
    tables: true,
    broken: None,
};

/// Two orders, for the same piece. They have no effect on each other but in inventory, so that what
/// each can go through alone is left to the above: a bad provider, dead letters, the deadline.
const TWO: Switches = Switches {
    orders: 2,
    faults: false,
    dead_letters: false,
    deadline: false,
    tables: false,
    broken: None,
};
