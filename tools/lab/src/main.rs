//! `lab`: loads, measures and breaks a system.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    lab::cli::run().await.unwrap_or_else(|error| {
        eprintln!("lab: {error:#}");
        ExitCode::FAILURE
    })
}
