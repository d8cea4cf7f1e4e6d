//! Serves HTTP/1, over TLS where it has a certificate, with what `axum::serve` lacks: cuts off
//! clients that send slowly or do not read, and bounds connections, their headers and their
//! buffers.

mod certificate;
mod connections;
mod handshake;

use anyhow::Context;
use axum::{Router, extract::ConnectInfo};
use certificate::{Certificate, LOOK_EVERY};
use connections::{Busy, Connections, Open};
use handshake::Tls;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use std::{convert::Infallible, future::pending, net::SocketAddr, sync::Arc, time::Duration};
use telemetry::metrics::REFUSED_CONNECTIONS;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// For the TLS handshake, for the headers of a request, and for an idle connection.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// For a request's headers together, and for data read or written ahead.
const BUFFER_MAX: usize = 16 * 1024;
/// A client that takes no byte of its answer for so long is cut off.
const STALLED: Duration = Duration::from_secs(30);
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// For databases, brokers and files, besides the connections of clients.
const OTHER_FILES: u64 = 256;

/// Address and limits.
#[derive(Clone, Debug)]
pub struct Listen {
    pub address: SocketAddr,
    /// Maximum of concurrent connections; one more closes a waiting one.
    pub connections_max: usize,
    /// The certificate of HTTPS; none is HTTP.
    pub tls: Option<https::Files>,
}

pub struct Server {
    listener: TcpListener,
    connections: Arc<Connections>,
    encryption: Option<Encryption>,
    stalled: Duration,
    /// How often the files of the certificate are read.
    look_every: Duration,
}

struct Encryption {
    tls: Tls,
    certificate: Arc<Certificate>,
    used: https::Bytes,
}

/// Where a connection comes from, and what its requests get.
struct Peer {
    address: SocketAddr,
    routes: Router,
    stop: CancellationToken,
}

impl Listen {
    /// Fails where the certificate cannot be used.
    pub fn check(&self) -> anyhow::Result<()> {
        self.tls.clone().map(Certificate::read).transpose().map(drop)
    }
}

impl Server {
    pub async fn bind(Listen { address, connections_max, tls }: Listen) -> anyhow::Result<Self> {
        let encryption = tls.map(Encryption::new).transpose()?;
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on HTTP_ADDR={address}; choose another, e.g. \
                HTTP_ADDR=127.0.0.1:3001"
            )
        })?;
        let scheme = if encryption.is_some() { "https" } else { "http" };
        tracing::info!(%address, "HTTP listens on {scheme}://{address}");
        let connections = Connections::new(as_files_allow(connections_max));
        Ok(Self { listener, connections, encryption, stalled: STALLED, look_every: LOOK_EVERY })
    }

    /// Takes requests until the service stops, then finishes those in hand.
    pub async fn run(self, routes: Router, stop: CancellationToken) -> anyhow::Result<()> {
        let open = TaskTracker::new();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.accept(&routes, &stop, &open) => {}
            () = self.keep_certificate_fresh() => {}
        }
        drop(self.listener);
        open.close();
        if tokio::time::timeout(FINISH_WITHIN, open.wait()).await.is_err() {
            tracing::warn!(
                "some HTTP requests did not finish within {} s",
                FINISH_WITHIN.as_secs()
            );
        }
        Ok(())
    }

    async fn accept(&self, routes: &Router, stop: &CancellationToken, open: &TaskTracker) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let (routes, stop) = (routes.clone(), stop.clone());
                    self.serve(stream, Peer { address, routes, stop }, open);
                }
                Err(why) => {
                    // Out of file handles, most likely: some will be closed.
                    tracing::warn!("cannot accept a connection: {why}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn keep_certificate_fresh(&self) {
        match &self.encryption {
            Some(Encryption { certificate, used, .. }) => {
                certificate.keep_fresh(used.clone(), self.look_every).await;
            }
            None => pending().await,
        }
    }

    /// In a task of its own; a broken connection needs no report.
    fn serve(&self, stream: TcpStream, peer: Peer, all: &TaskTracker) {
        let Some(open) = self.connections.open() else {
            // Every connection has a request in hand: there is no room for this one.
            REFUSED_CONNECTIONS.add(1, ["full"]);
            return;
        };
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(self.stalled));
        let Some(Encryption { tls, .. }) = &self.encryption else {
            all.spawn(peer.answer(stream, open));
            return;
        };
        let tls = tls.clone();
        all.spawn(async move {
            let begun = tokio::select! {
                begun = tls.accept(stream) => begun,
                () = open.pushed_out() => None,
                () = peer.stop.cancelled() => None,
            };
            if let Some(stream) = begun {
                peer.answer(stream, open).await;
            }
        });
    }
}

impl Encryption {
    fn new(files: https::Files) -> anyhow::Result<Self> {
        let (certificate, used) = Certificate::read(files)?;
        Ok(Self { tls: Tls::new(certificate.clone())?, certificate, used })
    }
}

impl Peer {
    /// Answers all requests of the connection.
    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, open: Open) {
        let Self { address, routes, stop } = self;
        let (routes, work) = (TowerToHyperService::new(routes), open.work());
        let answer = move |mut request: Request<Incoming>| {
            let working = work.begin();
            // So that a route can distinguish clients.
            request.extensions_mut().insert(ConnectInfo(address));
            let answering = routes.call(request);
            async move {
                let answer = answering.await?;
                Ok::<_, Infallible>(answer.map(|body| Busy::new(body, working)))
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .max_buf_size(BUFFER_MAX)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        open.drive(connection, &stop).await;
    }
}

/// As many as wanted, if the process may open so many files; raises the soft limit as far as it
/// may.
fn as_files_allow(wanted: usize) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let needed = wanted as u64 + OTHER_FILES;
    let raised = needed.min(hard);
    if soft >= needed
        || setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() && raised == needed
    {
        return wanted;
    }
    let files = raised.max(soft);
    let possible = files.saturating_sub(OTHER_FILES).max(16);
    tracing::warn!(
        "HTTP_CONNECTIONS_MAX={wanted} exceeds the limit of {files} open files: using {possible} \
         connections; raise `ulimit -n`, or lower the setting"
    );
    usize::try_from(possible).unwrap_or(wanted)
}

#[cfg(test)]
mod tests;
