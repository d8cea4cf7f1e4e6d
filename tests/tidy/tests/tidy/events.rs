//! What is written down of the events is what the code says.

use std::{collections::BTreeSet, env, fs};
use tidy::{event_documents, list, read, root};

#[test]
fn the_documents_of_the_events_are_as_the_code_has_them() {
    let documents = event_documents();
    let there: BTreeSet<_> = list("docs/events/schemas").into_iter().collect();
    for (path, wanted) in &documents {
        let file = root().join(path);
        if env::var_os("UPDATE_DOCS").is_some() {
            let folder = file.parent().expect("it is in a folder");
            fs::create_dir_all(folder).expect("a folder can be made");
            fs::write(file, wanted).expect("it can be written");
            continue;
        }
        assert!(
            file.exists() && read(path) == *wanted,
            "{path} is not what the events are: run `UPDATE_DOCS=1 cargo test -p tidy`"
        );
    }
    let stale = there.iter().find(|path| !documents.contains_key(*path));
    assert_eq!(stale, None, "there is no such event any more: delete the file");
}
