//! Generates the documents' tables of the choreography from `SAGA`, and reads the repository for
//! the tests of this package.

mod choreography;
mod output;
mod prose;
mod repository;
mod site;

pub use choreography::event_table;
pub use output::{documented, documented_commands};
pub use prose::{Block, anchor, blocks, documents, spans};
pub use repository::{
    Marked, dependencies, list, make_targets, read, root, rust_files, within, words,
};
pub use site::write as write_site;
