//! Stands in for the OpenTelemetry collector, which Debian does not have: takes metrics by OTLP and
//! shows them to Prometheus as that does by deploy/observability/collector.yaml.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::otlp::{Attributes, Sample, Value, samples};

pub struct Collector {
    pub port: u16,
    expiration: Duration,
    /// Dropping it stops the collector.
    serving: JoinSet<()>,
}

/// By its resource, name and labels.
type Key = (Attributes, String, Attributes);

#[derive(Default)]
struct Kept(BTreeMap<Key, (Instant, Value)>);

impl Collector {
    pub async fn start(port: u16, expiration: Duration) -> Result<Self> {
        let mut collector = Self { port, expiration, serving: JoinSet::new() };
        collector.serve().await?;
        Ok(collector)
    }

    pub async fn stop(&mut self) {
        self.serving.shutdown().await;
    }

    /// It begins without what it had.
    pub async fn serve(&mut self) -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        let (kept, expiration) = (Arc::new(Mutex::new(Kept::default())), self.expiration);
        let shown = Arc::clone(&kept);
        let routes = Router::new()
            .route("/v1/traces", post(async || StatusCode::OK))
            .route("/v1/metrics", post(async move |body: Bytes| locked(&kept).take(&body)))
            .route("/metrics", get(async move || locked(&shown).page(expiration)));
        self.serving.spawn(async move {
            axum::serve(listener, routes).await.ok();
        });
        Ok(())
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn take(&mut self, body: &[u8]) -> StatusCode {
        let Ok(samples) = samples(body) else { return StatusCode::BAD_REQUEST };
        let now = Instant::now();
        for Sample { resource, name, labels, value } in samples {
            self.0.insert((resource, name, labels), (now, value));
        }
        StatusCode::OK
    }

    fn page(&mut self, expiration: Duration) -> String {
        self.0.retain(|_, (at, _)| at.elapsed() < expiration);
        let mut page = String::new();
        for ((resource, name, labels), (_, value)) in &self.0 {
            let of = |key: &str| resource.get(key).map_or("", String::as_str);
            let job = format!("{}/{}", of("service.namespace"), of("service.name"));
            let own = [("job", job.as_str()), ("instance", of("service.instance.id"))];
            let labels: Vec<_> = labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .chain(own)
                .collect();
            write(&mut page, name, &labels, value);
        }
        page
    }
}

fn write(page: &mut String, name: &str, labels: &[(&str, &str)], value: &Value) {
    let mut line = |name: &str, bound: Option<&str>, value: f64| {
        let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let labels: Vec<_> = labels.map(|(key, value)| format!("{key}={value:?}")).collect();
        writeln!(page, "{name}{{{}}} {value}", labels.join(",")).expect("a string takes all");
    };
    match value {
        Value::Number(value) => line(name, None, *value),
        Value::Histogram { bounds, counts, sum } => {
            let bounds = bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            let mut total = 0.0;
            for (bound, count) in bounds.zip(counts) {
                total += *count as f64;
                line(&format!("{name}_bucket"), Some(&bound), total);
            }
            line(&format!("{name}_sum"), None, *sum);
            line(&format!("{name}_count"), None, total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, labels: &[(&str, &str)], value: Value) -> Kept {
        let attributes = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let resource = [
            ("service.name", "order"),
            ("service.namespace", "quadrille"),
            ("service.instance.id", "7"),
        ];
        let key = (attributes(&resource), name.to_owned(), attributes(labels));
        Kept([(key, (Instant::now(), value))].into())
    }

    #[test]
    fn a_page_has_the_names_and_labels_of_the_collectors() {
        let mut kept = kept("consuming", &[("a", "x\"y")], Value::Number(1.0));
        let wanted = "consuming{a=\"x\\\"y\",job=\"quadrille/order\",instance=\"7\"} 1\n";
        assert_eq!(kept.page(Duration::from_secs(60)), wanted);
        assert_eq!(kept.page(Duration::ZERO), "", "it is told for a while only");
    }

    #[test]
    fn the_buckets_of_a_histogram_add_up() {
        let value = Value::Histogram { bounds: vec![0.5, 1.0], counts: vec![2, 0, 1], sum: 4.5 };
        let page = kept("took", &[], value).page(Duration::from_secs(60));
        let page = page.replace("job=\"quadrille/order\",instance=\"7\"", "…");
        let wanted = "took_bucket{…,le=\"0.5\"} 2\ntook_bucket{…,le=\"1\"} 2\n\
                      took_bucket{…,le=\"+Inf\"} 3\ntook_sum{…} 4.5\ntook_count{…} 3\n";
        assert_eq!(page, wanted);
    }

    #[test]
    fn what_is_no_otlp_is_refused() {
        assert_eq!(Kept::default().take(b"nonsense"), StatusCode::BAD_REQUEST);
    }
}
