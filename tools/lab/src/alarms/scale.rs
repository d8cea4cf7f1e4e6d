//! Reads the configuration of Prometheus and the alerts, with all their durations divided.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

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

    /// The configuration, with another job besides: in YAML, JSON is a value, too.
    pub fn config(self, targets: &Targets, job: &Value) -> Result<String> {
        let mut config = self.lines(CONFIG)?;
        let quoted = |text: &str| Value::from(text).to_string();
        for (name, here) in targets {
            config = config.replace(&quoted(name), &quoted(here));
        }
        for line in config.lines().filter(|line| line.contains("targets: [")) {
            let is_here = targets.iter().any(|(_, here)| line.contains(&quoted(here)));
            ensure!(is_here, "{} is not here", line.trim());
        }
        Ok(format!("{config}  - {job}\n"))
    }

    pub fn alerts(self) -> Result<String> {
        self.lines(ALERTS)
    }

    /// For how long the collector tells of a metric that is not sent any more.
    pub fn expiration(self) -> Result<Duration> {
        let lasts = COLLECTOR.lines().find_map(|line| value(line, "metric_expiration"));
        Ok(self.of(lasts.and_then(duration).context("collector.yaml says how long")?))
    }

    /// The text with its durations divided, and its queries.
    fn lines(self, text: &str) -> Result<String> {
        let lines = text.lines().map(|line| -> Result<String> {
            let mut keys = ["scrape_interval", "evaluation_interval", "for"].iter();
            let Some(lasts) = keys.find_map(|key| value(line, key)) else {
                return Ok(self.query(line));
            };
            let real = duration(lasts).with_context(|| format!("{lasts} is no duration"))?;
            Ok(line.replace(lasts, &written(self.of(real))))
        });
        lines.map(|line| Ok(line? + "\n")).collect()
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
pub fn names() -> Vec<&'static str> {
    ALERTS.lines().filter_map(|line| value(line, "- alert")).collect()
}

/// What a line says of this key.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.trim_start().strip_prefix(key)?.strip_prefix(": ")
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
    use serde_json::json;

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
        let job = json!({ "job_name": "verify" });
        let config = Scale(10).config(&targets, &job).unwrap();
        assert!(config.contains("  scrape_interval: 1000ms\n"), "{config}");
        assert!(config.contains("[{ targets: [\"1\"] }]"), "{config}");
        assert!(config.ends_with(&format!("\n  - {job}\n")), "{config}");
        assert_eq!(config.matches("job_name").count(), 4, "{config}");
        assert!(Scale(1).config(&targets[..1], &job).is_err());
        assert_eq!(Scale(10).expiration().unwrap(), Duration::from_millis(4500));
        let alerts = Scale(10).alerts().unwrap();
        assert_eq!(alerts.matches("for: 6000ms\n").count(), ALERTS.matches("for: 1m\n").count());
        assert!(alerts.contains("max by (service) (outbox_oldest_seconds) > 6\n"), "{alerts}");
        assert!(alerts.contains("[30000ms]"), "{alerts}");
        assert_eq!(names().len(), ALERTS.matches("expr: ").count());
    }
}
