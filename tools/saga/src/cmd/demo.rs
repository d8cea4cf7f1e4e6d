//! `saga demo`: places one order of each scenario at the same time, and shows each saga's steps.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use events::OrderId;
use kit::api::{Api, ApiError, Happened, Order, Step};
use kit::colour::Colour;
use kit::output;
use kit::scenario::Scenario;
use kit::target::Target;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The time limit for each order.
const BOUND: Duration = Duration::from_secs(60);

/// Place one order of each scenario, and show its steps to the end
#[derive(Args)]
#[command(after_help = "Examples:
  saga demo
  saga demo --only carrier --only cancel-charged")]
pub struct Demo {
    #[command(flatten)]
    target: Target,
    /// Only this one; may be given several times
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<Scenario>,
}

/// A step of one of the sagas, as a line.
type News = (Scenario, String);

/// The result of one of them.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    order_id: Option<OrderId>,
    status: Option<String>,
    steps: Vec<Step>,
    took_ms: u128,
    error: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    scenario: String,
    expected: &'static str,
    as_expected: bool,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

impl Demo {
    pub async fn run(self) -> Result<ExitCode> {
        let api = self.target.api()?;
        let scenarios =
            if self.only.is_empty() { Scenario::all().to_vec() } else { self.only.clone() };
        // One line about a service that is down is enough.
        api.list(&kit::api::Filter { limit: Some(1), ..Default::default() }).await?;

        let (say, mut news) = mpsc::unbounded_channel::<News>();
        let mut sagas = JoinSet::new();
        for scenario in scenarios {
            let (api, say) = (api.clone(), say.clone());
            sagas.spawn(async move { (scenario, dance(&api, scenario, &say).await) });
        }
        drop(say);
        while let Some((scenario, step)) = news.recv().await {
            if !self.target.json {
                output::line(format_args!("{:<16} {step}", scenario.name()));
            }
        }
        let mut outcomes = sagas.join_all().await;
        outcomes.sort_by_key(|(scenario, _)| *scenario);
        if self.target.json {
            print_json(&outcomes);
        } else {
            print_table(&outcomes);
        }
        let all_well = outcomes.iter().all(|(scenario, outcome)| outcome.is_of(*scenario));
        Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Outcome {
    fn is_of(&self, scenario: Scenario) -> bool {
        let has_ended = self.status.as_deref() == Some(scenario.ends().name());
        has_ended && self.steps.iter().any(|step| step.event == scenario.by())
    }

    /// The event that decided it: the last one that the order has consumed.
    fn by(&self) -> &str {
        self.steps.iter().max_by_key(|step| step.at).map_or("", |step| &step.event)
    }
}

async fn dance(api: &Api, scenario: Scenario, say: &mpsc::UnboundedSender<News>) -> Outcome {
    let started = Instant::now();
    let mut outcome = Outcome::default();
    let error = match timeout(BOUND, follow(api, scenario, say, &mut outcome)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("has not ended within {} s", BOUND.as_secs())),
    };
    Outcome { error, took_ms: started.elapsed().as_millis(), ..outcome }
}

async fn follow(
    api: &Api,
    scenario: Scenario,
    say: &mpsc::UnboundedSender<News>,
    outcome: &mut Outcome,
) -> Result<(), ApiError> {
    let order: Order = api.place(&scenario.draft(), None).await?.read()?;
    outcome.order_id = Some(order.order_id);
    let cancels = async {
        if let Some(wait) = scenario.cancel_after() {
            sleep(wait).await;
            api.cancel(order.order_id).await?;
        }
        Ok(())
    };
    let follows = async {
        let mut steps = api.follow(order.order_id).await?;
        while let Some(happened) = steps.next().await? {
            match happened {
                Happened::Step(step) => {
                    // The receiver is gone only when the output is no longer needed.
                    let _ = say.send((scenario, output::step(&step, order.created_at)));
                    outcome.steps.push(step);
                }
                Happened::End { status } => {
                    let _ = say.send((scenario, output::in_status(&status)));
                    outcome.status = Some(status);
                }
            }
        }
        Ok(())
    };
    tokio::try_join!(cancels, follows).map(|_| ())
}

fn print_json(outcomes: &[(Scenario, Outcome)]) {
    let lines = outcomes.iter().map(|(scenario, outcome)| Line {
        scenario: scenario.name(),
        expected: scenario.ends().name(),
        as_expected: outcome.is_of(*scenario),
        outcome,
    });
    output::json(&lines.collect::<Vec<_>>());
}

fn print_table(outcomes: &[(Scenario, Outcome)]) {
    let mut table = output::Table::new(&["scenario", "expected", "actual", "by", "after", ""]);
    for (scenario, outcome) in outcomes {
        let expected = scenario.ends().name();
        let actual = outcome.status.as_deref().unwrap_or("none");
        let verdict = match (&outcome.error, outcome.is_of(*scenario)) {
            (Some(error), _) => (Some(Colour::Red), error.clone()),
            (None, true) => (Some(Colour::Green), "as expected".into()),
            (None, false) => (Some(Colour::Red), format!("not as expected, by {}", scenario.by())),
        };
        table.row(vec![
            (None, scenario.name()),
            (output::status(expected), expected.into()),
            (output::status(actual), actual.into()),
            (None, outcome.by().into()),
            (None, format!("{:>6} ms", outcome.took_ms)),
            verdict,
        ]);
    }
    output::line("");
    table.print();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: &str, event: &str) -> Outcome {
        let step = Step {
            event: event.into(),
            event_id: uuid::Uuid::nil(),
            service: String::new(),
            at: chrono::DateTime::UNIX_EPOCH,
            caused_by: None,
            detail: serde_json::Value::Null,
        };
        Outcome { status: Some(status.into()), steps: vec![step], ..Outcome::default() }
    }

    #[test]
    fn an_ending_counts_only_if_it_came_about_as_asked() {
        assert!(outcome("CANCELLED", "payment.reversed").is_of(Scenario::CancelCharged));
        assert!(!outcome("CANCELLED", "payment.failed").is_of(Scenario::CancelCharged));
        assert!(!outcome("CONFIRMED", "payment.reversed").is_of(Scenario::CancelCharged));
        assert!(!Outcome::default().is_of(Scenario::Confirmed));
    }
}
