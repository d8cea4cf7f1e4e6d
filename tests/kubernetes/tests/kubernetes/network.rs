//! The NetworkPolicies allow the connections that the services and servers need, and no other.

use kubernetes::{BASE, Network, OPERATORS, Pod, Port, SCALING, databases, items, of_kind, pods};
use kubernetes::{FOLDERS, MONITORING, outside, services};
use serde_json::json;
use std::{collections::BTreeSet, net::IpAddr};

/// From whom, to whom, to which port.
type Connection = (String, String, u16);

/// The connections without which `operators` does not work.
fn needed() -> BTreeSet<Connection> {
    let mut needed = BTreeSet::new();
    let mut need = |from: &str, to: &str, ports: &[u16]| {
        needed.extend(ports.iter().map(|port| (from.to_owned(), to.to_owned(), *port)));
    };
    for pod in pods().iter().filter(|pod| pod.is_ours()) {
        need(&pod.name, "dns", &[53]);
    }
    for service in services() {
        need(service, "rabbitmq", &[5671]);
        need(service, &format!("{service}-db"), &[5432]);
    }
    need("ingress", "order", &[3001]);
    need("payment", "internet", &[443]);
    need("rabbitmq", "rabbitmq", &[4369, 25672]);
    need("rabbitmq-operator", "rabbitmq", &[15672]);
    for database in databases() {
        let job = format!("{database}-join");
        need("cnpg-operator", &database, &[5432, 8000]);
        for from in [&database, &job] {
            need(from, &database, &[5432, 8000]);
            need(from, "kubernetes", &[443, 6443]);
            need(from, "internet", &[443]);
            // An address does not tell a pod from Kubernetes' API.
            need(from, "stranger", &[443]);
        }
    }
    needed
}

/// With those of the components.
fn needed_in_production() -> BTreeSet<Connection> {
    let mut needed = needed();
    let services = services().into_iter().map(|service| (service, "collector", 4318));
    let databases = databases();
    let scraped = databases.iter().map(|database| ("prometheus", database.as_str(), 9187));
    let checked = databases.iter().map(|database| ("saga-verify", database.as_str(), 5432));
    let others = [
        ("saga-verify", "rabbitmq", 5671),
        ("saga-verify", "rabbitmq", 15672),
        ("prometheus", "collector", 8889),
        ("prometheus", "rabbitmq", 15692),
        ("keda", "rabbitmq", 15672),
    ];
    let more = services.chain(scraped).chain(checked).chain(others);
    needed.extend(more.map(|(from, to, port)| (from.to_owned(), to.to_owned(), port)));
    needed
}

/// The connections that the policies of these folders allow, among all pods and ports.
fn allowed(folders: &[&str]) -> BTreeSet<Connection> {
    let (network, pods) = (Network::of(folders), pods());
    let pairs = pods.iter().flat_map(|from| pods.iter().map(move |to| (from, to)));
    let pairs = pairs.filter(|(from, to)| from.is_ours() || to.is_ours());
    let all = pairs.flat_map(|(from, to)| to.ports.iter().map(move |(_, port)| (from, to, *port)));
    let allowed = all.filter(|(from, to, port)| network.allows(from, to, *port));
    allowed.map(|(from, to, port)| (from.name.clone(), to.name.clone(), port.number)).collect()
}

#[track_caller]
fn assert_same(allowed: &BTreeSet<Connection>, needed: &BTreeSet<Connection>) {
    let denied: Vec<_> = needed.difference(allowed).collect();
    assert!(denied.is_empty(), "needed, and denied: {denied:?}");
    let open: Vec<_> = allowed.difference(needed).collect();
    assert!(open.is_empty(), "allowed, and not needed: {open:?}");
}

#[test]
fn every_connection_that_is_needed_is_allowed_and_no_other() {
    assert_same(&allowed(&[OPERATORS]), &needed());
}

#[test]
pub fn with_all_components_too() {
    assert_same(&allowed(&FOLDERS), &needed_in_production());
}

#[test]
fn each_component_brings_the_policies_for_what_it_adds() {
    let scaled = allowed(&[OPERATORS, SCALING]);
    assert!(scaled.contains(&("keda".into(), "rabbitmq".into(), 15672)));
    let monitored = allowed(&[OPERATORS, MONITORING]);
    assert!(monitored.contains(&("prometheus".into(), "collector".into(), 8889)));
}

/// A compromised payment service reaches no machine, and no cloud's metadata.
#[test]
fn payment_reaches_public_addresses_only() {
    let (network, pods) = (Network::of(&FOLDERS), pods());
    let payment = pods.iter().find(|pod| pod.name == "payment").expect("it is there");
    let reaches = |address: &str| {
        let address: IpAddr = address.parse().expect("an address");
        let there = outside("there", address, &[443]);
        network.allows(payment, &there, there.ports[0].1)
    };
    for public in ["198.51.100.1", "2001:db8::1"] {
        assert!(reaches(public), "{public}");
    }
    let private = ["10.1.1.1", "100.64.1.1", "169.254.169.254", "172.31.1.1", "192.168.1.1"];
    for private in private.into_iter().chain(["fd00::1", "fe80::1", "::1"]) {
        assert!(!reaches(private), "{private}");
    }
}

/// Servers of one's own have addresses that no policy here knows.
#[test]
fn the_services_alone_are_not_cut_off_from_servers_elsewhere() {
    assert!(of_kind(BASE, "NetworkPolicy").is_empty());
}

#[test]
fn without_a_rule_everything_is_denied_both_ways() {
    let policies = of_kind(OPERATORS, "NetworkPolicy");
    let (_, deny) = policies.iter().find(|(name, _)| name == "deny-all").expect("it is there");
    assert_eq!(deny["spec"], json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }));
    for (name, policy) in FOLDERS.iter().flat_map(|folder| of_kind(folder, "NetworkPolicy")) {
        let types = items(&policy["spec"]["policyTypes"]);
        for (kind, rules) in [("Ingress", "ingress"), ("Egress", "egress")] {
            let has = policy["spec"].get(rules).is_some();
            assert!(name == "deny-all" || has == types.contains(&json!(kind)), "{name}: {kind}");
        }
    }
}

#[test]
pub fn every_port_that_a_rule_opens_is_one_on_which_a_peer_listens() {
    let (network, pods) = (Network::of(&FOLDERS), pods());
    for rule in network.rules() {
        let policy = rule.policy;
        assert!(pods.iter().any(|pod| rule.is_for(pod)), "{policy} selects no pod");
        assert!(!rule.ports.is_empty() && !rule.peers.is_empty(), "{policy} opens everything");
        for peer in rule.peers.iter().filter(|it| it.ip_block.is_none()) {
            let alone = rule.with(peer);
            assert!(
                pods.iter().any(|pod| alone.has_peer(pod)),
                "{policy} has a peer that is no pod"
            );
        }
        let listens =
            |pod: &&Pod| if rule.incoming { rule.is_for(pod) } else { rule.has_peer(pod) };
        let listening: Vec<Port> =
            pods.iter().filter(listens).flat_map(|pod| &pod.ports).map(|(_, port)| *port).collect();
        for port in &rule.ports {
            assert!(listening.contains(port), "{policy} opens {port:?}, where no pod listens");
        }
    }
}
