//! Parses Markdown documents, as far as their tests need.

use crate::list;

/// Every page that a person reads.
pub fn documents() -> Vec<String> {
    let pages = ["docs", "docs/decisions", "docs/events", "deploy/kubernetes", "deploy/systemd"];
    let pages = pages.into_iter().flat_map(list);
    let first = ["README.md", "AGENTS.md", "CONTRIBUTING.md", "CHANGELOG.md", "llms.txt"];
    let first = first.map(Into::into);
    first.into_iter().chain(pages.filter(|path| path.ends_with(".md"))).collect()
}

/// A fenced block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub language: String,
    /// The number of its first line, from 1.
    pub line: usize,
    pub code: String,
}

pub fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((at, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let code = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let code = code.map(|line| format!("{line}\n")).collect();
        found.push(Block { language: language.to_owned(), line: at + 1, code });
    }
    found
}

/// The text between single backticks, outside of blocks, with its line.
pub fn spans(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (at, line) in (1..).zip(text.lines()) {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let inside = line.split('`').skip(1).step_by(2);
            found.extend(inside.map(|span| (at, span.to_owned())));
        }
    }
    found
}

/// The name under which a heading is linked to.
pub fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_spans_are_told_apart() {
        let text = "say `make up`:\n```sh\nmake `up`\n```\nand `x y`\n";
        let sh = Block { language: "sh".into(), line: 3, code: "make `up`\n".into() };
        assert_eq!(blocks(text), [sh]);
        assert_eq!(spans(text), [(1, "make up".to_owned()), (5, "x y".to_owned())]);
        assert_eq!(anchor("Stopping, and draining it"), "stopping-and-draining-it");
    }
}
