//! A collector of traces and metrics, by OTLP over HTTP, that stores what it receives.

use crate::HttpsServer;
use axum::{Router, body::Bytes, routing::post};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{metric::Data, number_data_point},
    resource::v1::Resource,
};
use prost::Message;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty for the first of a trace.
    pub parent: String,
    pub failed: bool,
    pub attributes: BTreeMap<String, String>,
}

/// A metric's value by service, name and labels; of a histogram, how often.
pub type Values = BTreeMap<(String, String, String), f64>;

#[derive(Default)]
struct Heard {
    requests: usize,
    spans: Vec<Span>,
    values: Values,
}

pub struct Collector {
    pub url: String,
    /// For https.
    pub ca_file: Option<PathBuf>,
    heard: Shared,
}

type Shared = Arc<Mutex<Heard>>;

impl Collector {
    /// Listens for as long as the test runs.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let heard = Shared::default();
        let routes = routes(&heard);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, ca_file: None, heard }
    }

    /// By https, under an authority of its own.
    pub async fn start_https() -> Self {
        let (server, heard) = (HttpsServer::bind().await, Shared::default());
        let (url, ca_file) = (server.url.clone(), Some(server.ca_file.clone()));
        server.serve(routes(&heard));
        Self { url, ca_file, heard }
    }

    pub fn requests(&self) -> usize {
        locked(&self.heard).requests
    }

    /// All spans of the traces in which there is something about this.
    pub fn spans_about(&self, order: Uuid) -> Vec<Span> {
        let order = order.to_string();
        let heard = locked(&self.heard);
        let about = |span: &&Span| span.attributes.get("order_id") == Some(&order);
        let traces: Vec<_> = heard.spans.iter().filter(about).map(|span| &span.trace).collect();
        heard.spans.iter().filter(|span| traces.contains(&&span.trace)).cloned().collect()
    }

    pub fn value(&self, service: &str, name: &str, labels: &str) -> Option<f64> {
        let key = (service.into(), name.into(), labels.into());
        locked(&self.heard).values.get(&key).copied()
    }
}

fn routes(heard: &Shared) -> Router {
    let (traces, metrics) = (heard.clone(), heard.clone());
    Router::new()
        .route("/v1/traces", post(async move |body: Bytes| locked(&traces).spans(body)))
        .route("/v1/metrics", post(async move |body: Bytes| locked(&metrics).values(body)))
}

fn locked(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().expect("nobody panics with it")
}

impl Heard {
    fn spans(&mut self, body: Bytes) {
        self.requests += 1;
        let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
        for of_service in request.resource_spans {
            let service = service(of_service.resource);
            for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
                self.spans.push(Span {
                    service: service.clone(),
                    name: span.name,
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    failed: span.status.is_some_and(|status| !status.message.is_empty()),
                    attributes: attributes(span.attributes),
                });
            }
        }
    }

    fn values(&mut self, body: Bytes) {
        self.requests += 1;
        let request = ExportMetricsServiceRequest::decode(body).expect("it is OTLP");
        for of_service in request.resource_metrics {
            let service = service(of_service.resource);
            for metric in of_service.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                for (labels, value) in points(metric.data.expect("a metric has points")) {
                    self.values.insert((service.clone(), metric.name.clone(), labels), value);
                }
            }
        }
    }
}

fn points(data: Data) -> Vec<(String, f64)> {
    let numbers = match data {
        Data::Gauge(gauge) => gauge.data_points,
        Data::Sum(sum) => sum.data_points,
        Data::Histogram(histogram) => {
            let points = histogram.data_points.into_iter();
            return points.map(|point| (labels(point.attributes), point.count as f64)).collect();
        }
        other => panic!("{other:?} is no kind of ours"),
    };
    let value = |value| match value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        None => panic!("a point has a value"),
    };
    numbers.into_iter().map(|point| (labels(point.attributes), value(point.value))).collect()
}

/// `charge, approved`
fn labels(pairs: Vec<KeyValue>) -> String {
    let values: Vec<String> = attributes(pairs).into_values().collect();
    values.join(", ")
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?} is no attribute of ours"),
    }
}

fn service(resource: Option<Resource>) -> String {
    let mut attributes = resource.expect("it says who it is").attributes.into_iter();
    let name = attributes.find(|attribute| attribute.key == "service.name");
    text(name.expect("a service has a name").value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
