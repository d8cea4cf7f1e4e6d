//! Prometheus finds what it scrapes, under the names that the alerts mention.

use kubernetes::{
    FOLDERS, Kustomization, MONITORING, Pod, container, document, documents, items, of_kind, pods,
    selects, text,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidy::read;

fn monitors() -> Vec<(String, Value)> {
    FOLDERS.iter().flat_map(|folder| of_kind(folder, "PodMonitor")).collect()
}

/// The endpoints of all monitors, by their jobs.
fn endpoints() -> BTreeMap<String, Value> {
    let endpoints = monitors()
        .into_iter()
        .flat_map(|(_, monitor)| items(&monitor["spec"]["podMetricsEndpoints"]).to_owned());
    let named = endpoints.map(|endpoint| {
        let relabelings = items(&endpoint["relabelings"]);
        let job = relabelings.iter().find(|it| it["targetLabel"] == "job").expect("a job");
        (text(&job["replacement"]).to_owned(), endpoint.clone())
    });
    named.collect()
}

#[test]
fn every_monitor_selects_pods_and_a_port_that_they_name() {
    let pods = pods();
    for (name, monitor) in monitors() {
        let selector =
            serde_json::from_value(monitor["spec"]["selector"].clone()).expect("a selector");
        let selected: Vec<&Pod> =
            pods.iter().filter(|pod| pod.is_ours() && selects(&selector, &pod.labels)).collect();
        assert!(!selected.is_empty(), "{name} selects no pod");
        for endpoint in items(&monitor["spec"]["podMetricsEndpoints"]) {
            let port = text(&endpoint["port"]);
            let names = |pod: &&Pod| pod.ports.iter().any(|(name, _)| name == port);
            assert!(selected.iter().all(names), "{name}: no port is called {port}");
        }
    }
}

#[test]
fn the_jobs_are_those_of_prometheus_elsewhere() {
    let endpoints = endpoints();
    let elsewhere = document("deploy/observability/prometheus.yml");
    let jobs = items(&elsewhere["scrape_configs"]);
    assert_eq!(endpoints.len(), jobs.len() + 1, "those and `databases`: {endpoints:?}");
    for job in jobs {
        let name = text(&job["job_name"]);
        let here = endpoints.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(here["path"], job["metrics_path"], "{name}");
        assert_eq!(here["params"], job["params"], "{name}");
        assert_eq!(here["honorLabels"], job["honor_labels"], "{name}");
        let relabelings = job["metric_relabel_configs"].as_array().into_iter().flatten();
        let relabelings: Vec<_> = relabelings
            .map(|it| {
                json!({
                    "sourceLabels": it["source_labels"], "regex": it["regex"],
                    "targetLabel": it["target_label"],
                })
            })
            .collect();
        let own = here["metricRelabelings"].as_array().cloned().unwrap_or_default();
        assert_eq!(own, relabelings, "{name}");
    }
}

#[test]
fn the_collector_is_composes_and_its_ports_are_those_of_its_configuration() {
    let (_, collector) = of_kind(MONITORING, "Deployment").remove(0);
    let collector = container(&collector);
    let compose = read("docker-compose.yml");
    assert!(compose.contains(&format!("    image: {}\n", text(&collector["image"]))));
    let configuration = documents(&read("deploy/observability/collector.yaml")).remove(0);
    for (name, place) in [
        ("otlp", "/receivers/otlp/protocols/http/endpoint"),
        ("metrics", "/exporters/prometheus/endpoint"),
    ] {
        let port = items(&collector["ports"]).iter().find(|port| port["name"] == name);
        let listens = format!("0.0.0.0:{}", port.expect("it is named")["containerPort"]);
        assert_eq!(configuration.pointer(place), Some(&json!(listens)), "{name}");
    }
    let mounted = text(&collector["volumeMounts"][0]["mountPath"]);
    let file = format!("--config={mounted}/collector.yaml");
    assert_eq!(items(&collector["args"])[0], json!(file));
}

#[test]
fn every_service_sends_to_the_collectors_service() {
    let kustomization = Kustomization::read(MONITORING);
    let [patch] = kustomization.patches.as_slice() else { panic!("one patch is expected") };
    assert_eq!(patch.target.kind, "Deployment");
    assert_eq!(patch.target.label_selector, "app.kubernetes.io/part-of=quadrille");
    let told = document(&format!("{MONITORING}/{}", patch.path));
    let (name, service) = of_kind(MONITORING, "Service").remove(0);
    let address = format!("http://{name}:{}", service["spec"]["ports"][0]["port"]);
    let endpoint = json!({ "name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": address });
    assert!(items(&container(&told)["env"]).contains(&endpoint), "{endpoint}");
    let (_, collector) = of_kind(MONITORING, "Deployment").remove(0);
    let labels = &collector["spec"]["template"]["metadata"]["labels"];
    assert_eq!(service["spec"]["selector"], *labels);
    assert_eq!(collector["spec"]["selector"]["matchLabels"], *labels);
}

/// The collector forgets a service that has not sent for a while.
#[test]
fn the_services_send_more_often_than_the_collector_forgets() {
    let told = document(&format!("{MONITORING}/telemetry.yaml"));
    let interval = items(&container(&told)["env"])
        .iter()
        .find(|it| it["name"] == "OTEL_METRIC_EXPORT_INTERVAL")
        .and_then(|it| text(&it["value"]).parse::<u64>().ok());
    let configuration = documents(&read("deploy/observability/collector.yaml")).remove(0);
    let expires = text(&configuration["exporters"]["prometheus"]["metric_expiration"]);
    let expires: u64 = expires.trim_end_matches('s').parse().expect("seconds");
    assert!(interval.expect("it is set") * 3 <= expires * 1000);
}
