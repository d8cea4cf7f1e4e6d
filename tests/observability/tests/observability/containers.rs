//! The profile's containers have limits, listen on this machine only, and find their files and
//! peers.

use kit::settings::Settings;
use observability::{array, compose, text, yaml};
use serde_json::Value;
use tidy::root;

const OBSERVERS: [&str; 4] = ["collector", "prometheus", "jaeger", "grafana"];

fn observers() -> Vec<(&'static str, Value)> {
    let compose = compose();
    OBSERVERS.map(|name| (name, compose["services"][name].clone())).into()
}

#[test]
fn nothing_of_it_runs_unless_it_is_asked_for() {
    let compose = compose();
    for (name, service) in compose["services"].as_object().unwrap() {
        let profiles: Vec<_> = array(&service["profiles"]).iter().map(text).collect();
        let is_observer = OBSERVERS.contains(&name.as_str());
        assert_eq!(profiles == ["observability"], is_observer, "{name}: {profiles:?}");
    }
}

#[test]
fn images_have_a_version_containers_a_bound_and_ports_this_machine_only() {
    for (name, service) in observers() {
        let (_, tag) = text(&service["image"]).split_once(':').expect("an image has a tag");
        assert!(tag.matches('.').count() == 2, "{name}: {tag} is no version");
        assert!(service["mem_limit"].is_string() && service["read_only"] == true, "{name}");
        for port in array(&service["ports"]) {
            assert!(text(port).starts_with("127.0.0.1:${"), "{name}: {port}");
        }
    }
}

#[test]
fn ports_are_as_the_command_takes_them() {
    let observed = |name: &str| (name == "OBSERVE").then(|| "1".to_owned());
    let settings = Settings::from(observed).unwrap();
    let ports = settings.container_ports();
    let observers = observers();
    let published = observers.iter().flat_map(|(_, service)| array(&service["ports"]));
    for port in published {
        let known = ports
            .iter()
            .any(|(number, variable)| text(port).contains(&format!("${{{variable}:-{number}}}")));
        assert!(known, "{port} is not in Settings::container_ports");
    }
    let plain = Settings::from(|_| None).unwrap().container_ports();
    assert!(!plain.iter().any(|(_, variable)| *variable == "GRAFANA_PORT"), "{plain:?}");
}

#[test]
fn a_cluster_listens_where_the_command_says_and_on_this_machine_only() {
    let settings = Settings::from(|name| (name == "CLUSTER").then(|| "3".to_owned())).unwrap();
    let plain = Settings::from(|_| None).unwrap().container_ports();
    let mut further = settings.container_ports();
    further.retain(|listener| !plain.contains(listener) || listener.1 == "ORDER_HTTP_PORT");
    let cluster = observability::cluster();
    let services = cluster["services"].as_object().unwrap();
    let published: Vec<_> = services.values().flat_map(|one| array(&one["ports"])).collect();
    assert_eq!(published.len(), further.len(), "{published:?}");
    for (number, variable) in further {
        let port = format!("127.0.0.1:${{{variable}:-{number}}}:");
        assert!(published.iter().any(|one| text(one).starts_with(&port)), "{port}");
    }
}

#[test]
fn every_file_that_is_mounted_is_there() {
    let cluster = observability::cluster();
    let services = cluster["services"].as_object().unwrap().clone();
    for (name, service) in
        observers().into_iter().map(|(name, one)| (name.to_owned(), one)).chain(services)
    {
        for volume in array(&service["volumes"]).iter().map(text) {
            let Some(path) = volume.strip_prefix("./") else { continue };
            let (path, _) = path.split_once(':').unwrap();
            assert!(root().join(path).exists() && volume.ends_with(":ro"), "{name}: {volume}");
        }
    }
}

#[test]
fn who_asks_whom_is_there_to_be_asked() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    let prometheus = yaml("prometheus.yml");
    let jobs = array(&prometheus["scrape_configs"]).iter();
    let targets = jobs.flat_map(|job| array(&job["static_configs"]));
    let mut addresses: Vec<_> =
        targets.flat_map(|it| array(&it["targets"])).map(|it| text(it).to_owned()).collect();
    let sources = yaml("grafana/provisioning/datasources/datasources.yaml");
    let urls = array(&sources["datasources"]).iter().map(|it| text(&it["url"]));
    addresses.extend(urls.map(|url| url.trim_start_matches("http://").to_owned()));
    let collector = yaml("collector.yaml");
    addresses.push(text(&collector["exporters"]["otlp"]["endpoint"]).to_owned());
    assert_eq!(addresses.len(), 6, "{addresses:?}");
    for address in addresses {
        let (host, port) = address.split_once(':').unwrap();
        assert!(services.contains_key(host) && port.parse::<u16>().is_ok(), "{address}");
    }
    let shown = text(&collector["exporters"]["prometheus"]["endpoint"]);
    assert_eq!(shown, "0.0.0.0:8889", "which is where Prometheus looks");
}

/// A queue is reported by its leader's node alone.
#[test]
fn every_node_of_a_cluster_is_scraped_for_both_jobs() {
    let cluster = observability::cluster();
    let services = cluster["services"].as_object().unwrap();
    let has =
        |one: &Value, end: &str| array(&one["volumes"]).iter().any(|it| text(it).ends_with(end));
    let nodes = services.iter().filter(|(_, one)| has(one, "/30-cluster.conf:ro"));
    let nodes: Vec<_> = nodes.map(|(name, _)| format!("{name}:15692")).collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    assert!(has(&services["prometheus"], "/nodes.yml:/etc/prometheus/nodes.yml:ro"));
    let further = yaml("nodes.yml");
    let prometheus = yaml("prometheus.yml");
    for name in ["rabbitmq", "queues"] {
        let jobs = array(&prometheus["scrape_configs"]);
        let job = jobs.iter().find(|job| job["job_name"] == name).unwrap();
        assert_eq!(text(&job["file_sd_configs"][0]["files"][0]), "nodes.yml", "{name}");
        let groups = array(&job["static_configs"]).iter().chain(array(&further));
        let targets: Vec<_> = groups.flat_map(|it| array(&it["targets"])).map(text).collect();
        assert_eq!(targets, nodes, "{name}");
    }
}

#[test]
fn a_pipeline_is_made_of_what_is_defined() {
    for file in ["collector.yaml", "jaeger.yaml"] {
        let config = yaml(file);
        let pipelines = config["service"]["pipelines"].as_object().unwrap();
        assert!(pipelines.contains_key("traces"), "{file}");
        for (pipeline, parts) in pipelines {
            for kind in ["receivers", "processors", "exporters"] {
                assert!(!array(&parts[kind]).is_empty(), "{file}: {pipeline} has no {kind}");
                for part in array(&parts[kind]).iter().map(text) {
                    assert!(config[kind].get(part).is_some(), "{file}: {pipeline} uses {part}");
                }
            }
        }
    }
}
