//! The documents agree with the code: text that can be generated is, and the rest is compared.

use events::diagram;
use std::{collections::BTreeSet, env, fs, path::Path};
use tidy::{
    Marked, anchor, blocks, documents, event_table, list, make_targets, read, root, rust_files,
    spans,
};

const README: &str = "README.md";
const TOUR: &str = "docs/tour.md";
const FIGURES: &str = "docs/performance.md";
/// The page whose code is that of a whole service, which is compiled and tested.
const GUIDE: &str = "docs/add-a-service.md";
const FIFTH: &str = "tests/loyalty";

#[test]
fn the_choreography_and_the_figures_are_shown_as_they_are() {
    let figures = read(FIGURES);
    let peers = Marked::find(&figures, "saga:peers").expect("`lab peers` writes its table there");
    let diagram = format!("```mermaid\n{}```\n", diagram());
    for (document, name, wanted) in [
        (TOUR, "saga:events", event_table()),
        (README, "saga:diagram", diagram),
        (README, "saga:figures", first_table(&figures)),
        (README, "saga:peers", first_table(peers.inside)),
    ] {
        let (text, wanted) = (read(document), format!("\n{wanted}"));
        let marked = Marked::find(&text, name).unwrap_or_else(|| {
            panic!(
                "{document} has no <!-- {name} --> … <!-- /{name} -->: put them where it belongs"
            )
        });
        if env::var_os("UPDATE_DOCS").is_some() {
            let written = fs::write(root().join(document), marked.with(&wanted));
            written.expect("the document can be written");
            continue;
        }
        assert!(
            marked.inside == wanted,
            "{document} differs at {name} from SAGA or {FIGURES}: run `UPDATE_DOCS=1 cargo test -p tidy`"
        );
    }
}

#[test]
fn the_readme_fits_two_screens() {
    let lines = read(README).lines().count();
    assert!(lines <= 120, "{README} has {lines} lines: put the rest into docs/");
}

#[test]
fn every_queue_and_exchange_that_the_tour_opens_is_declared() {
    let (tour, topology) = (read(TOUR), read("deploy/rabbitmq/topology.json"));
    let opened: Vec<_> =
        tour.split("/%2F/").skip(1).filter_map(|it| it.split(')').next()).collect();
    assert!(opened.len() > 2, "{TOUR} opens queues on RabbitMQ's page");
    for name in opened {
        assert!(topology.contains(&format!("\"name\": \"{name}\"")), "{TOUR} opens {name}");
    }
}

fn first_table(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with('|'));
    lines.take_while(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_map_fits_a_readers_head() {
    let lines = read("docs/architecture.md").lines().count();
    assert!(lines <= 150, "docs/architecture.md has {lines} lines: 150 are enough");
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
        let own = root().join(&document);
        for link in read(&document).split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            let (path, section) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let path = if path.is_empty() { own.clone() } else { folder.join(path) };
            assert!(path.exists(), "{document} links to {link}, which is not there");
            let text = if section.is_empty() { String::new() } else { read_path(&path) };
            let mut headings = text.lines().filter(|line| line.starts_with('#'));
            let is_there =
                headings.any(|line| anchor(line.trim_start_matches(['#', ' '])) == section);
            assert!(section.is_empty() || is_there, "{document}: {link} is no section there");
        }
    }
}

#[test]
fn the_code_in_the_guide_is_the_code_that_is_tested() {
    for (file, block) in shown(&read(GUIDE)) {
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

fn read_path(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

#[test]
fn every_test_that_the_page_on_security_names_exists() {
    let files = ["services", "shared", "tests", "tools"].into_iter().flat_map(rust_files);
    let code: String = files.map(|file| read(&file)).collect();
    let text = read("docs/security.md");
    let is_test = |name: &str| {
        name.matches('_').count() > 2
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
    };
    let named: Vec<_> =
        spans(&text).into_iter().map(|(_, span)| span).filter(|it| is_test(it)).collect();
    assert!(named.len() > 20, "docs/security.md names tests");
    for name in named {
        assert!(
            code.contains(&format!("fn {name}()")),
            "docs/security.md names the test {name}, which does not exist"
        );
    }
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

/// Every block of Rust and SQL, with the last file that a line before it names.
fn shown(text: &str) -> Vec<(String, String)> {
    let mut files = spans(text);
    files.retain(|(_, span)| is_file(span));
    files.dedup_by_key(|(line, _)| *line);
    let code = blocks(text).into_iter().filter(|it| ["rust", "sql"].contains(&&*it.language));
    let named = code.map(|block| {
        let file = files.iter().rfind(|(line, _)| *line < block.line);
        (file.expect("a file is named before its code").1.clone(), block.code)
    });
    let found: Vec<_> = named.collect();
    assert!(!found.is_empty(), "{GUIDE} shows no code");
    found
}

fn is_file(span: &str) -> bool {
    span.ends_with(".rs") || span.ends_with(".sql")
}
