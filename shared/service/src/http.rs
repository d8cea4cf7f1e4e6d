//! Serves HTTP/1 with what `axum::serve` lacks: a client that sends its headers slowly is cut off.

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const HEADERS_WITHIN: Duration = Duration::from_secs(10);
const FINISH_WITHIN: Duration = Duration::from_secs(5);

pub struct Server {
    listener: TcpListener,
}

impl Server {
    pub async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("HTTP_ADDR={address} cannot be listened on; choose another, e.g. HTTP_ADDR=127.0.0.1:3001")
        })?;
        tracing::info!(%address, "HTTP listens on http://{address}");
        Ok(Self { listener })
    }

    /// Takes requests until told to stop, then finishes those in hand.
    pub async fn run(self, routes: Router, stop: CancellationToken) -> anyhow::Result<()> {
        let connections = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADERS_WITHIN)
                        .serve_connection(
                            TokioIo::new(stream),
                            TowerToHyperService::new(routes.clone()),
                        );
                    // A connection that breaks is its client's affair.
                    tokio::spawn(connections.watch(connection));
                }
                Err(why) => {
                    // Out of file handles, most likely: some will come back.
                    tracing::warn!("cannot accept a connection: {why}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listener);
        if tokio::time::timeout(FINISH_WITHIN, connections.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(
                "some HTTP requests did not finish within {} s",
                FINISH_WITHIN.as_secs()
            );
        }
        Ok(())
    }
}
