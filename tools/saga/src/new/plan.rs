//! Collects the new text of files, and writes either all of them or none.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

pub struct Plan {
    pub root: PathBuf,
    /// By path from the root.
    files: BTreeMap<String, String>,
}

/// Takes everything back unless it is kept.
pub struct Written {
    root: PathBuf,
    /// What was there before.
    before: Vec<(String, Option<String>)>,
}

impl Plan {
    pub fn of(root: &Path) -> Self {
        Self { root: root.to_owned(), files: BTreeMap::new() }
    }

    pub fn read(&self, path: &str) -> Result<String> {
        let file = self.root.join(path);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// A file that is not there yet.
    pub fn add(&mut self, path: &str, text: String) -> Result<()> {
        self.check_free(path)?;
        self.replace(path, text);
        Ok(())
    }

    pub fn check_free(&self, path: &str) -> Result<()> {
        let is_there = self.root.join(path).exists();
        ensure!(
            !is_there,
            "{path} is there already: choose another name, or take it back as \
             docs/add-a-service.md says"
        );
        Ok(())
    }

    pub fn replace(&mut self, path: &str, text: String) {
        self.files.insert(path.to_owned(), text);
    }

    /// Changes a file that is there.
    pub fn edit(&mut self, path: &str, change: impl Fn(&str) -> Option<String>) -> Result<()> {
        let changed = change(&self.read(path)?);
        let changed = changed.with_context(|| {
            format!("{path} is not as this command knows it: build `saga` from this source tree")
        })?;
        self.replace(path, changed);
        Ok(())
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// `also` are files that others write now.
    pub fn write(&self, also: &[&str]) -> Result<Written> {
        let mut written = Written { root: self.root.clone(), before: Vec::new() };
        for path in also.iter().copied().chain(self.paths()) {
            let before = match fs::read_to_string(self.root.join(path)) {
                Err(why) if why.kind() == ErrorKind::NotFound => None,
                read => Some(read.with_context(|| format!("cannot read {path}"))?),
            };
            written.before.push((path.to_owned(), before));
        }
        for (path, text) in &self.files {
            write(&self.root.join(path), text).with_context(|| format!("cannot write {path}"))?;
        }
        Ok(written)
    }
}

impl Written {
    pub fn keep(mut self) {
        self.before.clear();
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for (path, before) in self.before.drain(..) {
            let file = self.root.join(path);
            match before {
                Some(text) => drop(fs::write(file, text)),
                None => {
                    fs::remove_file(&file).ok();
                    // Directories that are empty now.
                    let above = file.ancestors().skip(1).take_while(|dir| **dir != self.root);
                    above.take_while(|dir| fs::remove_dir(dir).is_ok()).count();
                }
            }
        }
    }
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    fs::write(file, text)
}
