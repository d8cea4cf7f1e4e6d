//! `saga`: runs the order saga on this machine, and inspects it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    saga_cli::cli::run().await.unwrap_or_else(|error| {
        eprintln!("saga: {error:#}");
        ExitCode::FAILURE
    })
}
