//! `saga`: runs the order saga on this machine, and inspects it.

use std::process::ExitCode;

use anyhow::Result;

#[tokio::main]
async fn main() -> ExitCode {
    kit::output::end("saga", run().await)
}

async fn run() -> Result<ExitCode> {
    kit::stop::end_as_first()?;
    saga_cli::cli::run().await
}
