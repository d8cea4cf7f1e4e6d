//! Serves HTTP/1 with what `axum::serve` lacks: cuts off clients that send slowly or do not read,
//! and bounds connections, their headers and their buffers.

mod connections;

use anyhow::Context;
use axum::{Router, extract::ConnectInfo};
use connections::{Busy, Connections};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// For the headers of a request, and for an idle connection.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// For a request's headers together, and for data read or written ahead.
const BUFFER_MAX: usize = 16 * 1024;
/// A client that takes no byte of its answer for so long is cut off.
const STALLED: Duration = Duration::from_secs(30);
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// For databases, brokers and files, besides the connections of clients.
const OTHER_FILES: u64 = 256;

/// Address and limits.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    pub address: SocketAddr,
    /// Maximum of concurrent connections; one more closes a waiting one.
    pub connections_max: usize,
}

pub struct Server {
    listener: TcpListener,
    connections: Arc<Connections>,
    stalled: Duration,
}

impl Server {
    pub async fn bind(Listen { address, connections_max }: Listen) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on HTTP_ADDR={address}; choose another, e.g. \
                HTTP_ADDR=127.0.0.1:3001"
            )
        })?;
        tracing::info!(%address, "HTTP listens on http://{address}");
        let connections = Connections::new(as_files_allow(connections_max));
        Ok(Self { listener, connections, stalled: STALLED })
    }

    /// Takes requests until the service stops, then finishes those in hand.
    pub async fn run(self, routes: Router, stop: CancellationToken) -> anyhow::Result<()> {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.serve(stream, peer, routes.clone(), &graceful),
                Err(why) => {
                    // Out of file handles, most likely: some will be closed.
                    tracing::warn!("cannot accept a connection: {why}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listener);
        if tokio::time::timeout(FINISH_WITHIN, graceful.shutdown()).await.is_err() {
            tracing::warn!(
                "some HTTP requests did not finish within {} s",
                FINISH_WITHIN.as_secs()
            );
        }
        Ok(())
    }

    /// In a task of its own; a broken connection needs no report.
    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        routes: Router,
        graceful: &GracefulShutdown,
    ) {
        // Every connection has a request in hand: there is no room for this one.
        let Some(open) = self.connections.open() else { return };
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(self.stalled));
        let routes = TowerToHyperService::new(routes);
        let work = open.work();
        let answer = move |mut request: Request<Incoming>| {
            let working = work.begin();
            // So that a route can distinguish clients.
            request.extensions_mut().insert(ConnectInfo(peer));
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
        let connection = graceful.watch(connection);
        tokio::spawn(open.until_done_or_pushed_out(connection));
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
