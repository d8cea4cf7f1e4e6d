//! Every metric and label that a query uses is exported by a service or by RabbitMQ.

use observability::{queries, selectors};
use std::collections::BTreeSet;
use telemetry::metrics::ALL;

/// The metrics of RabbitMQ's plugin that are used here, with their labels; `lab alarms` sees that
/// they exist.
const RABBITMQ: [(&str, &[&str]); 15] = [
    ("rabbitmq_detailed_queue_messages_ready", &["queue", "vhost"]),
    ("rabbitmq_detailed_queue_messages_unacked", &["queue", "vhost"]),
    ("rabbitmq_detailed_queue_consumers", &["queue", "vhost"]),
    ("rabbitmq_alarms_memory_used_watermark", &[]),
    ("rabbitmq_alarms_free_disk_space_watermark", &[]),
    ("rabbitmq_connections", &[]),
    ("rabbitmq_disk_space_available_bytes", &[]),
    ("rabbitmq_disk_space_available_limit_bytes", &[]),
    ("rabbitmq_process_resident_memory_bytes", &[]),
    ("rabbitmq_resident_memory_limit_bytes", &[]),
    ("rabbitmq_global_messages_received_total", &["protocol"]),
    ("rabbitmq_global_messages_delivered_total", &["protocol", "queue_type"]),
    ("rabbitmq_global_messages_redelivered_total", &["protocol", "queue_type"]),
    // From 4.2 on, and before.
    ("rabbitmq_raft_max_commit_latency_seconds", &["ra_system"]),
    ("rabbitmq_raft_entry_commit_latency_seconds", &[]),
];
/// Those that `saga verify --metrics` writes.
const VERIFY: [&str; 3] =
    ["saga_verify_violations", "saga_verify_stranded", "saga_verify_finished_timestamp_seconds"];
/// Prometheus' own, for every target.
const TARGET: [&str; 3] = ["service", "job", "instance"];

/// The labels of a metric, whatever exports it.
fn labels(metric: &str) -> Option<Vec<&'static str>> {
    if metric == "up" || VERIFY.contains(&metric) {
        return Some(Vec::new());
    }
    if let Some((_, labels)) = RABBITMQ.iter().find(|(name, _)| *name == metric) {
        return Some(labels.to_vec());
    }
    let parts = ["_bucket", "_count", "_sum"];
    ALL.iter().find_map(|about| {
        let part = metric.strip_prefix(about.name)?;
        let histogram = about.kind == "Seconds";
        let whole = part.is_empty() && !histogram;
        let mut labels = about.labels.to_vec();
        labels.extend((part == "_bucket").then_some("le"));
        (whole || histogram && parts.contains(&part)).then_some(labels)
    })
}

#[test]
fn every_metric_and_label_that_is_asked_for_exists() {
    for (place, query) in queries() {
        let (selected, grouped) = selectors(&query);
        assert!(!selected.is_empty(), "{place} asks for nothing: {query}");
        let mut known: BTreeSet<&str> = TARGET.into();
        for selector in &selected {
            let metric = &selector.metric;
            let labels = labels(metric).unwrap_or_else(|| {
                panic!("{place} asks for {metric}, which docs/metrics.md does not have")
            });
            for label in &selector.labels {
                let exists = labels.contains(&label.as_str()) || TARGET.contains(&label.as_str());
                assert!(exists, "{place} asks for {metric} by {label}, which it has not");
            }
            known.extend(labels);
        }
        for label in grouped {
            assert!(known.contains(label.as_str()), "{place} groups by {label}: {query}");
        }
    }
}

#[test]
fn every_metric_of_ours_is_on_a_dashboard_or_behind_an_alarm() {
    let asked: Vec<_> = queries().into_iter().flat_map(|(_, query)| selectors(&query).0).collect();
    for about in ALL {
        let shown = asked.iter().any(|selector| selector.metric.starts_with(about.name));
        assert!(shown, "{} is on no dashboard: who is to see it?", about.name);
    }
}
