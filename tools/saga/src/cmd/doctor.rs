//! `saga doctor`: what is wrong here, and how to mend it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kit::colour::{Colour, paint};
use kit::draw::{self, some};
use kit::settings::Settings;
use serde_json::json;

use crate::doctor::{Finding, Mark, examine};

/// Tell what is wrong on this machine and with what runs on it, and how to mend it
///
/// Where nothing runs, what would hinder `make up`. It changes nothing. Exits with 1 where
/// something is wrong (✖); what is only odd (!) does not count.
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
        let findings = examine(&Settings::read()?).await?;
        let number = |mark| findings.iter().filter(|finding| finding.mark == mark).count();
        let (odd, wrong) = (number(Mark::Odd), number(Mark::Wrong));
        if self.json {
            draw::json(&json!({ "well": wrong == 0, "findings": findings }));
        } else {
            findings.iter().for_each(print);
            draw::line(match (odd, wrong) {
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
    let told = draw::tame(&finding.told).replace('\n', " ");
    draw::line(format_args!("{} {:<16} {told}", paint(colour, sign), finding.what));
    if let Some(mend) = &finding.mend {
        draw::line(format_args!("{:<18} {mend}", ""));
    }
}
