//! Compares the generated documents with the code that generates them.

use crate::asyncapi::event_documents;
use openapi::api_documents;
use std::{collections::BTreeMap, env, fs};
use tidy::{list, read, root};

#[test]
fn the_documents_of_the_events_are_as_the_code_has_them() {
    let documents = event_documents();
    are_written(&documents);
    let there = list("docs/events/schemas");
    let stale = there.iter().find(|path| !documents.contains_key(*path));
    assert_eq!(stale, None, "there is no such event any more: delete the file");
}

#[test]
fn the_documents_of_the_api_are_as_the_code_has_them() {
    are_written(&api_documents());
}

/// Compares the files, or writes them where that is asked for.
fn are_written(documents: &BTreeMap<String, String>) {
    for (path, wanted) in documents {
        let file = root().join(path);
        if env::var_os("UPDATE_DOCS").is_some() {
            let folder = file.parent().expect("it is in a folder");
            fs::create_dir_all(folder).expect("a folder can be made");
            fs::write(file, wanted).expect("it can be written");
            continue;
        }
        assert!(
            file.exists() && read(path) == *wanted,
            "{path} is not what the code says: run `UPDATE_DOCS=1 cargo test -p tidy`"
        );
    }
}
