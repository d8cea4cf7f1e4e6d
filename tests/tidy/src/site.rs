//! Makes the documents the pages of a book: their list, and links that lead somewhere there, too.

use crate::{documents, list, read, root};
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// The parts of the book with what they begin with; the other pages of `docs/` come last.
const PARTS: [(&str, &[&str]); 5] = [
    ("Try", &["playground", "tour"]),
    ("Understand", &["architecture", "glossary", "scale", "performance"]),
    ("Build", &["add-a-service", "leave-the-demonstration"]),
    ("Operate", &["operations", "security", "metrics"]),
    ("More", &[]),
];
const API: &str = "docs/api.md";
const API_PAGE: &str = "\
# The HTTP API

[Every request and answer](api/docs.html), with commands to paste; for programs,
[openapi.json](api/openapi.json) (OpenAPI 3.1).
";
const FOR_PROGRAMS: &str = "llms.txt";
const DECISIONS: &str = "docs/decisions/index.md";

/// What is copied as it is: from, to.
pub fn assets() -> Vec<(String, String)> {
    let of_api = [
        ("services/order/api/production/openapi.json", "docs/api/openapi.json"),
        ("services/order/assets/base.css", "docs/api/page/base.css"),
        ("services/order/assets/docs.css", "docs/api/page/docs.css"),
        ("services/order/assets/icon.svg", "docs/api/page/icon.svg"),
        ("docs/picture.svg", "docs/picture.svg"),
        ("docs/events/asyncapi.json", "docs/events/asyncapi.json"),
        ("LICENSE", "LICENSE"),
    ];
    let folders = ["docs/events/schemas", "docs/playground"].into_iter().flat_map(list);
    let as_it_is = folders.map(|path| (path.clone(), path));
    of_api.map(|(from, to)| (from.to_owned(), to.to_owned())).into_iter().chain(as_it_is).collect()
}

/// Every page of the book, by its path. `source` is the address under which the repository's files
/// are; without one, what leads to a file that is no page is no link.
pub fn pages(source: Option<&str>) -> BTreeMap<String, String> {
    let mut pages: BTreeMap<_, _> = documents()
        .into_iter()
        .map(|path| (place(&path), with_diagrams(&linked(&path, &read(&path), source))))
        .collect();
    if let Some(text) = pages.get_mut(FOR_PROGRAMS) {
        // It is no page, so that mdBook leaves its links as they are.
        *text = text.replace(".md)", ".html)").replace(".md#", ".html#");
    }
    pages.insert(API.to_owned(), API_PAGE.to_owned());
    pages.insert("SUMMARY.md".to_owned(), summary());
    pages.insert(DECISIONS.to_owned(), decisions());
    let html = read("services/order/api/production/docs.html");
    let html =
        html.replace("=\"/page/", "=\"page/").replace("=\"/openapi.json\"", "=\"openapi.json\"");
    pages.insert(
        "docs/api/docs.html".to_owned(),
        html.replace("=\"/\"", "=\"../../index.html\"")
            .replace("=\"/metrics\"", "=\"#readMetrics\""),
    );
    pages
}

fn summary() -> String {
    let mut text = "# Summary\n\n[Quadrille](index.md)\n".to_owned();
    let mut rest: Vec<_> = documents();
    rest.retain(|path| {
        !["README.md", FOR_PROGRAMS].contains(&path.as_str())
            && !path.starts_with("docs/decisions/")
    });
    let mut say = |line: String| writeln!(text, "{line}").expect("a String takes all");
    for (part, names) in PARTS {
        say(format!("\n# {part}\n"));
        let mut paths: Vec<_> = names.iter().map(|name| format!("docs/{name}.md")).collect();
        rest.retain(|path| !paths.contains(path));
        match part {
            "Build" => paths.insert(0, API.to_owned()),
            "More" => paths.append(&mut rest),
            _ => {}
        }
        for path in paths {
            say(format!("- [{}]({})", title(&path), place(&path)));
        }
    }
    say(format!("- [Decisions]({DECISIONS})"));
    for path in list("docs/decisions") {
        say(format!("  - [{}]({path})", title(&path)));
    }
    text
}

fn decisions() -> String {
    let line = |path: String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        format!("- [{}]({name})\n", title(&path))
    };
    "# Decisions\n\n".to_owned() + &list("docs/decisions").into_iter().map(line).collect::<String>()
}

fn title(path: &str) -> String {
    let text = if path == API { API_PAGE.to_owned() } else { read(path) };
    let first = text.lines().find_map(|line| line.strip_prefix("# "));
    first.unwrap_or(path).replace('`', "")
}

/// The text, with every link to a file of the repository that is no page led to the source.
fn linked(path: &str, text: &str, source: Option<&str>) -> String {
    let pages = documents();
    let copied: Vec<_> = assets().into_iter().map(|(_, to)| to).collect();
    let mut parts = text.split("](");
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((link, after)) = part.split_once(')') else {
            written += "](";
            written += part;
            continue;
        };
        let (file, section) = link.split_once('#').unwrap_or((link, ""));
        let target = joined(path, file);
        let is_here = file.is_empty() || file.contains("://");
        let is_here = is_here || pages.contains(&target) || copied.contains(&target);
        match source {
            _ if is_here => written += &format!("]({})", place(link)),
            _ if target == "docs/decisions" => {
                let up = "../".repeat(path.matches('/').count());
                written += &format!("]({up}{DECISIONS})");
            }
            Some(source) if section.is_empty() => written += &format!("]({source}/{target})"),
            Some(source) => written += &format!("]({source}/{target}#{section})"),
            None => {
                let start = written.rfind('[').unwrap_or(written.len());
                written.replace_range(start..=start, "");
            }
        }
        written += after;
    }
    written
}

/// The text, with its diagrams as `docs/site.js` draws them.
fn with_diagrams(text: &str) -> String {
    let mut parts = text.split("```mermaid\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |drawn, part| {
        let (diagram, rest) = part.split_once("\n```").unwrap_or((part, ""));
        let diagram = diagram.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!("{drawn}<pre class=\"mermaid\">\n{diagram}\n</pre>{rest}")
    })
}

/// A README is the first page of its folder.
fn place(path: &str) -> String {
    if path.contains("://") { path.to_owned() } else { path.replace("README.md", "index.md") }
}

/// A link's path from the root.
fn joined(page: &str, link: &str) -> String {
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Writes the book's sources into the folder.
pub fn write(folder: &Path, source: Option<&str>) -> std::io::Result<()> {
    let put = |path: &str, content: &[u8]| {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(file, content)
    };
    for (path, text) in pages(source) {
        put(&path, text.as_bytes())?;
    }
    for (from, to) in assets() {
        put(&to, &fs::read(root().join(from))?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_pages_stay_and_others_lead_to_the_source() {
        let text =
            "see [a](glossary.md#x), [b](../deploy/dist.sh), [c](https://x.y) and [d](decisions/)";
        let source = linked("docs/scale.md", text, Some("https://s"));
        let wanted = "see [a](glossary.md#x), [b](https://s/deploy/dist.sh), [c](https://x.y) and \
                      [d](../docs/decisions/index.md)";
        assert_eq!(source, wanted);
        let plain = linked("docs/scale.md", text, None);
        assert_eq!(plain, wanted.replace("[b](https://s/deploy/dist.sh)", "b"));
    }

    #[test]
    fn every_document_is_a_page_and_in_the_list() {
        let pages = pages(None);
        let summary = &pages["SUMMARY.md"];
        let all = documents().into_iter().chain([API.into(), DECISIONS.into()]);
        for path in all.map(|path| place(&path)) {
            assert!(pages.contains_key(&path), "{path}");
            let listed = usize::from(path != FOR_PROGRAMS);
            assert_eq!(summary.matches(&format!("]({path})")).count(), listed, "{path}");
        }
        let text = &pages[FOR_PROGRAMS];
        assert!(text.contains("(docs/operations.html#agents)") && !text.contains(".md"), "{text}");
    }

    #[test]
    fn no_diagram_is_left_as_code() {
        let pages = pages(None);
        let drawn = pages.values().filter(|text| text.contains("<pre class=\"mermaid\">")).count();
        assert_eq!((drawn, pages.values().any(|text| text.contains("```mermaid"))), (1, false));
        let text = "a\n```mermaid\nx --> y\n```\nb";
        assert_eq!(with_diagrams(text), "a\n<pre class=\"mermaid\">\nx --&gt; y\n</pre>\nb");
    }

    #[test]
    fn everything_that_is_copied_is_there() {
        for (from, _) in assets() {
            assert!(root().join(&from).is_file(), "{from}");
        }
    }

    #[test]
    fn every_link_in_the_book_leads_somewhere() {
        let pages = pages(None);
        let assets: Vec<_> = assets().into_iter().map(|(_, to)| to).collect();
        for (page, text) in pages.iter().filter(|(page, _)| page.ends_with(".md")) {
            let code_free = text.split("```").step_by(2).collect::<String>();
            for link in code_free.split("](").skip(1).filter_map(|it| it.split_once(')')) {
                let file = link.0.split('#').next().unwrap_or_default();
                let target = joined(page, file);
                let is_there = file.is_empty() || file.contains("://");
                let is_there = is_there || pages.contains_key(&target) || assets.contains(&target);
                assert!(is_there, "{page} links to {file}");
            }
        }
    }
}
