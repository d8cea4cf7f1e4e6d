//! A collector of traces and metrics, by OTLP over HTTP, that stores what it receives.

use crate::HttpsServer;
use axum::{Router, body::Bytes, routing::post};
use lab::otlp::{self, Sample, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use uuid::Uuid;

/// Of the attribute with a service's name.
const NAME: &str = "service.name";

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
        .route("/v1/metrics", post(async move |body: Bytes| locked(&metrics).values(&body)))
}

fn locked(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().expect("nobody panics with it")
}

impl Heard {
    fn spans(&mut self, body: Bytes) {
        self.requests += 1;
        let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
        for of_service in request.resource_spans {
            let resource = otlp::resource(of_service.resource).expect("it says who it is");
            for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
                self.spans.push(Span {
                    service: resource[NAME].clone(),
                    name: span.name,
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    failed: span.status.is_some_and(|status| !status.message.is_empty()),
                    attributes: otlp::attributes(span.attributes).expect("they are texts"),
                });
            }
        }
    }

    fn values(&mut self, body: &Bytes) {
        self.requests += 1;
        for Sample { resource, name, labels, value } in otlp::samples(body).expect("it is OTLP") {
            // `charge, approved`
            let labels = labels.into_values().collect::<Vec<_>>().join(", ");
            let value = match value {
                Value::Number(value) => value,
                Value::Histogram { counts, .. } => counts.iter().sum::<u64>() as f64,
            };
            self.values.insert((resource[NAME].clone(), name, labels), value);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
