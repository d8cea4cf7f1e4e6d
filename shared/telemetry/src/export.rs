//! Exports spans and metrics to a collector by OTLP. The service never depends on it: data that
//! cannot be sent is dropped, and one log line says so.

use crate::{meters, sender::Sender};
use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter as ExportsSpans,
        SpanProcessor,
    },
};
use secret::Secret;
use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

/// Maximum of spans waiting to be sent: some ten megabytes.
const WAITING_MAX: usize = 8192;
/// How much an unresponsive collector may delay a shutdown.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Where to export, and under which name.
pub struct Export<'a> {
    pub service: &'static str,
    /// Distinguishes this process from its replicas.
    pub instance: String,
    /// The collector; empty is none.
    pub endpoint: &'a str,
    /// Certificates to verify it by, instead of the machine's.
    pub certificate: Option<&'a Path>,
    /// Sent with each request: `name=value` pairs with commas between them.
    pub headers: Option<Secret>,
    /// Whether `metrics::page` serves the metrics.
    pub page: bool,
}

struct Spans {
    queue: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    complained: AtomicBool,
}

static SPANS: OnceLock<Spans> = OnceLock::new();

/// Call once, before the first metric is counted and the first span begins.
pub fn start(export: Export<'_>) -> anyhow::Result<()> {
    let resource = Resource::builder()
        .with_service_name(export.service)
        .with_attribute(KeyValue::new("service.namespace", "quadrille"))
        .with_attribute(KeyValue::new("service.instance.id", export.instance))
        .build();
    let mut provider = SdkMeterProvider::builder().with_resource(resource.clone());
    if export.page {
        provider = provider.with_reader(meters::page_reader()?);
    }
    let endpoint = export.endpoint.trim().trim_end_matches('/');
    if !endpoint.is_empty() {
        let sender = Sender::new(endpoint, export.certificate, export.headers)?;
        let (spans, pushed) = push(endpoint, &sender, &resource)?;
        provider = provider.with_periodic_exporter(pushed);
        once(&SPANS, spans)?;
    }
    if export.page || !endpoint.is_empty() {
        once(&meters::PROVIDER, provider.build())?;
    }
    Ok(())
}

fn once<T>(place: &OnceLock<T>, value: T) -> anyhow::Result<()> {
    place.set(value).ok().context("telemetry is started twice")
}

/// Both ways to the collector.
fn push(endpoint: &str, sender: &Sender, resource: &Resource) -> anyhow::Result<(Spans, Metrics)> {
    let health = Arc::new(Health { endpoint: endpoint.into(), failing: AtomicBool::new(false) });

    let exporter = MetricExporter::builder()
        .with_http()
        .with_http_client(sender.clone())
        .with_endpoint(format!("{endpoint}/v1/metrics"))
        .build()?;
    let pushed = Metrics { exporter, health: health.clone() };

    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(sender.clone())
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .build()?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let exporter = Traces { exporter, health, waiting: waiting.clone() };
    let config = BatchConfigBuilder::default().with_max_queue_size(WAITING_MAX).build();
    let mut queue = BatchSpanProcessor::new(exporter, config);
    queue.set_resource(resource);
    Ok((Spans { queue, waiting, complained: AtomicBool::new(false) }, pushed))
}

pub fn wants_spans() -> bool {
    SPANS.get().is_some()
}

/// Never waits: drops a span if the queue is full.
pub fn span(span: SpanData) {
    let Some(spans) = SPANS.get() else {
        return;
    };
    if spans.waiting.fetch_add(1, Relaxed) < WAITING_MAX {
        spans.queue.on_end(span);
        return;
    }
    spans.waiting.fetch_sub(1, Relaxed);
    if !spans.complained.swap(true, Relaxed) {
        tracing::warn!(
            waiting = WAITING_MAX,
            "the collector is too slow: dropping spans from now on"
        );
    }
}

/// Sends the waiting spans and metrics, up to a time limit. It blocks: not for an asynchronous
/// task.
pub fn flush() {
    let (done, flushed) = mpsc::channel();
    thread::spawn(move || {
        // Failures here are logged already.
        if let Some(spans) = SPANS.get() {
            let _ = spans.queue.shutdown();
        }
        if let Some(provider) = meters::PROVIDER.get() {
            let _ = provider.shutdown();
        }
        let _ = done.send(());
    });
    let _ = flushed.recv_timeout(FLUSH_MAX);
}

/// The state of the connection to the collector, for both kinds: only changes are logged.
#[derive(Debug)]
struct Health {
    endpoint: String,
    failing: AtomicBool,
}

impl Health {
    fn note(&self, result: OTelSdkResult) -> OTelSdkResult {
        let failed = result.is_err();
        let changed = self.failing.swap(failed, Relaxed) != failed;
        match &result {
            Err(why) if changed => tracing::warn!(
                "the collector at {} is unavailable: {why}; dropping traces and metrics until it \
                 recovers",
                self.endpoint
            ),
            Ok(()) if changed => {
                tracing::info!("the collector at {} has recovered", self.endpoint);
            }
            Ok(()) | Err(_) => {}
        }
        result
    }
}

#[derive(Debug)]
struct Traces {
    exporter: SpanExporter,
    health: Arc<Health>,
    waiting: Arc<AtomicUsize>,
}

impl ExportsSpans for Traces {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.exporter.export(batch).await;
        self.waiting.fetch_sub(count, Relaxed);
        self.health.note(result)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

struct Metrics {
    exporter: MetricExporter,
    health: Arc<Health>,
}

impl PushMetricExporter for Metrics {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.health.note(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    #[test]
    fn an_address_that_cannot_be_is_refused_by_its_name_and_an_empty_one_is_none() {
        let start = |endpoint| {
            let (service, instance) = ("order", "1".into());
            let (certificate, headers) = (None, None);
            start(Export { service, instance, endpoint, certificate, headers, page: false })
        };
        for wrong in ["collector:4318", "ftp://collector:4318", "http://a b"] {
            let why = format!("{:#}", start(wrong).unwrap_err());
            assert!(why.contains(&format!("OTEL_EXPORTER_OTLP_ENDPOINT={wrong} is not")), "{why}");
        }
        for none in ["", " "] {
            start(none).unwrap();
            assert!(!wants_spans() && !metrics::wanted());
        }
    }
}
