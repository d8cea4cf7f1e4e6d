//! Holds the provider of meters, and the registry behind `/metrics`.

use anyhow::Context;
use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};
use std::sync::OnceLock;

/// Empty without a reader of metrics.
pub static PROVIDER: OnceLock<SdkMeterProvider> = OnceLock::new();
static PAGE: OnceLock<Registry> = OnceLock::new();

/// The source of the page.
pub fn page_reader() -> anyhow::Result<PrometheusExporter> {
    let registry = PAGE.get_or_init(Registry::new).clone();
    // A name is the same here and at the collector.
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry)
        .without_counter_suffixes()
        .without_units()
        .without_target_info()
        .scope_info_enabled(false);
    exporter.build().context("the metrics have no page")
}

/// As Prometheus reads it.
pub fn page() -> anyhow::Result<String> {
    let families = PAGE.get().map(Registry::gather).unwrap_or_default();
    Ok(TextEncoder::new().encode_to_string(&families)?)
}
