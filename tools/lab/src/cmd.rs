//! The subcommands, and how those end that write a report.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use kit::disk::write_report;
use kit::output;
use kit::stop::Stop;
use serde::Serialize;

pub mod alarms;
pub mod bench;
pub mod chaos;
pub mod fill;
pub mod load;
pub mod peers;
pub mod with_servers;

/// Runs until the report is there, writes it into the folder, and shows it: as JSON, or by `print`.
/// Where a signal comes first, there is an exit code instead.
async fn reported<R: Serialize>(
    folder: &Path,
    is_json: bool,
    run: impl Future<Output = Result<R>>,
    print: impl FnOnce(&R, &Path),
) -> Result<Result<R, ExitCode>> {
    let mut stop = Stop::listen()?;
    let report = tokio::select! {
        report = run => report?,
        code = stop.asked() => {
            eprintln!("stopping what was started …");
            return Ok(Err(ExitCode::from(code)));
        }
    };
    write_report(folder, &report)?;
    if is_json {
        output::json(&report);
    } else {
        print(&report, folder);
    }
    Ok(Ok(report))
}
