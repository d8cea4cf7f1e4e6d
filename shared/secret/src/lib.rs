#![doc = include_str!("../README.md")]

use anyhow::Context;
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// A longer file is not a secret.
const LENGTH_MAX: u64 = 64 * 1024;

#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    /// The variable that sets it, for the log.
    name: &'static str,
    file: Option<PathBuf>,
    last: Mutex<Last>,
}

/// The last content that could be used.
struct Last {
    text: Arc<str>,
    /// The file is unusable now, and the log says so already.
    is_broken: bool,
}

impl Secret {
    /// `value`, or else the content of the file that the variable `{name}_FILE` names. `None` if
    /// neither is set; an empty value is none.
    pub fn of(
        name: &'static str,
        value: Option<&Self>,
        file: Option<&Path>,
    ) -> anyhow::Result<Option<Self>> {
        if let Some(text) = value.map(Self::read).filter(|text| !text.is_empty()) {
            return Ok(Some(Self::new(name, None, text)));
        }
        let Some(file) = file else { return Ok(None) };
        let text = content(file)
            .with_context(|| format!("cannot use {}, set in {name}_FILE", file.display()))?;
        Ok(Some(Self::new(name, Some(file.into()), text)))
    }

    fn new(name: &'static str, file: Option<PathBuf>, text: Arc<str>) -> Self {
        let last = Mutex::new(Last { text, is_broken: false });
        Self(Arc::new(Inner { name, file, last }))
    }

    /// Its present content. While its file is missing, empty or unreadable, the last one.
    pub fn read(&self) -> Arc<str> {
        let Inner { name, file, last } = &*self.0;
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file else { return last.text.clone() };
        match content(file) {
            Ok(text) => {
                if *text != *last.text {
                    tracing::info!("{name}_FILE has changed; what connects now uses it");
                    last.text = text;
                }
                last.is_broken = false;
            }
            Err(why) if !last.is_broken => {
                last.is_broken = true;
                let path = file.display();
                tracing::warn!("cannot use {path}, set in {name}_FILE: {why}; using the last one");
            }
            Err(_) => {}
        }
        last.text.clone()
    }

    /// The variable that sets it.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Whether it may have another content later.
    pub fn may_change(&self) -> bool {
        self.0.file.is_some()
    }
}

fn content(file: &Path) -> io::Result<Arc<str>> {
    let mut text = String::new();
    File::open(file)?.take(LENGTH_MAX + 1).read_to_string(&mut text)?;
    let invalid = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    match text.trim() {
        "" => invalid("it is empty"),
        _ if text.len() as u64 > LENGTH_MAX => invalid("it is longer than 64 KiB"),
        text => Ok(text.into()),
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new("a secret", None, text.into())
    }
}

impl From<&String> for Secret {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secret({})", self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "old\n").unwrap();
        (folder, path)
    }

    fn of(file: &Path) -> anyhow::Result<Option<Secret>> {
        Secret::of("PASSWORD", None, Some(file))
    }

    #[test]
    fn its_files_present_content_counts_without_the_newline() {
        let (_folder, path) = file();
        let secret = of(&path).unwrap().unwrap();
        assert_eq!(&*secret.read(), "old");
        fs::write(&path, " new\n").unwrap();
        assert_eq!(&*secret.read(), "new");
        assert_eq!(&*secret.clone().read(), "new");
    }

    #[test]
    fn while_its_file_cannot_be_used_the_last_content_stays() {
        let (_folder, path) = file();
        let secret = of(&path).unwrap().unwrap();
        for broken in [&b""[..], b" \n", b"\xff", &[b'x'; 65 * 1024]] {
            fs::write(&path, broken).unwrap();
            assert_eq!(&*secret.read(), "old");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(&*secret.read(), "old");
        fs::write(&path, "new").unwrap();
        assert_eq!(&*secret.read(), "new");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_at_the_start() {
        let (_folder, path) = file();
        fs::write(&path, "\n").unwrap();
        let why = format!("{:#}", of(&path).unwrap_err());
        assert!(why.ends_with("secret, set in PASSWORD_FILE: it is empty"), "{why}");
        fs::remove_file(&path).unwrap();
        assert!(of(&path).is_err());
        assert!(Secret::of("PASSWORD", None, None).unwrap().is_none());
    }

    #[test]
    fn the_variable_counts_before_the_file_and_does_not_change() {
        let (_folder, path) = file();
        let value = Secret::from("value");
        let secret = Secret::of("PASSWORD", Some(&value), Some(&path)).unwrap().unwrap();
        assert_eq!((&*secret.read(), secret.may_change()), ("value", false));
        let secret = Secret::of("PASSWORD", Some(&"".into()), Some(&path)).unwrap().unwrap();
        assert_eq!((&*secret.read(), secret.may_change()), ("old", true));
    }

    #[test]
    fn it_is_never_printed() {
        let value = Secret::from("hunter2");
        let secret = Secret::of("PASSWORD", Some(&value), None).unwrap();
        assert_eq!(format!("{value:?} {secret:?}"), "Secret(a secret) Some(Secret(PASSWORD))");
    }
}
