//! Parses `.env`: a `NAME=value` a line, as Docker Compose reads it too.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

/// A missing file sets nothing.
pub fn read(file: &Path) -> Result<BTreeMap<String, String>> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        Ok(text) => parse(&text).with_context(|| format!("cannot read {}", file.display())),
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let pair = line.split_once('=');
        let (name, value) = pair
            .filter(|(name, _)| !name.trim().is_empty())
            .with_context(|| format!("line {} is not of the form NAME=value", number + 1))?;
        all.insert(name.trim().to_owned(), unquoted(value.trim()).to_owned());
    }
    Ok(all)
}

/// The value without its quotes, or without the comment after it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inside = value.strip_prefix(quote).and_then(|value| value.split_once(quote));
        if let Some((inside, _)) = inside {
            return inside;
        }
    }
    value.split_once(" #").map_or(value, |(value, _)| value.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_people_write_into_such_files() {
        let text = "# ports\n\nA=1\nexport B = two words # not this\nC=\"x # y\"\nD='z' # no\nE=\n";
        let all = parse(text).unwrap();
        let values: Vec<&str> = all.values().map(String::as_str).collect();
        assert_eq!(values, ["1", "two words", "x # y", "z", ""]);
    }

    #[test]
    fn a_line_that_is_nothing_is_pointed_at() {
        assert!(parse("A=1\noops\n").unwrap_err().to_string().starts_with("line 2 "));
    }
}
