//! `saga dlq export` and `import`: dead letters as lines of JSON, to keep or to mend.

use std::fs::{self, File};
use std::io::{Read, Write, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use kit::draw::{self, some};

use super::{Around, Which};
use crate::dlq::{How, Line, Pick};

/// Write dead letters as lines of JSON; they stay where they are
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    which: Which,
    /// Into this new file, and not to standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Bring exported lines back, as they were or mended by hand
///
/// A line whose payload was changed goes on as another event, caused by the old one. The old one is
/// taken away, and that is noted in the database of its hearer.
#[derive(Args)]
pub struct Import {
    /// The lines; standard input, where none is given
    file: Option<PathBuf>,
    /// Into the queue that handles it, and not back to the dead letters
    #[arg(long)]
    replay: bool,
    /// As another event, though nothing was changed
    #[arg(long)]
    new_id: bool,
}

impl Export {
    pub async fn run(self, around: &Around) -> Result<ExitCode> {
        let pick = Pick::from(self.which);
        let (_connected, hand) = around.look(&pick).await?;
        let lines =
            hand.letters().into_iter().map(|letter| serde_json::to_string(&Line::of(letter)));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        hand.give_back().await?;
        if lines.is_empty() {
            return Ok(around.nothing(&pick));
        }
        let Some(path) = self.to else {
            lines.iter().for_each(draw::line);
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
    pub async fn run(self, around: &Around) -> Result<ExitCode> {
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
                .with_context(|| format!("line {} is none that export has written", at + 1))
        });
        let lines = lines.collect::<Result<Vec<Line>>>()?;
        let how = How { replay: self.replay, new_id: self.new_id, limit: around.limit };
        let done = around.connect().await?.import(lines, how).await?;
        Ok(around.report(&done))
    }
}
