//! `saga docker build`: builds the images of the four services.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use kit::say;

use crate::compose::Compose;

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
    say!("building the images; the first time, that takes some minutes");
    ensure!(compose.show(&["build"]).await?.success(), "the images cannot be built");
    Ok(())
}
