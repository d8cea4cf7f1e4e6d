//! Simulates a link to a server that can go silent: nothing arrives any more and nothing is closed,
//! as when a host dies or a network drops its connection state.

use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Ends when it is dropped.
pub struct Link {
    address: SocketAddr,
    /// Counts the silences: connections older than the last one are silent.
    silences: watch::Sender<u64>,
    /// New connections are silent at once.
    is_cut: watch::Sender<bool>,
    /// How long new connections take to reach the server.
    delay: watch::Sender<Duration>,
    _accepting: JoinSet<()>,
}

impl Link {
    /// To the server of this URL, with any scheme.
    pub async fn to(url: &str) -> Self {
        let server = host_and_port(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (silences, is_cut) = (watch::Sender::new(0), watch::Sender::new(false));
        let delay = watch::Sender::new(Duration::ZERO);
        let (silent, cut, late) = (silences.subscribe(), is_cut.subscribe(), delay.subscribe());
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("it listens");
                let carrying = carry(client, server.clone(), silent.clone(), cut.clone());
                let delay = *late.borrow();
                connections.spawn(async move {
                    tokio::time::sleep(delay).await;
                    carrying.await;
                });
            }
        });
        Self { address, silences, is_cut, delay, _accepting: accepting }
    }

    /// The same URL through this link.
    pub fn url(&self, url: &str) -> String {
        url.replacen(host_and_port(url), &self.address.to_string(), 1)
    }

    /// Silences the present connections; new ones work.
    pub fn silence(&self) {
        self.silences.send_modify(|count| *count += 1);
    }

    /// Silences present and new connections.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
        self.silence();
    }

    /// New connections take so long.
    pub fn slow(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// New ones work again.
    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn carry(
    mut client: TcpStream,
    server: String,
    mut silent: watch::Receiver<u64>,
    cut: watch::Receiver<bool>,
) {
    silent.mark_unchanged();
    if !*cut.borrow() {
        let Ok(mut server) = TcpStream::connect(server).await else {
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        tokio::select! {
            biased;
            _ = silent.changed() => {}
            _ = copy_bidirectional(&mut client, &mut server) => return,
        }
        // Both sockets stay open, and are not read.
        keep((client, server)).await;
    } else {
        keep(client).await;
    }
}

async fn keep<T>(sockets: T) {
    let _kept = sockets;
    tokio::time::sleep(Duration::MAX).await;
}

fn host_and_port(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}
