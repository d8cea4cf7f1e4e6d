//! Defines the settings that every service has, from the environment or the command line.

use anyhow::{Context, ensure};
use clap::Args;
use messaging::{Env, QueueType, Retention, RetrySchedule, SystemEnv, parse_duration};
use secret::Secret;
use std::{path::PathBuf, time::Duration};

/// How long published events are kept, unless idempotency keys are kept for less.
const HISTORY_DAYS: u16 = 7;

#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Its own Postgres, e.g. postgres://user:password@127.0.0.1:5432/database; of several hosts,
    /// `@host-1:5432,host-2:5432/`, the primary is used
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "DATABASE_URL")]
    database_url: Option<Secret>,
    /// A file that holds DATABASE_URL; read again for each new connection
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "DATABASE_URL_FILE")]
    database_url_file: Option<PathBuf>,
    /// RabbitMQ, e.g. amqp://admin:admin@127.0.0.1:5672/%2f; of a cluster several such URLs, with
    /// commas between them, or a name with several addresses
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_name = "AMQP_URL")]
    amqp_url: Option<Secret>,
    /// A file that holds AMQP_URL; read again for each new connection
    #[arg(long, env = "AMQP_URL_FILE", value_name = "AMQP_URL_FILE")]
    amqp_url_file: Option<PathBuf>,
    /// Log filter: a level, or `crate=level` pairs
    #[arg(long, env = "LOG", default_value = "info", value_name = "LOG")]
    pub(crate) log: String,
    /// `text` or `json`
    #[arg(long, env = "LOG_FORMAT", default_value = "text", value_name = "LOG_FORMAT")]
    #[arg(value_parser = parse_format)]
    pub(crate) log_format: telemetry::LogFormat,
    /// Collector for traces and metrics, OTLP over HTTP, e.g. http://127.0.0.1:4318; empty is none
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "")]
    #[arg(value_name = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otel_exporter_otlp_endpoint: String,
    /// A file of certificates (PEM) to verify an https collector by, instead of the machine's
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    #[arg(value_name = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub(crate) otel_exporter_otlp_certificate: Option<PathBuf>,
    /// A file of headers for the collector, as OTEL_EXPORTER_OTLP_HEADERS has them: `name=value`,
    /// with commas between them; read again for each request
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS_FILE")]
    #[arg(value_name = "OTEL_EXPORTER_OTLP_HEADERS_FILE")]
    otel_exporter_otlp_headers_file: Option<PathBuf>,
    /// Health file, written by `run` and read by `healthcheck`; by default in the temporary folder
    #[arg(long, env = "HEALTH_FILE", value_name = "HEALTH_FILE")]
    pub(crate) health_file: Option<PathBuf>,
    /// Retry schedule of failed messages: the delay of each tier
    #[arg(long, env = "RETRY_DELAYS", default_value = "1s,5s,30s", value_name = "RETRY_DELAYS")]
    pub(crate) retry_delays: RetrySchedule,
    /// Retention of idempotency keys in days; an older event becomes a dead letter
    #[arg(long, env = "KEEP_DAYS", default_value = "30", value_name = "KEEP_DAYS")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub(crate) keep_days: u16,
    /// Retention of published events in days, for `saga replay`; 0 keeps none, KEEP_DAYS at most;
    /// by default 7, or KEEP_DAYS if that is less
    #[arg(long, env = "HISTORY_DAYS", value_name = "HISTORY_DAYS")]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=3650))]
    pub(crate) history_days: Option<u16>,
    /// `quorum` or `classic`: the type of the queues that it declares
    #[arg(long, env = "QUEUE_TYPE", default_value = "quorum", value_name = "QUEUE_TYPE")]
    pub(crate) queue_type: QueueType,
    /// Maximum of messages in one batch (one transaction)
    #[arg(long, env = "BATCH_MAX", default_value = "128", value_name = "BATCH_MAX")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) batch_max: u16,
    /// Maximum of bytes of unpublished events in memory; the outbox has all of them
    #[arg(long, env = "OUTBOX_MEMORY", default_value = "4194304", value_name = "OUTBOX_MEMORY")]
    pub(crate) outbox_memory: usize,
    /// Maximum of database connections
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value = "12")]
    #[arg(value_name = "DATABASE_CONNECTIONS", value_parser = clap::value_parser!(u32).range(2..=500))]
    pub(crate) database_connections: u32,
    /// Deadline of a database statement, after which its connection is discarded; the server's own
    /// limit is a fifth lower
    #[arg(long, env = "DATABASE_DEADLINE", default_value = "10s")]
    #[arg(value_name = "DATABASE_DEADLINE", value_parser = parse_deadline)]
    pub(crate) database_deadline: Duration,
}

impl Common {
    /// Where traces and metrics go, and under which name.
    pub fn export(
        &self,
        service: &'static str,
        page: bool,
    ) -> anyhow::Result<telemetry::Export<'_>> {
        let headers = self.otel_exporter_otlp_headers_file.as_deref();
        Ok(telemetry::Export {
            service,
            instance: SystemEnv.new_id().to_string(),
            endpoint: &self.otel_exporter_otlp_endpoint,
            certificate: self.otel_exporter_otlp_certificate.as_deref(),
            headers: Secret::of("OTEL_EXPORTER_OTLP_HEADERS", None, headers)?,
            page,
        })
    }

    pub fn database_url(&self) -> anyhow::Result<Secret> {
        let example = "postgres://user:password@127.0.0.1:5432/database";
        secret("DATABASE_URL", self.database_url.as_ref(), self.database_url_file.as_ref(), example)
    }

    pub fn amqp_url(&self) -> anyhow::Result<Secret> {
        let example = "amqp://admin:admin@127.0.0.1:5672/%2f";
        secret("AMQP_URL", self.amqp_url.as_ref(), self.amqp_url_file.as_ref(), example)
    }

    /// A replayed event that is older than the inboxes' keys would be refused.
    pub fn history(&self) -> anyhow::Result<Retention> {
        history(self.history_days, self.keep_days)
    }

    pub fn health_file(&self, service: &str) -> PathBuf {
        let usual = || std::env::temp_dir().join(format!("{service}-service.health"));
        self.health_file.clone().unwrap_or_else(usual)
    }
}

fn history(history_days: Option<u16>, keep_days: u16) -> anyhow::Result<Retention> {
    let history_days = history_days.unwrap_or(keep_days.min(HISTORY_DAYS));
    ensure!(
        history_days <= keep_days,
        "HISTORY_DAYS={history_days} is more than KEEP_DAYS={keep_days}: an event older than \
         KEEP_DAYS is refused, also when it is replayed; lower HISTORY_DAYS or raise KEEP_DAYS"
    );
    Ok(Retention::days(history_days))
}

/// A value that may come from a file instead, so that it need not be in the environment.
fn secret(
    name: &'static str,
    value: Option<&Secret>,
    file: Option<&PathBuf>,
    example: &str,
) -> anyhow::Result<Secret> {
    let secret = Secret::of(name, value, file.map(PathBuf::as_path))?;
    secret.with_context(|| format!("{name} is not set; an example: {name}={example}"))
}

fn parse_deadline(text: &str) -> Result<Duration, String> {
    let deadline = parse_duration(text)?;
    let allowed = Duration::from_secs(1)..=Duration::from_mins(2);
    if allowed.contains(&deadline) { Ok(deadline) } else { Err("it is 1s to 2m".into()) }
}

fn parse_format(text: &str) -> Result<telemetry::LogFormat, String> {
    match text {
        "text" => Ok(telemetry::LogFormat::Text),
        "json" => Ok(telemetry::LogFormat::Json),
        _ => Err("it is text or json".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_secret_is_named_with_an_example() {
        let error = secret("AMQP_URL", None, None, "amqp://example").unwrap_err().to_string();
        assert_eq!(error, "AMQP_URL is not set; an example: AMQP_URL=amqp://example");
    }

    #[test]
    fn no_history_is_kept_that_consumers_would_refuse() {
        for (set, keep_days, days) in
            [(None, 30, 7), (None, 3, 3), (Some(7), 7, 7), (Some(0), 1, 0), (Some(20), 30, 20)]
        {
            assert_eq!(history(set, keep_days).unwrap(), Retention::days(days));
        }
        let error = history(Some(8), 7).unwrap_err().to_string();
        assert!(error.starts_with("HISTORY_DAYS=8 is more than KEEP_DAYS=7"), "{error}");
        assert!(error.ends_with("lower HISTORY_DAYS or raise KEEP_DAYS"), "{error}");
    }
}
