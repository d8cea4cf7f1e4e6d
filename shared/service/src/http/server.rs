//! Serves HTTP/1, and where it has a certificate both HTTP/1 and HTTP/2 over TLS, with what
//! `axum::serve` lacks: cuts off clients that send slowly, do not read or cancel their requests,
//! and bounds connections, their headers and their buffers.

mod certificate;
mod connections;
mod handshake;
mod requests;

use super::BODY_MAX;
use anyhow::Context;
use axum::{
    Router,
    extract::ConnectInfo,
    http::{HeaderValue, Response, Version, header},
};
use certificate::{Certificate, LOOK_EVERY};
use connections::{Connections, Open, Patience};
use futures::{FutureExt, future::BoxFuture};
use handshake::{Tls, is_http_2};
use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use requests::Answer;
use std::{
    convert::Infallible, error::Error, future::pending, net::SocketAddr, sync::Arc, time::Duration,
};
use telemetry::metrics::REFUSED_CONNECTIONS;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// For the TLS handshake, for the headers of a request, and for an idle connection.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// For a request's headers together, and for data read or written ahead.
const BUFFER_MAX: usize = 16 * 1024;
/// A client that takes no byte of its answer for so long is cut off.
const STALLED: Duration = Duration::from_secs(30);
/// Requests that an HTTP/2 connection may have in hand.
const STREAMS_MAX: u32 = 100;
/// Streams that were reset and are still to be looked at.
const RESETS_MAX: usize = 20;
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
    /// An HTTP/2 connection without a request for so long is closed; HTTP/1 waits for headers.
    idle: Duration,
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
    patience: Patience,
}

/// In the extensions of a request that came over HTTPS.
#[derive(Clone, Copy, Debug)]
pub struct Encrypted;

type Answered = BoxFuture<'static, Result<Response<Answer>, Infallible>>;

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
        let (stalled, idle, look_every) = (STALLED, HEADERS_WITHIN, LOOK_EVERY);
        Ok(Self { listener, connections, encryption, stalled, idle, look_every })
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
                    let patience = Patience { idle: self.idle, stalled: self.stalled };
                    self.serve(stream, Peer { address, routes, stop, patience }, open);
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
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(self.stalled));
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
                peer.answer_encrypted(stream, open).await;
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
    async fn answer(self, stream: TcpStream, open: Open) {
        let service = service_fn(self.answering(&open, false));
        let connection = http_1().serve_connection(TokioIo::new(stream), service);
        open.drive(connection, &self.stop, None).await;
    }

    async fn answer_encrypted(self, stream: TlsStream<TcpStream>, open: Open) {
        let service = service_fn(self.answering(&open, true));
        if !is_http_2(&stream) {
            let connection = http_1().serve_connection(TokioIo::new(stream), service);
            open.drive(connection, &self.stop, None).await;
            return;
        }
        let connection = http_2().serve_connection(TokioIo::new(stream), service);
        let ended = open.drive(connection, &self.stop, Some(self.patience)).await;
        if ended.is_some_and(|ended| ended.is_err_and(|why| is_flood(&why))) {
            REFUSED_CONNECTIONS.add(1, ["flood"]);
        }
    }

    fn answering(
        &self,
        open: &Open,
        is_encrypted: bool,
    ) -> impl Fn(Request<Incoming>) -> Answered + use<> {
        let (routes, requests) =
            (TowerToHyperService::new(self.routes.clone()), open.requests.clone());
        let peer = ConnectInfo(self.address);
        move |mut request| {
            let working = requests.begin();
            let is_http_2 = request.version() == Version::HTTP_2;
            if is_http_2 {
                name_host(&mut request);
            }
            // So that a route can distinguish clients.
            request.extensions_mut().insert(peer);
            if is_encrypted {
                request.extensions_mut().insert(Encrypted);
            }
            let answering = routes.call(request);
            async move {
                let answer = answering.await?;
                Ok(answer.map(|body| Answer::new(body, working, is_http_2)))
            }
            .boxed()
        }
    }
}

fn http_1() -> http1::Builder {
    let mut http_1 = http1::Builder::new();
    http_1.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_buf_size(BUFFER_MAX);
    http_1
}

/// What a client may make the server hold is what HTTP/1 lets it hold, for each of its streams.
fn http_2() -> http2::Builder<TokioExecutor> {
    let (buffer, body) = (BUFFER_MAX as u32, BODY_MAX as u32);
    let mut http_2 = http2::Builder::new(TokioExecutor::new());
    http_2
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(buffer)
        .initial_stream_window_size(body)
        .initial_connection_window_size(2 * body)
        .max_send_buf_size(BUFFER_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX);
    http_2
}

/// As HTTP/1 names it, for all that looks at the header.
fn name_host(request: &mut Request<Incoming>) {
    let host = request.uri().authority().map(|host| HeaderValue::from_str(host.as_str()));
    if let Some(Ok(host)) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Whether the client was sent away for what it did to the protocol.
fn is_flood(why: &hyper::Error) -> bool {
    let protocol = why.source().and_then(|why| why.downcast_ref::<h2::Error>());
    protocol.and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM)
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
