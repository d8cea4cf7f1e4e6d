//! Makes the provider do what it is asked, but answer something else, for a while: only its books
//! show what it did.

use anyhow::{Context, Result, ensure};
use mock_gateway::lies::Lie;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Hands, PAYMENT, ms};
use crate::chaos::plan::Step;
use crate::chaos::watch::{Measure, Since};

impl Hands<'_> {
    pub(super) async fn lies(&mut self, step: &Step) -> Result<String> {
        let lie = lie(step.seed);
        let url =
            self.fleet.system.endpoints.provider_url.clone().context("there is a provider")?;
        let honest = behave(&url, reqwest::Method::GET, None).await?;
        behave(&url, reqwest::Method::PUT, Some(&lie)).await?;
        sleep(step.lasts).await;
        behave(&url, reqwest::Method::PUT, Some(&honest)).await?;
        self.flows(Since::now(), &[PAYMENT], Measure::Flows).await?;
        let change = lie.as_object().context("it is an object")?;
        let change = change.iter().map(|(name, value)| format!("{name} {value}"));
        let change: Vec<_> = change.collect();
        Ok(format!("{} for {}", change.join(", "), ms(step.lasts)))
    }
}

/// Some wrong answers, to some or all calls; or another fault of the provider.
fn lie(seed: u64) -> Value {
    let mut chance = StdRng::seed_from_u64(seed);
    match chance.random_range(0..8) {
        0 => json!({ "hang_up": true }),
        1 => json!({ "failure_rate": 0.34, "answer_latency_ms": 3000 }),
        _ => {
            let number = chance.random_range(1..=4);
            let all = Lie::names();
            let lies: Vec<_> = all.sample(&mut chance, number).collect();
            let share = f64::from(chance.random_range(3..=10_u8)) / 10.0;
            json!({ "lies": lies, "share": share, "seed": seed, "pending_ms": 3000 })
        }
    }
}

async fn behave(url: &str, method: reqwest::Method, change: Option<&Value>) -> Result<Value> {
    let client = https::plain().no_proxy().build()?;
    let request = client.request(method, format!("{url}/behaviour"));
    let request = match change {
        Some(change) => request.json(change),
        None => request,
    };
    let answer = request.send().await.context("the provider does not answer")?;
    let status = answer.status();
    ensure!(status.is_success(), "the provider takes no such behaviour: {}", answer.text().await?);
    answer.json().await.context("the provider does not tell how it behaves")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_lie_is_told_sooner_or_later_and_the_same_seed_tells_the_same() {
        assert_eq!(lie(7), lie(7));
        let all: Vec<_> = (0..200).map(lie).collect();
        let lies = all.iter().filter_map(|lie| lie["lies"].as_array()).flatten();
        let told: BTreeSet<_> = lies.filter_map(Value::as_str).map(str::to_owned).collect();
        assert_eq!(told, Lie::names().into_iter().collect());
        assert!(all.iter().any(|lie| lie["hang_up"] == true));
    }
}
