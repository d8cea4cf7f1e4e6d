//! Writes a service beside the saga into the source tree: its crate, its events, and its place in
//! the lists that the services stand in.

mod crate_files;
mod edits;
mod kubernetes;
mod plan;
mod request;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use events::Step;

pub use plan::{Plan, Written};
pub use request::Request;

/// The choreography, which shows where a source tree is.
const TABLE: &str = "shared/events/src/saga_table.rs";

/// The source tree that this directory is in.
pub fn tree(dir: &Path) -> Result<PathBuf> {
    match dir.ancestors().find(|dir| dir.join(TABLE).is_file()) {
        Some(root) => Ok(root.to_owned()),
        None => bail!("there is no {TABLE} here or above: run it in the source tree"),
    }
}

/// All that is written for the service, beside those that are there; nothing is yet.
pub fn plan(root: &Path, request: &Request, there: &[Step]) -> Result<Plan> {
    let mut plan = Plan::of(root);
    request.check_free(&plan)?;
    crate_files::add(&mut plan, request)?;
    edits::add(&mut plan, request, there)?;
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_file_has_already_is_refused() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let request = Request::new("kustomization", &["payment.approved".to_owned()], &[]).unwrap();
        let why = plan(root, &request, events::ADD_ONS).err().expect("a refusal").to_string();
        assert!(
            why.contains("deploy/kubernetes/base/kustomization.yaml is there already"),
            "{why}"
        );
    }
}
