//! The simulation's tables: those of `memory-stores`, and what a cell has beside them.

pub mod inventory;
mod order;
mod payment;
