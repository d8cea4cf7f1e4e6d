//! Writes the table of a run into a document, between its two marks.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The marks are comments: `<!-- mark -->` and `<!-- /mark -->`.
pub fn write_table(document: &Path, mark: &str, table: &str) -> Result<()> {
    let name = document.display();
    let text = fs::read_to_string(document)
        .with_context(|| format!("cannot read {name}: run this in the project's directory"))?;
    let text = with_table(&text, mark, table);
    let text = text.with_context(|| format!("{name} has no <!-- {mark} --> … <!-- /{mark} -->"))?;
    fs::write(document, text).with_context(|| format!("cannot write {name}"))
}

fn with_table(text: &str, mark: &str, table: &str) -> Option<String> {
    let (open, close) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (before, rest) = text.split_once(&open)?;
    let (_, after) = rest.split_once(&close)?;
    Some([before, &open, table, &close, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_the_one_between_its_marks() {
        let text = "before\n<!-- run -->\nold\n<!-- /run -->\nafter\n";
        let wanted = "before\n<!-- run -->\n| new |\n<!-- /run -->\nafter\n";
        assert_eq!(with_table(text, "run", "| new |\n").as_deref(), Some(wanted));
        assert_eq!(with_table("no marks", "run", "| new |\n"), None);
    }
}
