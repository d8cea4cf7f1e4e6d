//! Decides whether NetworkPolicies allow a connection:
//! kubernetes.io/docs/concepts/services-networking/network-policies.

use crate::{
    of_kind,
    pods::{Pod, Port},
};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use std::{collections::BTreeMap, net::IpAddr};

/// The policies of some folders, by their names.
pub struct Network(Vec<(String, NetworkPolicySpec)>);

/// The peers and ports of a rule.
#[derive(Clone)]
pub struct Rule<'a> {
    pub policy: &'a str,
    pub selects: &'a LabelSelector,
    pub incoming: bool,
    pub peers: &'a [NetworkPolicyPeer],
    pub ports: Vec<Port>,
}

impl Network {
    pub fn of(folders: &[&str]) -> Self {
        let policies = folders.iter().flat_map(|folder| of_kind(folder, "NetworkPolicy"));
        let read = |(name, policy)| {
            let policy: NetworkPolicy = serde_json::from_value(policy).expect("a NetworkPolicy");
            (name, policy.spec.unwrap_or_default())
        };
        Self(policies.map(read).collect())
    }

    /// Both ends have to allow it; other namespaces allow all.
    pub fn allows(&self, from: &Pod, to: &Pod, port: Port) -> bool {
        (!from.is_ours() || self.agrees(from, to, port, false))
            && (!to.is_ours() || self.agrees(to, from, port, true))
    }

    fn agrees(&self, here: &Pod, there: &Pod, port: Port, incoming: bool) -> bool {
        let direction = if incoming { "Ingress" } else { "Egress" };
        let isolated = self.0.iter().any(|(_, policy)| {
            let types = policy.policy_types.iter().flatten();
            policy.pod_selector.as_ref().is_some_and(|it| selects(it, &here.labels))
                && types.into_iter().any(|it| it == direction)
        });
        let mut rules = self.rules().filter(|rule| rule.incoming == incoming);
        !isolated
            || rules
                .any(|rule| rule.is_for(here) && rule.ports.contains(&port) && rule.has_peer(there))
    }

    /// All rules. One without peers or ports would allow all.
    pub fn rules(&self) -> impl Iterator<Item = Rule<'_>> {
        self.0.iter().flat_map(|(name, policy)| {
            let selects = policy.pod_selector.as_ref().expect("whom it is for");
            let incoming = policy.ingress.iter().flatten().map(|it| (true, &it.from, &it.ports));
            let outgoing = policy.egress.iter().flatten().map(|it| (false, &it.to, &it.ports));
            incoming.chain(outgoing).map(move |(incoming, peers, ports)| Rule {
                policy: name,
                selects,
                incoming,
                peers: peers.as_deref().expect("a rule names its peers"),
                ports: ports.iter().flatten().map(number).collect(),
            })
        })
    }
}

impl<'a> Rule<'a> {
    /// The same rule for one peer only.
    pub fn with(&self, peer: &'a NetworkPolicyPeer) -> Self {
        Self { peers: std::slice::from_ref(peer), ..self.clone() }
    }

    pub fn is_for(&self, pod: &Pod) -> bool {
        pod.is_ours() && selects(self.selects, &pod.labels)
    }

    pub fn has_peer(&self, pod: &Pod) -> bool {
        self.peers.iter().any(|peer| matches(peer, pod))
    }
}

fn number(port: &NetworkPolicyPort) -> Port {
    let Some(IntOrString::Int(number)) = port.port else { panic!("{port:?} is no number") };
    assert_eq!(port.end_port, None, "a range");
    let protocol = match port.protocol.as_deref() {
        Some("UDP") => "UDP",
        Some("TCP") | None => "TCP",
        Some(other) => panic!("{other} is not known here"),
    };
    Port { number: number.try_into().expect("a port"), protocol }
}

fn matches(peer: &NetworkPolicyPeer, pod: &Pod) -> bool {
    if let Some(block) = &peer.ip_block {
        return includes(block, pod.address);
    }
    let namespace = match &peer.namespace_selector {
        None => pod.is_ours(),
        Some(selector) => {
            let label = ("kubernetes.io/metadata.name".to_owned(), pod.namespace.to_owned());
            !pod.namespace.is_empty() && selects(selector, &BTreeMap::from([label]))
        }
    };
    namespace && peer.pod_selector.as_ref().is_none_or(|it| selects(it, &pod.labels))
}

/// Whether a selector chooses what has these labels.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let mut pairs = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    pairs.all(|(key, value)| labels.get(key) == Some(value))
        && expressions.all(|it| match it.operator.as_str() {
            "Exists" => labels.contains_key(&it.key),
            other => panic!("{other} is not known here"),
        })
}

fn includes(block: &IPBlock, address: IpAddr) -> bool {
    let except = block.except.iter().flatten();
    contains(&block.cidr, address) && !except.into_iter().any(|it| contains(it, address))
}

/// Whether a network has this address.
fn contains(network: &str, address: IpAddr) -> bool {
    let (first, length) = network.split_once('/').expect("a network has a length");
    let first: IpAddr = first.parse().expect("a network has an address");
    let length: u32 = length.parse().expect("its length is a number");
    match (first, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            let differ = first.to_bits() ^ address.to_bits();
            differ.leading_zeros() >= length
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => {
            let differ = first.to_bits() ^ address.to_bits();
            differ.leading_zeros() >= length
        }
        _ => false,
    }
}
