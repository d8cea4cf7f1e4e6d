//! Gives processes a wrong clock with Debian's libfaketime. Only the time of day is wrong, as on a
//! real machine.

use servers::install;
use std::path::{Path, PathBuf};

pub struct WrongClock {
    library: PathBuf,
}

impl WrongClock {
    /// Installed where it is missing.
    pub async fn installed() -> Self {
        Self { library: install::faketime().await.expect("libfaketime is installed") }
    }

    /// Off by a span as `+15m` or `-1d`.
    pub fn off_by(&self, span: &str) -> Vec<(String, String)> {
        self.settings("FAKETIME", span)
    }

    /// Off by what stands in the file, which may change.
    pub fn off_by_file(&self, file: &Path) -> Vec<(String, String)> {
        let mut settings = self.settings("FAKETIME_TIMESTAMP_FILE", &file.display().to_string());
        settings.push(("FAKETIME_NO_CACHE".into(), "1".into()));
        settings
    }

    fn settings(&self, name: &str, value: &str) -> Vec<(String, String)> {
        let library = self.library.display().to_string();
        [("LD_PRELOAD", library.as_str()), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), (name, value)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }
}
