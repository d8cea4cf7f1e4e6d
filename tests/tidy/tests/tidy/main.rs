//! Style is a test: what a reader may rely on everywhere, held here once.

mod choreography;
mod documents;
mod generated;
mod migrations;
mod purity;
mod size;
