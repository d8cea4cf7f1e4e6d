//! `lab`: loads, measures and breaks a system.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    kit::output::end("lab", lab::cli::run().await)
}
