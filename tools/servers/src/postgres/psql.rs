//! Runs SQL by psql, as the superuser.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{PostgresConfig, encryption};
use crate::install;

/// The rows, their fields separated by `|`. The script can read these variables.
pub async fn run(
    config: &PostgresConfig,
    script: &str,
    variables: &[(&str, &str)],
) -> Result<String> {
    let bin = install::find()?.postgres;
    let mut psql = Command::new(bin.join("psql"))
        .args(["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"])
        .args(["--no-align", "--tuples-only"])
        .args(["--host=127.0.0.1", "--username=postgres", "--dbname=postgres"])
        .arg(format!("--port={}", config.port))
        .env("PGPASSWORD", &config.superuser_password)
        // A server that is frozen takes connections, and never answers.
        .env("PGCONNECT_TIMEOUT", "10")
        .envs(config.tls.iter().flat_map(encryption::variables))
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run psql")?;
    let mut input = psql.stdin.take().context("psql has no input")?;
    input.write_all(script.as_bytes()).await?;
    drop(input);
    let output = psql.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "Postgres on port {}: {}", config.port, said.trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
