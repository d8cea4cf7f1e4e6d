//! Reads the configuration of Prometheus and the alerts, with all their durations divided.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

const CONFIG: &str = include_str!("../../../../deploy/observability/prometheus.yml");
const ALERTS: &str = include_str!("../../../../deploy/observability/alerts.yml");
const COLLECTOR: &str = include_str!("../../../../deploy/observability/collector.yaml");

/// How many times faster than in production everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(pub u32);

/// Where the targets of the configuration are: their names there, their addresses here.
pub type Targets = [(&'static str, String)];

impl Scale {
    pub fn of(self, real: Duration) -> Duration {
        real / self.0
    }

    /// The configuration, with another job besides.
    pub fn config(self, targets: &Targets, job: &Value) -> Result<Value> {
        let mut config = parse(CONFIG)?;
        for name in ["scrape_interval", "evaluation_interval"] {
            self.divide(&mut config["global"][name])?;
        }
        let jobs = config["scrape_configs"].as_array_mut().context("there are jobs")?;
        for targeted in jobs.iter_mut().filter_map(|job| job["static_configs"].as_array_mut()) {
            for target in targeted.iter_mut().filter_map(|it| it["targets"].as_array_mut()) {
                for target in target {
                    let here = targets.iter().find(|(name, _)| target == name);
                    *target = json!(here.with_context(|| format!("{target} is not here"))?.1);
                }
            }
        }
        jobs.push(job.clone());
        Ok(config)
    }

    pub fn alerts(self) -> Result<Value> {
        let mut alerts = parse(ALERTS)?;
        for rule in rules(&mut alerts) {
            if let Some(lasts) = rule.get_mut("for") {
                self.divide(lasts)?;
            }
            let query = rule["expr"].as_str().context("an alert has a query")?;
            rule["expr"] = self.query(query).into();
        }
        Ok(alerts)
    }

    /// For how long the collector tells of a metric that is not sent any more.
    pub fn expiration(self) -> Result<Duration> {
        let collector = parse(COLLECTOR)?;
        let lasts = collector.pointer("/exporters/prometheus/metric_expiration");
        let lasts = lasts.and_then(Value::as_str).and_then(duration);
        Ok(self.of(lasts.context("collector.yaml says how long")?))
    }

    fn divide(self, value: &mut Value) -> Result<()> {
        let real = value.as_str().and_then(duration);
        let real = real.with_context(|| format!("{value} is no duration"))?;
        *value = written(self.of(real)).into();
        Ok(())
    }

    /// The query with its ranges divided, and the limit of what is compared by seconds.
    fn query(self, query: &str) -> String {
        let ranges = query.split_inclusive('[').map(|part| {
            let range =
                part.split_once(']').and_then(|(range, rest)| Some((duration(range)?, rest)));
            match range {
                Some((range, rest)) => format!("{}]{rest}", written(self.of(range))),
                None => part.to_owned(),
            }
        });
        let query: String = ranges.collect();
        let Some((left, limit)) = query.rsplit_once("> ") else { return query };
        let is_by_seconds = left.contains("_seconds)") || left.contains("_seconds ");
        match limit.trim().parse::<f64>() {
            Ok(limit) if is_by_seconds => format!("{left}> {}", limit / f64::from(self.0)),
            _ => query,
        }
    }
}

/// The names of all alerts.
#[cfg(test)]
pub fn names() -> Result<Vec<String>> {
    let mut alerts = parse(ALERTS)?;
    let names = rules(&mut alerts).map(|rule| rule["alert"].as_str().map(ToOwned::to_owned));
    names.collect::<Option<_>>().context("an alert has a name")
}

fn rules(alerts: &mut Value) -> impl Iterator<Item = &mut Value> {
    let groups = alerts["groups"].as_array_mut().into_iter().flatten();
    groups.filter_map(|group| group["rules"].as_array_mut()).flatten()
}

fn parse(text: &str) -> Result<Value> {
    serde_saphyr::from_str(text).context("it is YAML")
}

/// `5m`
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()? * ms))
}

fn written(lasts: Duration) -> String {
    format!("{}ms", lasts.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_duration_is_divided_and_nothing_else() {
        for (real, tenth) in [
            ("max by (service) (outbox_oldest_seconds) > 60", "… > 6"),
            ("time() - max(saga_verify_finished_timestamp_seconds) > 900", "… > 90"),
            ("max by (service) (abs(clock_ahead_seconds)) > 60", "… > 6"),
            ("max by (service) (consuming) < 1", "…"),
            ("sum by (queue) (ready{queue=~\"[a].dlq\"}) > 1000", "…"),
            ("sum(rate(a_seconds_count[5m])) / sum(rate(b[1h])) > 0.5", ""),
        ] {
            let unchanged = real.rsplit_once(" > ").map_or(real, |(left, _)| left);
            let wanted = match tenth {
                "" => "sum(rate(a_seconds_count[30000ms])) / sum(rate(b[360000ms])) > 0.5".into(),
                "…" => real.to_owned(),
                _ => tenth.replace('…', unchanged),
            };
            assert_eq!(Scale(10).query(real), wanted);
            assert_eq!(
                Scale(1).query(real).replace("300000ms", "5m").replace("3600000ms", "1h"),
                real
            );
        }
    }

    #[test]
    fn all_targets_have_an_address_and_all_alerts_are_read() {
        let targets = [("collector:8889", "1".to_owned()), ("rabbitmq:15692", "2".to_owned())];
        let config = Scale(10).config(&targets, &json!({ "job_name": "node" })).unwrap();
        assert_eq!(config["global"]["scrape_interval"], "1000ms");
        assert_eq!(config["scrape_configs"].as_array().unwrap().len(), 4);
        assert!(Scale(1).config(&targets[..1], &Value::Null).is_err());
        assert_eq!(Scale(10).expiration().unwrap(), Duration::from_millis(4500));
        let alerts = Scale(10).alerts().unwrap();
        assert_eq!(alerts["groups"][0]["rules"][0]["for"], "6000ms");
        assert_eq!(names().unwrap().len(), 14);
    }
}
