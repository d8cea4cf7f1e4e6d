//! The documents say what is so: what can be written from the code is, and what cannot is compared.

use std::{collections::BTreeSet, env, fs};
use tidy::{Marked, diagram, event_table, list, make_targets, read, root};

const README: &str = "README.md";
/// The page whose code is that of a whole service, which is compiled and tested.
const GUIDE: &str = "docs/add-a-service.md";
const FIFTH: &str = "tests/loyalty";

#[test]
fn the_readme_shows_the_choreography_as_it_is() {
    let mut text = read(README);
    let diagram = format!("```mermaid\n{}```\n", diagram());
    for (name, wanted) in [("saga:events", event_table()), ("saga:diagram", diagram)] {
        let wanted = format!("\n{wanted}");
        let marked = Marked::find(&text, name).unwrap_or_else(|| {
            panic!("{README} has no <!-- {name} --> … <!-- /{name} -->: put them where it belongs")
        });
        if env::var_os("UPDATE_DOCS").is_some() {
            text = marked.with(&wanted);
            fs::write(root().join(README), &text).expect("the README can be written");
            continue;
        }
        assert!(
            marked.inside == wanted,
            "{README} differs from SAGA at {name}: run `UPDATE_DOCS=1 cargo test -p tidy`"
        );
    }
}

#[test]
fn every_make_target_that_a_document_names_exists() {
    let targets: BTreeSet<_> = make_targets().map(|(name, _)| name).collect();
    for document in documents() {
        for named in named_targets(&read(&document)) {
            assert!(
                targets.contains(&named),
                "{document} says `make {named}`, and the Makefile has no such target"
            );
        }
    }
}

#[test]
fn every_make_target_has_a_line_of_help() {
    for (name, rule) in make_targets() {
        assert!(
            rule.contains(" ## "),
            "`{rule}` in the Makefile: write `{name}: … ## what it does`, which `make` lists"
        );
    }
}

#[test]
fn every_link_in_a_document_leads_somewhere() {
    for document in documents() {
        let folder = root().join(&document).parent().expect("it is in a folder").to_owned();
        for link in read(&document).split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap_or_default();
            let outside = link.is_empty() || link.contains("://");
            assert!(
                outside || folder.join(link).exists(),
                "{document} links to {link}, which is not there"
            );
        }
    }
}

#[test]
fn the_code_in_the_guide_is_the_code_that_is_tested() {
    for (file, block) in blocks(&read(GUIDE)) {
        assert!(
            read(&format!("{FIFTH}/{file}")).contains(&block),
            "{GUIDE} shows what is not, word for word, in {FIFTH}/{file}; copy it anew:\n{block}"
        );
    }
}

#[test]
fn decisions_are_numbered_without_a_gap() {
    for (number, path) in (1..).zip(list("docs/decisions")) {
        let wanted = format!("docs/decisions/{number:04}-");
        assert!(path.starts_with(&wanted) && path.ends_with(".md"), "{path}: name it {wanted}….md");
        assert!(read(&path).starts_with("# "), "{path}: begin with a title");
    }
}

fn documents() -> impl Iterator<Item = String> {
    let pages = ["docs", "docs/decisions", "deploy/kubernetes"].into_iter().flat_map(list);
    [README.to_owned()].into_iter().chain(pages.filter(|path| path.ends_with(".md")))
}

/// The targets in `make <target>`, where that is code and not a sentence about making.
fn named_targets(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2).flat_map(str::lines);
    let commands = spans.map(|line| line.trim().trim_start_matches("$ "));
    let named = commands.filter_map(|line| line.strip_prefix("make "));
    let words = named.filter_map(|rest| rest.split([' ', ',', ';', '&']).next());
    words
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(Into::into)
        .collect()
}

/// Every block of Rust and SQL, with the file that the line before it names.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut file = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if ["```rust", "```sql"].contains(&line) {
            let code: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((file.clone(), code.join("\n") + "\n"));
        } else if let Some(named) = line.split('`').find(|span| is_file(span)) {
            file = named.to_owned();
        }
    }
    assert!(!found.is_empty(), "{GUIDE} shows no code");
    found
}

fn is_file(span: &str) -> bool {
    span.ends_with(".rs") || span.ends_with(".sql")
}
