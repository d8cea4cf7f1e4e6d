//! Runs the nodes of one cluster, or a single one. The nodes of a cluster share a cookie, and an
//! epmd that outlives each of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::{join_all, try_join_all};
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::definitions::definitions;
use super::{EPMD_ASKS, POLL_INTERVAL, PROBE_BOUND, RabbitConfig, RabbitMq, START_BOUND};
use super::{left_epmd, node, programs, start_epmd};
use crate::ports;
use crate::running::Running;

/// An import declares every queue on all of its nodes.
const IMPORT_BOUND: Duration = Duration::from_secs(60);
const EPMD_PORT: &str = "epmd.port";

/// A node's place in a cluster.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Holds what all nodes share: the cookie, and epmd's port and pid. It must not be the
    /// directory of a node.
    pub dir: PathBuf,
    /// From 1.
    pub number: usize,
    pub size: usize,
}

pub struct RabbitCluster {
    /// In the order of their numbers.
    pub nodes: Vec<RabbitMq>,
    /// None for a single node, which has its own, and where it ran before.
    epmd: Option<Running>,
}

impl Membership {
    /// The name of the node with this number.
    pub fn node(number: usize) -> String {
        format!("quadrille{number}@localhost")
    }

    pub(super) fn epmd_port(&self) -> Result<u16> {
        let port = fs::read_to_string(self.dir.join(EPMD_PORT)).ok();
        let port = port.and_then(|port| port.trim().parse().ok());
        port.context("the cluster's epmd has never run: start all nodes together first")
    }
}

impl RabbitCluster {
    /// Starts the nodes that do not run, all at once, since the first start takes all of them, and
    /// finishes the start of those that run. Returns when each is ready and a member, and the
    /// definitions are loaded: a quorum queue has as many members as there are nodes when it is
    /// declared.
    pub async fn start(configs: Vec<RabbitConfig>) -> Result<Self> {
        let membership = configs.first().and_then(|config| config.cluster.clone());
        let epmd = match (configs.first(), &membership) {
            (Some(config), Some(membership)) => shared_epmd(config, membership).await?,
            _ => None,
        };
        let nodes = try_join_all(configs.into_iter().map(RabbitMq::start_or_attach)).await?;
        let mut cluster = Self { nodes, epmd };
        if let Some(membership) = membership {
            cluster.whole().await?;
            cluster.nodes[0].import().await?;
            node::note_first_start(&membership.dir)?;
        }
        cluster.nodes.iter_mut().for_each(RabbitMq::lives);
        if let (Some(epmd), Some(node)) = (&mut cluster.epmd, cluster.nodes.first()) {
            epmd.lives(&node.config.lifetime);
        }
        Ok(cluster)
    }

    /// Returns when every node sees all the others.
    pub async fn whole(&self) -> Result<()> {
        let size = self.nodes.len();
        let deadline = Instant::now() + START_BOUND;
        for node in &self.nodes {
            while node.running_nodes().await.ok() != Some(size) {
                let port = node.config.port;
                let in_time = Instant::now() < deadline;
                ensure!(in_time, "RabbitMQ on port {port} does not see {size} nodes");
                sleep(POLL_INTERVAL).await;
            }
        }
        Ok(())
    }

    /// Stops the nodes that were started by this handle's process, together: a node that is alone
    /// waits for the others.
    pub async fn stop(&mut self) -> Result<()> {
        let ours = self.nodes.iter_mut().filter(|node| node.node.is_child());
        let ended = join_all(ours.map(RabbitMq::stop)).await;
        if let Some(epmd) = &mut self.epmd {
            epmd.end(&EPMD_ASKS).await?;
        }
        ended.into_iter().collect()
    }
}

impl RabbitMq {
    /// How many nodes this one sees running.
    pub async fn running_nodes(&self) -> Result<usize> {
        let request = self.request(Method::GET, "nodes?columns=running", PROBE_BOUND)?;
        let nodes: Vec<Value> = request.send().await?.error_for_status()?.json().await?;
        Ok(nodes.iter().filter(|node| node["running"] == true).count())
    }

    /// Spreads the leaders of the queues: a node that was away leads none. It goes on after the
    /// answer, and needs members that have caught up.
    pub async fn spread_leaders(&self) -> Result<()> {
        let request = self.request(Method::POST, "rebalance/queues", PROBE_BOUND)?;
        let answer = request.send().await.and_then(reqwest::Response::error_for_status);
        answer.map(drop).context("RabbitMQ does not spread the leaders of its queues")
    }

    /// The number of the node that leads most queues.
    pub async fn leader(&self) -> Result<usize> {
        let request = self.request(Method::GET, "queues?columns=leader", PROBE_BOUND)?;
        let queues: Vec<Value> = request.send().await?.error_for_status()?.json().await?;
        let led = |number: &usize| {
            let node = Membership::node(*number);
            queues.iter().filter(|queue| queue["leader"] == node.as_str()).count()
        };
        let size = self.config.cluster.as_ref().map_or(1, |membership| membership.size);
        (1..=size).max_by_key(led).context("a cluster has nodes")
    }

    /// Cuts the node off from the others of its cluster, which take it for dead; it takes them for
    /// dead, too.
    pub async fn part(&self) -> Result<()> {
        let others = self.others().join(", ");
        let cut = format!(
            "[begin erlang:set_cookie(Node, cut), erlang:disconnect_node(Node) end \
             || Node <- [{others}]], [] = nodes() -- (nodes() -- [{others}])."
        );
        self.eval(&cut).await.map(drop)
    }

    /// Lets the node reach the others again.
    pub async fn rejoin(&self) -> Result<()> {
        let others = self.others().join(", ");
        let heal = format!(
            "Cookie = erlang:get_cookie(), [begin erlang:set_cookie(Node, Cookie), \
             net_kernel:connect_node(Node) end || Node <- [{others}]]."
        );
        self.eval(&heal).await.map(drop)
    }

    /// The names of the others, as Erlang has them.
    fn others(&self) -> Vec<String> {
        let Some(Membership { number, size, .. }) = &self.config.cluster else { return Vec::new() };
        let others = (1..=*size).filter(|other| other != number);
        others.map(|other| format!("'{}'", Membership::node(other))).collect()
    }

    /// Loads the definitions; what is there already stays as it is.
    async fn import(&self) -> Result<()> {
        let all = definitions(&self.config, &self.config.definitions);
        let request = self.request(Method::POST, "definitions", IMPORT_BOUND)?;
        let answer = request.json(&all).send().await?;
        let status = answer.status();
        let said = answer.text().await.unwrap_or_default();
        ensure!(status.is_success(), "RabbitMQ does not load its definitions ({status}): {said}");
        Ok(())
    }
}

/// Starts the epmd of all nodes where it does not run. Nodes that run register again with an epmd
/// on the same port.
async fn shared_epmd(config: &RabbitConfig, membership: &Membership) -> Result<Option<Running>> {
    let dir = std::path::absolute(&membership.dir)?;
    if left_epmd(&dir).is_some() {
        return Ok(None);
    }
    let port = membership.epmd_port().ok().filter(|port| ports::is_free(*port));
    let port = port.map_or_else(ports::free, Ok)?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    write_port(&dir, port)?;
    start_epmd(&dir, config, &programs(config)?, port).await.map(Some)
}

fn write_port(dir: &Path, port: u16) -> Result<()> {
    let file = dir.join(EPMD_PORT);
    fs::write(&file, port.to_string()).with_context(|| format!("cannot write {}", file.display()))
}
