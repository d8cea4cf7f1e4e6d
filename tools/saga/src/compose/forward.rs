//! Listens, in the `saga` image, on the ports that the other containers publish on the machine, and
//! forwards to them: every address is as it is on the machine.

use anyhow::{Context, Result};
use kit::settings::Settings;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::container_of;

/// Set by docker-compose.yml.
const VARIABLE: &str = "FORWARD_PORTS";

/// Does nothing outside of the image.
pub async fn published_ports() -> Result<()> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    let settings = Settings::read()?;
    for (port, variable) in settings.container_ports() {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.with_context(|| format!("cannot listen on {variable}={port}"))?;
        tokio::spawn(forward(listener, container_of(&settings, variable), inner(variable)));
    }
    Ok(())
}

/// A container that does not run ends the connection.
async fn forward(listener: TcpListener, container: String, port: u16) {
    while let Ok((mut here, _)) = listener.accept().await {
        let container = container.clone();
        tokio::spawn(async move {
            if let Ok(mut there) = TcpStream::connect((container, port)).await {
                copy_bidirectional(&mut here, &mut there).await.ok();
            }
        });
    }
}

/// The port in the container.
fn inner(variable: &str) -> u16 {
    match variable {
        "ORDER_HTTP_PORT" => 3001,
        "MOCK_GATEWAY_PORT" => 3002,
        _ if variable.ends_with("_MANAGEMENT_PORT") => 15672,
        _ if variable.starts_with("RABBITMQ_") => 5672,
        _ => 5432,
    }
}
