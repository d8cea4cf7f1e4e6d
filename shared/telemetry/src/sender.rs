//! Sends the SDK's requests to the collector, by a client with TLS. The SDK's threads have no
//! runtime: this has one, of one thread.

use anyhow::Context;
use async_trait::async_trait;
use http_client::{Client, Failure, Files, check_address, hyper::HeaderMap};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use secret::Secret;
use std::{path::Path, sync::OnceLock, time::Duration};
use tokio::runtime::{Builder, Runtime};

const CONNECT_MAX: Duration = Duration::from_secs(5);
const SEND_MAX: Duration = Duration::from_secs(10);

/// Never dropped, since dropping one may block.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

#[derive(Clone, Debug)]
pub struct Sender {
    client: Client,
    headers: Option<Secret>,
}

impl Sender {
    /// `headers` are `name=value` pairs with commas between them.
    pub fn new(
        endpoint: &str,
        ca_file: Option<&Path>,
        headers: Option<Secret>,
    ) -> anyhow::Result<Self> {
        check_address("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint, "http://127.0.0.1:4318")?;
        let authorities = endpoint
            .starts_with("https:")
            .then(|| Files::of_authorities("OTEL_EXPORTER_OTLP_CERTIFICATE", ca_file));
        if RUNTIME.get().is_none() {
            let mut builder = Builder::new_multi_thread();
            let runtime = builder.worker_threads(1).thread_name("otlp").enable_all().build()?;
            // Another thread's is as good.
            let _ = RUNTIME.set(runtime);
        }
        let this = Self { client: Client::new(authorities, CONNECT_MAX, SEND_MAX)?, headers };
        this.headers().map(|_| this)
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let text = self.headers.as_ref().map(Secret::read).unwrap_or_default();
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let header = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
        };
        let headers: Option<HeaderMap> = pairs.map(header).collect();
        headers.context("OTEL_EXPORTER_OTLP_HEADERS_FILE must hold name=value, with commas between")
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = request.map(Into::into);
        request.headers_mut().extend(self.headers()?);
        let client = self.client.clone();
        let runtime = RUNTIME.get().context("the sender's runtime is there")?;
        let sent = runtime.spawn(async move { client.send(request).await }).await?;
        let answer = sent.map_err(|why| match why {
            Failure::NotSent(why) | Failure::NoAnswer(why) => why,
        })?;
        let mut response = Response::new(answer.body?);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}
