//! `saga doctor`: finds problems on this machine, and says how to fix them.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kit::colour::{Colour, paint};
use kit::output::{self, some};
use kit::settings::Settings;
use serde_json::json;

use crate::doctor::{Finding, Mark, examine};

/// Diagnose this machine and the running system, and say how to fix problems
///
/// If nothing runs, it checks the requirements of `make up`. It changes nothing. Exits with 1 for
/// an error (✖), not for a warning (!).
#[derive(Args)]
#[command(after_help = "Examples:
  saga doctor
  saga doctor --json | jq '.findings[] | select(.mark == \"wrong\")'")]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub async fn run(self) -> Result<ExitCode> {
        let findings = examine(&Settings::of_running()?).await?;
        let number = |mark| findings.iter().filter(|finding| finding.mark == mark).count();
        let (odd, wrong) = (number(Mark::Odd), number(Mark::Wrong));
        if self.json {
            output::json(&json!({ "well": wrong == 0, "findings": findings }));
        } else {
            findings.iter().for_each(print);
            output::line(match (odd, wrong) {
                (0, 0) => "nothing is wrong".to_owned(),
                (odd, 0) => format!("nothing is wrong; {} odd", count(odd)),
                (0, wrong) => format!("{} wrong", count(wrong)),
                (odd, wrong) => format!("{} wrong, and {} odd", count(wrong), count(odd)),
            });
        }
        Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn count(number: usize) -> String {
    format!("{} {}", some(number, "thing"), if number == 1 { "is" } else { "are" })
}

fn print(finding: &Finding) {
    let (colour, sign) = match finding.mark {
        Mark::Fine => (Colour::Green, "✔"),
        Mark::Odd => (Colour::Yellow, "!"),
        Mark::Wrong => (Colour::Red, "✖"),
    };
    let told = output::tame(&finding.told).replace('\n', " ");
    output::line(format_args!("{} {:<16} {told}", paint(colour, sign), finding.what));
    if let Some(mend) = &finding.mend {
        output::line(format_args!("{:<18} {mend}", ""));
    }
}
