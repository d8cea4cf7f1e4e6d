//! Serves HTTP/1 with what `axum::serve` lacks: a client that sends its headers slowly is cut off.

use anyhow::Context;
use axum::{Router, extract::ConnectInfo};
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
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let routes = TowerToHyperService::new(routes.clone());
                    let answer = move |mut request: Request<Incoming>| {
                        // So that a route can tell one client from another.
                        request.extensions_mut().insert(ConnectInfo(peer));
                        routes.call(request)
                    };
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADERS_WITHIN)
                        .serve_connection(TokioIo::new(stream), service_fn(answer));
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
        if tokio::time::timeout(FINISH_WITHIN, connections.shutdown()).await.is_err() {
            tracing::warn!(
                "some HTTP requests did not finish within {} s",
                FINISH_WITHIN.as_secs()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_route_knows_who_asks() {
        let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        let server = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = server.listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(server.run(Router::new().route("/", get(who)), stop.clone()));

        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with(&client.local_addr().unwrap().to_string()), "{answer}");
        stop.cancel();
        served.await.unwrap().unwrap();
    }
}
