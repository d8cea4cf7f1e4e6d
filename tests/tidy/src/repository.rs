//! Reads the repository as text: its files, its packages' dependencies, and text between marks.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

thread_local! {
    static ROOT: RefCell<PathBuf> = RefCell::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
}

pub fn root() -> PathBuf {
    ROOT.with_borrow(Clone::clone)
}

/// Does it with another tree as the repository, in this thread.
pub fn within<T>(tree: &Path, act: impl FnOnce() -> T) -> T {
    let before = ROOT.replace(tree.to_owned());
    let done = act();
    ROOT.set(before);
    done
}

/// A file of the repository, by its path from the root.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// The entries of a folder, by paths from the root, sorted; none where there is no such folder.
pub fn list(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).into_iter().flatten();
    let names = entries.map(|entry| entry.expect("readable").file_name());
    let mut paths: Vec<_> =
        names.map(|name| format!("{folder}/{}", name.to_string_lossy())).collect();
    paths.sort();
    paths
}

/// All our Rust files, in the folder or below.
pub fn rust_files(folder: &str) -> Vec<String> {
    let below = |path: String| {
        if path.ends_with(".rs") { vec![path] } else { rust_files(&path) }
    };
    list(folder).into_iter().flat_map(below).collect()
}

/// The names of a package's dependencies, from the tables of its manifest that `kind` selects.
pub fn dependencies(manifest: &str, kind: impl Fn(&str) -> bool) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in read(manifest).lines() {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = kind(table);
            // A dependency may have a table of its own.
            let own = table.rsplit_once('.').filter(|(kinds, _)| kind(kinds));
            names.extend(own.map(|(_, name)| name.to_owned()));
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.push(name.to_owned());
        }
    }
    names.retain(|name| !name.is_empty() && !name.starts_with('#'));
    names
}

/// The Makefile's targets that have a name, each with its first line.
pub fn make_targets() -> impl Iterator<Item = (String, String)> {
    let makefile = read("Makefile");
    let rules: Vec<_> = makefile.lines().filter_map(target).collect();
    rules.into_iter()
}

fn target(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.split_once(':')?;
    let named = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    (named && !rest.starts_with('=')).then(|| (name.to_owned(), line.to_owned()))
}

/// The words of the code, comments left out.
pub fn words(code: &str) -> impl Iterator<Item = &str> {
    let lines = code.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
}

/// A text with a place in it that is written by a program, between two comments.
pub struct Marked<'a> {
    before: &'a str,
    pub inside: &'a str,
    after: &'a str,
}

impl<'a> Marked<'a> {
    pub fn find(text: &'a str, name: &str) -> Option<Self> {
        let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
        let start = text.find(&open)? + open.len();
        let end = start + text[start..].find(&close)?;
        Some(Self { before: &text[..start], inside: &text[start..end], after: &text[end..] })
    }

    pub fn with(&self, inside: &str) -> String {
        [self.before, inside, self.after].concat()
    }
}
