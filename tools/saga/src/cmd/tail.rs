//! `saga tail`: shows the events of all orders as they happen.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use events::{ADD_ONS, EVENTS, add_ons, said_at};
use kit::api::{Heard, Said};
use kit::endpoints::endpoints;
use kit::output;
use kit::settings::SERVICES;
use kit::stop::Stop;
use kit::target::Target;
use messaging::parse_duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::beside::follow;

/// Show events as they happen, a line each, until Ctrl-C, --count or --for
///
/// The events that order consumes and publishes. Order does not consume inventory.released: it is
/// shown once payment has reacted to it. Those of services beside the saga are read from their
/// databases; with --url, they are not known, and --places names them. No queue is bound for this:
/// one that takes every event would make unroutable events routable.
#[derive(Args)]
#[command(after_help = "Examples:
  saga tail                                  all of them
  saga tail --order 25bbc1                   of the orders whose id begins or ends so
  saga tail --service payment --service shipping
  saga tail --event payment.failed --json    one object a line")]
pub struct Tail {
    #[command(flatten)]
    target: Target,
    /// Only orders with this id prefix or suffix; repeatable, as all filters
    #[arg(long, value_name = "ID", value_parser = digits)]
    order: Vec<String>,
    /// Only this service's events
    #[arg(long, value_parser = PossibleValuesParser::new(SERVICES.into_iter().chain(add_ons())))]
    service: Vec<String>,
    /// Only this event, such as payment.failed
    #[arg(long, hide_possible_values = true)]
    #[arg(value_parser = PossibleValuesParser::new(events()))]
    event: Vec<String>,
    /// End after so many events
    #[arg(long)]
    count: Option<u32>,
    /// End after this time, such as 10s
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Endpoints file (JSON) with the databases beside the saga, instead of the settings
    #[arg(long, value_name = "FILE")]
    places: Option<PathBuf>,
}

fn events() -> impl Iterator<Item = &'static str> {
    let beside = ADD_ONS.iter().flat_map(|step| step.may_say);
    EVENTS.iter().chain(beside).copied()
}

impl Tail {
    pub async fn run(self) -> Result<ExitCode> {
        let mut stop = Stop::listen()?;
        let api = self.target.api()?;
        let mut news = api.news().await?;
        if let Err(why) = api.ready().await {
            eprintln!("saga: events may come late, or not at all meanwhile: {why}");
        }
        let mut beside = if self.places.is_some() || !self.target.has_url() {
            follow(&endpoints(self.places.as_deref()).await?).await
        } else {
            mpsc::channel(1).1
        };
        if std::io::stdout().is_terminal() {
            eprintln!("saga: listening to {}, times in UTC; Ctrl-C ends it", api.url());
        }
        let mut over = pin!(sleep(self.time.unwrap_or(Duration::MAX)));
        let mut left = self.count;
        while left != Some(0) {
            let heard = tokio::select! {
                heard = news.next() => heard?,
                Some(said) = beside.recv() => Heard::Said(Box::new(said)),
                () = &mut over => break,
                _ = stop.asked() => break,
            };
            match heard {
                Heard::TooFast => eprintln!("saga: too many events: some are not shown"),
                Heard::Said(said) if self.is_wanted(&said) => {
                    let line =
                        if self.target.json { serde_json::to_string(&said)? } else { line(&said) };
                    match writeln!(std::io::stdout(), "{line}") {
                        // The reader has closed the pipe, as in `saga tail | head`.
                        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                            return Ok(ExitCode::SUCCESS);
                        }
                        shown => shown?,
                    }
                    left = left.map(|left| left - 1);
                }
                Heard::Said(_) => {}
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn is_wanted(&self, said: &Said) -> bool {
        let id = said.order_id.simple().to_string();
        let fits = |order: &String| id.starts_with(order) || id.ends_with(order);
        (self.order.is_empty() || self.order.iter().any(fits))
            && (self.service.is_empty() || self.service.contains(&said.service))
            && (self.event.is_empty() || self.event.contains(&said.event))
    }
}

/// The digits as in an id, without its hyphens.
fn digits(text: &str) -> Result<String, String> {
    let digits = text.replace('-', "").to_lowercase();
    let is_some = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_some.then_some(digits).ok_or_else(|| "an id has the digits 0 to 9 and a to f".into())
}

/// `12:40:01.337  payment.approved        25bbc1  approved 99.80         23 ms after order.created`
fn line(said: &Said) -> String {
    let Said { order_id, event, service, at, detail, .. } = said;
    let who = output::coloured(output::service(service), format_args!("{event:<22}"));
    let told = match SERVICES.contains(&service.as_str()) {
        true => format!("{} {}", labels::fact(event, detail), labels::more(event, detail)),
        false => output::detail(detail),
    };
    let told = output::tame(&told);
    let cause = said.after.as_ref().map(|after| {
        let since = said.caused_by.and_then(said_at);
        let took = since.map(|since| labels::span((*at - since).num_milliseconds().max(0)) + " ");
        format!("{}after {after}", took.unwrap_or_default())
    });
    let inferred = if said.inferred { ", inferred" } else { "" };
    let (at, short) = (at.format("%H:%M:%S%.3f"), labels::short(*order_id));
    let cause = cause.unwrap_or_default();
    let line = format!("{at}  {who}  {short}  {:<28}  {cause}{inferred}", told.trim_end());
    line.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        tail: Tail,
    }

    fn said() -> Said {
        let said = json!({
            "order_id": "01a1fcc6-99ef-7b1d-a6ad-3fde23bb25c1", "event": "payment.approved",
            "event_id": "01a1fcc6-9a41-7aa2-a5b5-b3885e246d3c", "service": "payment",
            "at": "2026-11-21T12:40:01.337Z", "caused_by": "019aa6a1-ad42-7000-8000-000000000000",
            "after": "order.created", "inferred": false, "detail": { "amount": 99.80 },
        });
        serde_json::from_value(said).unwrap()
    }

    fn wants(arguments: &[&str]) -> bool {
        let cli = Cli::try_parse_from([&["tail"], arguments].concat());
        cli.unwrap_or_else(|why| panic!("{why}")).tail.is_wanted(&said())
    }

    #[test]
    fn an_event_is_a_line() {
        let line = line(&said());
        assert!(
            line.starts_with("12:40:01.337  payment.approved        bb25c1  approved"),
            "{line}"
        );
        assert!(line.ends_with("after order.created"), "{line}");
    }

    #[test]
    fn only_what_is_asked_for_is_shown() {
        assert!(wants(&[]) && wants(&["--order", "01A1-FCC6"]) && wants(&["--order", "bb25c1"]));
        assert!(!wants(&["--order", "fcc6"]));
        assert!(wants(&["--service", "order", "--service", "payment"]));
        assert!(!wants(&["--service", "payment", "--event", "payment.failed"]));
        assert!(Cli::try_parse_from(["tail", "--event", "payment.sneezed"]).is_err());
        assert!(Cli::try_parse_from(["tail", "--order", "xyz"]).is_err());
    }
}
