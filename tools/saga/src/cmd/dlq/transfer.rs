//! `saga dlq export` and `import`: dead letters as lines of JSON, to store or to repair.

use std::fs::{self, File};
use std::io::{Read, Write, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use kit::output::{self, some};

use super::{DlqArgs, Which};
use crate::dlq::{How, Line, Pick};

/// Write dead letters as lines of JSON; they stay where they are
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    which: Which,
    /// Write to this new file instead of standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Import exported lines, unchanged or repaired
///
/// A line with a changed payload becomes a new event, caused by the old one. The old one is
/// removed, which is recorded in its consumer's database.
#[derive(Args)]
pub struct Import {
    /// File to import; standard input by default
    file: Option<PathBuf>,
    /// Into the original queue instead of the dead-letter queue
    #[arg(long)]
    replay: bool,
    /// As a new event, even if unchanged
    #[arg(long)]
    new_id: bool,
}

impl Export {
    pub async fn run(self, args: &DlqArgs) -> Result<ExitCode> {
        let pick = Pick::from(self.which);
        let (broker, lease) = args.look(&pick).await?;
        let lines =
            lease.letters().into_iter().map(|letter| serde_json::to_string(&Line::of(letter)));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        if !lines.is_empty() {
            args.record_export(&lease.letters()).await;
        }
        lease.give_back().await?;
        if lines.is_empty() {
            return args.nothing(&pick, &broker).await;
        }
        let Some(path) = self.to else {
            lines.iter().try_for_each(output::only_copy)?;
            return Ok(ExitCode::SUCCESS);
        };
        let failed = || format!("cannot write {}", path.display());
        let mut file = File::create_new(&path).with_context(failed)?;
        for line in &lines {
            writeln!(file, "{line}").with_context(failed)?;
        }
        file.sync_all().with_context(failed)?;
        eprintln!("saga: {} in {}", some(lines.len(), "dead letter"), path.display());
        Ok(ExitCode::SUCCESS)
    }
}

impl Import {
    pub async fn run(self, args: &DlqArgs) -> Result<ExitCode> {
        let text = match &self.file {
            Some(path) => fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
            None => {
                let mut text = String::new();
                stdin().read_to_string(&mut text).context("cannot read standard input")?;
                text
            }
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let lines = lines.map(|(at, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("line {} was not written by export", at + 1))
        });
        let lines = lines.collect::<Result<Vec<Line>>>()?;
        let how = How { replay: self.replay, new_id: self.new_id, limit: args.limit };
        let done = args.connect().await?.import(lines, how).await?;
        Ok(args.report(&done))
    }
}
