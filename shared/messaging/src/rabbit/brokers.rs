//! Chooses among the nodes of a broker's cluster: `AMQP_URL` names several, or one name stands for
//! several addresses. A session is on one node, and the next session on another.

use super::{
    address::{Address, SCHEMES, Tls},
    errors::{DEADLINE, within},
};
use crate::{BrokerError, Env, SystemEnv};
use amq_protocol::uri::{AMQPAuthority, AMQPUri};
use futures::{StreamExt, stream::FuturesUnordered};
use secret::Secret;
use std::{
    collections::HashSet,
    fmt::Display,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::lookup_host,
    time::{Instant, timeout, timeout_at},
};

/// A peer without traffic for twice as long has gone: detected within 20 seconds.
const HEARTBEAT_S: u16 = 6;
/// Where there is another node to go to.
const QUICK_HEARTBEAT_S: u16 = 2;
/// So long a node may take for a step of a session's start, where there is another: it may be cut
/// off from the leader of a queue.
const NODE_MAX: Duration = Duration::from_secs(3);
/// So long the other names are waited for once one has its addresses.
const NAMES_MAX: Duration = Duration::from_millis(500);
/// For the tools' connections: lapin has buffers of thirty-two frames in each direction, and cycles
/// through all of them: with the usual 128 KiB they fill 16 MB. A longer message is several frames.
const FRAME_MAX: u32 = 32 * 1024;

pub struct Brokers {
    urls: Secret,
    known: Mutex<Known>,
}

struct Known {
    /// What was read last, valid or not.
    urls: Arc<str>,
    addresses: Arc<[Address]>,
    /// The node of the last session, which has ended.
    last: Option<SocketAddr>,
    /// All of them, at the first session.
    were_tried: bool,
    /// The nodes of which it was logged that they cannot be used.
    complaints: HashSet<String>,
}

/// A node's address.
#[derive(Clone)]
pub struct Node {
    pub uri: AMQPUri,
    pub tls: Option<Tls>,
    pub address: SocketAddr,
    pub has_others: bool,
}

/// The nodes of one attempt that did not let us in: URL, address, reason.
#[derive(Default)]
pub struct Refusals(Vec<(String, String, BrokerError)>);

impl Brokers {
    pub fn new(urls: Secret) -> Result<Self, String> {
        let text = urls.read();
        let addresses = parse(&text)?;
        let (last, were_tried, complaints) = Default::default();
        let known = Known { urls: text, addresses, last, were_tried, complaints };
        Ok(Self { urls, known: Mutex::new(known) })
    }

    /// As the secret names them now.
    fn addresses(&self) -> Arc<[Address]> {
        let urls = self.urls.read();
        let mut known = self.known();
        if urls != known.urls {
            match parse(&urls) {
                Ok(addresses) => known.addresses = addresses,
                Err(why) => {
                    let name = self.urls.name();
                    tracing::error!("{name}_FILE has no valid address ({why}); using the last one");
                }
            }
            known.urls = urls;
        }
        known.addresses.clone()
    }

    /// All nodes, in an order of their own for each attempt, so that the services spread over them;
    /// the last session's node comes last. Adds the names without an address to the refusals.
    pub async fn nodes(&self, refusals: &mut Refusals) -> Vec<Node> {
        let addresses = self.addresses();
        let hosts = addresses.iter().map(|Address { uri: AMQPUri { authority, .. }, .. }| {
            let host = (authority.host.clone(), authority.port);
            async move { Ok(lookup_host(host).await?.collect::<Vec<_>>()) }
        });
        let mut nodes: Vec<Node> = Vec::new();
        for (Address { uri, tls }, found) in addresses.iter().zip(all_found(hosts).await) {
            let host = named(uri, &uri.authority.host);
            match found {
                Ok(found) => nodes.extend(found.into_iter().map(|address| Node {
                    uri: uri.clone(),
                    tls: tls.clone(),
                    address,
                    has_others: false,
                })),
                Err(why) => refusals.0.push((host.clone(), host, why)),
            }
        }
        let has_others = nodes.len() > 1;
        let last = self.known().last;
        nodes.sort_by_cached_key(|node| (Some(node.address) == last, SystemEnv.random()));
        nodes.into_iter().map(|node| Node { has_others, ..node }).collect()
    }

    /// All nodes, the first time that there are several; later none.
    pub async fn untried(&self, refusals: &mut Refusals) -> Vec<Node> {
        if self.addresses().len() == 1 || std::mem::replace(&mut self.known().were_tried, true) {
            return Vec::new();
        }
        self.nodes(refusals).await
    }

    /// This node let us in, after these did not.
    pub fn found(&self, node: &Node, refusals: Refusals) {
        let mut known = self.known();
        let used = node.name();
        known.complaints.remove(&used);
        for (url, node_name, why) in refusals.0 {
            // A name may have an address of each kind, and a server on one of them.
            let is_same = url == named(&node.uri, &node.uri.authority.host);
            if !is_same && known.complaints.insert(node_name.clone()) {
                tracing::warn!(node = node_name, "cannot use {node_name} of AMQP_URL: {why}");
            }
        }
    }

    /// The session is on this node.
    pub fn used(&self, node: &Node) {
        self.known().last = Some(node.address);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    pub fn name(&self) -> String {
        named(&self.uri, self.address.ip())
    }

    /// Bounds a wait for a step of a session's start.
    pub async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        if !self.has_others {
            return within(work).await;
        }
        let late = |_| BrokerError::away(format!("no answer within {NODE_MAX:?}"));
        timeout(NODE_MAX, work).await.map_err(late)?
    }
}

impl Refusals {
    pub fn push(&mut self, node: &Node, why: BrokerError) {
        self.0.push((named(&node.uri, &node.uri.authority.host), node.name(), why));
    }

    /// Why no node let us in.
    pub fn sum(mut self) -> BrokerError {
        if let [_] = &*self.0 {
            return self.0.remove(0).2;
        }
        let all = self.0.iter().map(|(_, node, why)| format!("{node}: {why}"));
        let all = all.collect::<Vec<_>>().join("; ");
        match self.0.iter().any(|(.., why)| why.is_transient()) {
            true => BrokerError::Away(all),
            false => BrokerError::Login(all),
        }
    }
}

/// What these have found. They are asked at once: a name server that hangs delays no session where
/// another name is known.
async fn all_found<T>(
    asked: impl Iterator<Item = impl Future<Output = io::Result<T>>>,
) -> Vec<Result<T, BrokerError>> {
    let numbered = asked.enumerate().map(async |(at, asked)| (at, asked.await));
    let mut answers: FuturesUnordered<_> = numbered.collect();
    let late = |_| Err(BrokerError::away("the name server does not answer"));
    let mut all: Vec<_> = (0..answers.len()).map(late).collect();
    let mut until = Instant::now() + DEADLINE;
    while let Ok(Some((at, answer))) = timeout_at(until, answers.next()).await {
        if answer.is_ok() {
            until = until.min(Instant::now() + NAMES_MAX);
        }
        all[at] = answer.map_err(BrokerError::away);
    }
    all
}

fn named(uri: &AMQPUri, host: impl Display) -> String {
    let AMQPAuthority { userinfo, port, .. } = &uri.authority;
    match &*userinfo.username {
        // It logs in by its certificate.
        "" => format!("{host}:{port}"),
        user => format!("{user}@{host}:{port}"),
    }
}

fn parse(urls: &str) -> Result<Arc<[Address]>, String> {
    let addresses = split(urls).into_iter().map(|url| Address::read(&url));
    let mut addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let heartbeat = if addresses.len() > 1 { QUICK_HEARTBEAT_S } else { HEARTBEAT_S };
    for Address { uri: AMQPUri { query, .. }, .. } in &mut addresses {
        query.heartbeat.get_or_insert(heartbeat);
        query.frame_max.get_or_insert(FRAME_MAX);
    }
    Ok(addresses.into())
}

/// Whole URLs with commas between them; a comma elsewhere belongs to a URL.
fn split(urls: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for part in urls.split(',') {
        let part = part.trim();
        match all.last_mut() {
            Some(last) if !SCHEMES.iter().any(|scheme| part.starts_with(scheme)) => {
                *last += ",";
                *last += part;
            }
            _ => all.push(part.to_owned()),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str =
        "amqp://127.0.0.1:5672/%2f,amqp://127.0.0.1:5673/%2f,amqp://127.0.0.1:5674/%2f";

    async fn order(brokers: &Brokers) -> Vec<u16> {
        let nodes = brokers.nodes(&mut Refusals::default()).await;
        nodes.iter().map(|node| node.address.port()).collect()
    }

    #[test]
    fn several_urls_are_separated_by_commas() {
        let urls = "amqp://a:b,c@one/%2f, amqps://two:5671/%2f";
        assert_eq!(split(urls), ["amqp://a:b,c@one/%2f", "amqps://two:5671/%2f"]);
        let heartbeats = |urls| {
            let brokers = Brokers::new(Secret::from(urls)).unwrap();
            let addresses = brokers.addresses();
            addresses.iter().map(|one| one.uri.query.heartbeat.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(heartbeats("amqp://one/%2f"), [6]);
        assert_eq!(heartbeats("amqp://one/%2f,amqp://two/%2f?heartbeat=9"), [2, 9]);
        assert!(Brokers::new("amqp://one/%2f,amqp://two:x/%2f".into()).is_err());
    }

    #[test]
    fn a_wrong_address_is_refused_without_its_password() {
        for wrong in ["amqp:user:hunter2@one", "amqp://user:hunter2@one:x", "user:hunter2@one"] {
            let why = Brokers::new(wrong.into()).err().unwrap();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[tokio::test]
    async fn sessions_spread_over_the_nodes_and_the_last_one_is_tried_last() {
        let brokers = Brokers::new(NODES.into()).unwrap();
        let mut firsts = std::collections::HashMap::new();
        for _ in 0..300 {
            *firsts.entry(order(&brokers).await[0]).or_insert(0) += 1;
        }
        assert!(firsts.len() == 3 && firsts.values().all(|count| *count > 50), "{firsts:?}");
        let nodes = brokers.nodes(&mut Refusals::default()).await;
        brokers.used(&nodes[1]);
        for _ in 0..20 {
            assert_eq!(order(&brokers).await[2], nodes[1].address.port());
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_refused_and_the_others_are_there() {
        let urls = "amqp://nowhere.invalid/%2f,amqp://127.0.0.1:5672/%2f";
        let brokers = Brokers::new(urls.into()).unwrap();
        let mut refusals = Refusals::default();
        let nodes = brokers.nodes(&mut refusals).await;
        assert_eq!(nodes.len(), 1);
        assert!(refusals.0[0].0 == "guest@nowhere.invalid:5672", "{:?}", refusals.0);
        brokers.found(&nodes[0], refusals);
        assert_eq!(brokers.known().complaints.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_at_once_and_one_that_hangs_holds_up_no_other() {
        let after = |seconds| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(seconds)
        };
        let found = async |seconds: &[u64]| {
            let began = Instant::now();
            let all = all_found(seconds.iter().map(|seconds| after(*seconds))).await;
            (all.into_iter().map(Result::ok).collect::<Vec<_>>(), began.elapsed())
        };
        assert_eq!(found(&[8, 8, 8]).await, (vec![Some(8); 3], Duration::from_secs(8)));
        let late = Duration::from_secs(2) + NAMES_MAX;
        assert_eq!(found(&[100, 2, 2, 3]).await, (vec![None, Some(2), Some(2), None], late));
        assert_eq!(found(&[100, 100]).await, (vec![None; 2], Duration::from_secs(10)));
    }

    #[test]
    fn a_wrong_login_everywhere_does_not_pass() {
        let sum = |all: &[BrokerError]| {
            let node = || "node".to_owned();
            Refusals(all.iter().map(|why| (node(), node(), why.clone())).collect()).sum()
        };
        let (away, login) = (BrokerError::away("refused"), BrokerError::Login("no".into()));
        assert!(sum(&[login.clone(), away]).is_transient());
        assert!(!sum(&[login.clone(), login.clone()]).is_transient());
        assert_eq!(sum(std::slice::from_ref(&login)).to_string(), login.to_string());
    }
}
