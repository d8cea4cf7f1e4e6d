//! Lists the pods of the namespace and their peers, with labels and ports: the services' from the
//! manifests, the operators' from their documentation.

use crate::{
    BASE, Kustomization, MONITORING, OPERATORS, VERIFY, container, items, of_kind, template, text,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

pub const NAMESPACE: &str = "quadrille";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Port {
    pub number: u16,
    pub protocol: &'static str,
}

/// A pod, or an address outside of the cluster, which has no namespace.
pub struct Pod {
    pub name: String,
    pub namespace: &'static str,
    pub labels: BTreeMap<String, String>,
    pub address: IpAddr,
    /// The ports on which it listens; some have names.
    pub ports: Vec<(String, Port)>,
}

impl Pod {
    pub fn is_ours(&self) -> bool {
        self.namespace == NAMESPACE
    }
}

const NAME: &str = "app.kubernetes.io/name";
/// In the network of the pods: which of it is all the same.
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 1));

/// One of each kind.
pub fn pods() -> Vec<Pod> {
    let brokers = of_kind(OPERATORS, "RabbitmqCluster").into_iter().map(|(name, _)| broker(&name));
    let databases = databases().into_iter().flat_map(|name| [instance(&name), job(&name)]);
    let servers = brokers.chain(databases);
    let deployed = services().chain(deployed(MONITORING)).chain(started());
    deployed.chain(servers).chain(others()).collect()
}

/// The four services, with the labels that kustomize adds.
fn services() -> impl Iterator<Item = Pod> {
    let shared = Kustomization::read(BASE).labels.remove(0).pairs;
    deployed(BASE).map(move |mut pod| {
        pod.labels.extend(shared.clone());
        pod
    })
}

/// The databases' names.
pub fn databases() -> Vec<String> {
    of_kind(OPERATORS, "Cluster").into_iter().map(|(name, _)| name).collect()
}

fn deployed(folder: &str) -> impl Iterator<Item = Pod> {
    of_kind(folder, "Deployment").into_iter().map(|(name, deployment)| {
        let labels = labels(&deployment["spec"]["template"]);
        let ports = match &container(&deployment)["ports"] {
            Value::Null => Vec::new(),
            ports => items(ports).iter().map(port).collect(),
        };
        Pod { name, namespace: NAMESPACE, labels, address: INSIDE, ports }
    })
}

/// Those of the check, which listen nowhere.
fn started() -> impl Iterator<Item = Pod> {
    of_kind(VERIFY, "CronJob").into_iter().map(|(name, job)| {
        let labels = labels(template(&job));
        Pod { name, namespace: NAMESPACE, labels, address: INSIDE, ports: Vec::new() }
    })
}

fn labels(template: &Value) -> BTreeMap<String, String> {
    let labels = template["metadata"]["labels"].as_object().expect("a pod has labels").iter();
    labels.map(|(key, value)| (key.clone(), text(value).to_owned())).collect()
}

fn port(written: &Value) -> (String, Port) {
    let number = written["containerPort"].as_u64().and_then(|it| it.try_into().ok());
    let number = number.expect("a port has a number");
    (text(&written["name"]).to_owned(), Port { number, protocol: "TCP" })
}

fn broker(name: &str) -> Pod {
    let labels = [
        (NAME, name),
        ("app.kubernetes.io/component", "rabbitmq"),
        ("app.kubernetes.io/part-of", "rabbitmq"),
    ];
    let ports = [
        ("epmd", 4369),
        ("amqps", 5671),
        ("management", 15672),
        ("prometheus", 15692),
        ("", 25672),
    ];
    pod(name, NAMESPACE, &labels, &ports)
}

fn instance(cluster: &str) -> Pod {
    let labels = [("cnpg.io/cluster", cluster), ("cnpg.io/podRole", "instance")];
    let ports = [("postgresql", 5432), ("metrics", 9187), ("status", 8000)];
    pod(cluster, NAMESPACE, &labels, &ports)
}

/// Copies the primary for a new instance.
fn job(cluster: &str) -> Pod {
    let labels = [("cnpg.io/cluster", cluster), ("cnpg.io/jobRole", "join")];
    pod(&format!("{cluster}-join"), NAMESPACE, &labels, &[])
}

/// Pods of other namespaces, and addresses outside of the cluster.
fn others() -> Vec<Pod> {
    let operator = ("app.kubernetes.io/component", "rabbitmq-operator");
    let mut dns = pod("dns", "kube-system", &[("k8s-app", "kube-dns")], &[("dns-tcp", 53)]);
    dns.ports.push(("dns".into(), Port { number: 53, protocol: "UDP" }));
    vec![
        dns,
        pod("ingress", "ingress-nginx", &[(NAME, "ingress-nginx")], &[]),
        pod("cnpg-operator", "cnpg-system", &[(NAME, "cloudnative-pg")], &[]),
        pod("rabbitmq-operator", "rabbitmq-system", &[operator], &[]),
        pod("keda", "keda", &[("app", "keda-operator")], &[]),
        pod("prometheus", "monitoring", &[(NAME, "prometheus")], &[]),
        pod("stranger", "default", &[(NAME, "order")], &[("http", 443)]),
        outside("kubernetes", [10, 96, 0, 1], &[443, 6443]),
        outside("internet", [198, 51, 100, 1], &[443]),
    ]
}

/// An address outside of the cluster.
pub fn outside(name: &str, address: impl Into<IpAddr>, ports: &[u16]) -> Pod {
    let ports: Vec<_> = ports.iter().map(|number| ("", *number)).collect();
    Pod { address: address.into(), ..pod(name, "", &[], &ports) }
}

fn pod(name: &str, namespace: &'static str, labels: &[(&str, &str)], ports: &[(&str, u16)]) -> Pod {
    let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let listens = |(name, number): &(&str, u16)| {
        ((*name).to_owned(), Port { number: *number, protocol: "TCP" })
    };
    let ports = ports.iter().map(listens).collect();
    Pod { name: name.into(), namespace, labels, address: INSIDE, ports }
}
