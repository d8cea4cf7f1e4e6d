//! `saga docker build`: the images of the four services.

use std::collections::VecDeque;
use std::pin::pin;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::stream::{self, Stream, StreamExt};
use kit::draw::LiveLine;
use kit::say;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::compose::Compose;

/// Lines that are shown of a build that fails.
const SHOWN_MAX: usize = 40;
/// Of a step that is shown while it runs.
const COLUMNS_MAX: usize = 100;

/// Build the images of the four services
#[derive(Args)]
pub struct Build {}

impl Build {
    pub async fn run(self, compose: &Compose) -> Result<ExitCode> {
        build(compose).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Compiles once for all four, and only what has changed.
pub async fn build(compose: &Compose) -> Result<()> {
    let started = Instant::now();
    say!("building the images; the first time, that takes some minutes");
    let mut command = compose.command(&["--progress", "plain", "build"]);
    // Which of the two tells the progress is another matter with each version of Compose.
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut building = command.spawn().context("`docker` cannot be run")?;
    let said = building.stdout.take().context("it has an output")?;
    let complained = building.stderr.take().context("it has an error output")?;

    let mut live = LiveLine::new(true);
    let mut last = VecDeque::new();
    let mut all = pin!(stream::select(lines(said), lines(complained)));
    while let Some(line) = all.next().await {
        let seconds = started.elapsed().as_secs();
        let news: String = format!("  {seconds:>4} s  {line}").chars().take(COLUMNS_MAX).collect();
        live.show(&news);
        last.push_back(line);
        if last.len() > SHOWN_MAX {
            last.pop_front();
        }
    }
    live.clear();
    if !building.wait().await?.success() {
        let last: Vec<String> = last.into();
        bail!("the images cannot be built; it ends:\n{}", last.join("\n"));
    }
    say!("  built after {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}

fn lines(output: impl AsyncRead + Unpin) -> impl Stream<Item = String> {
    stream::unfold(BufReader::new(output).lines(), async |mut lines| {
        Some((lines.next_line().await.ok()??, lines))
    })
}
