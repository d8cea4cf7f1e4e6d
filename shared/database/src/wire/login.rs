//! Connects and logs in, with the settings that sqlx has read from the URL.

use super::{State, Wire, refusal};
use crate::{
    encryption::{Encryption, NOT_OFFERED},
    erased::Done,
};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use futures::FutureExt;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::{backend::Message, frontend},
};
use sqlx::{
    Error,
    postgres::{PgConnectOptions, PgSslMode},
};
use sqlx_core::{
    Url,
    net::{
        Socket, SocketIntoBox, connect_uds,
        tls::{self, TlsConfig},
    },
    percent_encoding::percent_decode_str,
};
use std::{env, io};
use tokio::net::TcpStream;

/// Where to connect, and as whom.
pub struct Login {
    options: PgConnectOptions,
    // What sqlx does not give out.
    password: Option<String>,
    encryption: Encryption,
}

impl Login {
    pub fn new(url: &Url, options: PgConnectOptions, encryption: Encryption) -> Self {
        let named = url.query_pairs().find(|(key, _)| key == "password");
        let password = named.map(|(_, value)| value.into_owned());
        let password = password.or_else(|| env::var("PGPASSWORD").ok());
        let in_front = url.password().map(|it| percent_decode_str(it).decode_utf8_lossy().into());
        Self { options, password: in_front.or(password), encryption }
    }

    /// The caller bounds the wait.
    pub async fn connect(&self) -> Result<Wire, Error> {
        let mut wire = Wire::new(self.socket().await?);
        let options = self.options.get_options().unwrap_or_default();
        let user = self.options.get_username();
        let parameters = [
            ("user", user),
            ("database", self.options.get_database().unwrap_or(user)),
            ("application_name", self.options.get_application_name().unwrap_or_default()),
            ("client_encoding", "UTF8"),
            ("options", options),
        ];
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out)?;
        wire.send(&mut out).await?;
        self.prove(&mut wire).await?;
        Ok(wire)
    }

    async fn socket(&self) -> Result<Box<dyn Socket>, Error> {
        if let Some(directory) = self.options.get_socket() {
            let path = directory.join(format!(".s.PGSQL.{}", self.options.get_port()));
            return connect_uds(path, SocketIntoBox).await;
        }
        let host = self.options.get_host();
        let mut socket: Box<dyn Socket> = Box::new(reach(host, self.options.get_port()).await?);
        let mode = self.options.get_ssl_mode();
        let is_asked_for = !matches!(mode, PgSslMode::Disable | PgSslMode::Allow);
        if !is_asked_for || !offers_tls(&mut socket, mode).await? {
            return Ok(socket);
        }
        let config = TlsConfig {
            accept_invalid_certs: !matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull),
            accept_invalid_hostnames: !matches!(mode, PgSslMode::VerifyFull),
            hostname: host,
            root_cert_path: self.encryption.authorities.as_ref(),
            client_cert_path: self.encryption.certificate.as_ref(),
            client_key_path: self.encryption.key.as_ref(),
        };
        encrypted(socket, config).await
    }

    /// Answers the server's questions until it is ready.
    async fn prove(&self, wire: &mut Wire) -> Result<(), Error> {
        let user = self.options.get_username().as_bytes();
        let password = self.password.as_deref().unwrap_or_default().as_bytes();
        let mut scram = None;
        loop {
            let mut out = BytesMut::new();
            match wire.next().await? {
                Message::AuthenticationCleartextPassword => {
                    frontend::password_message(password, &mut out)?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user, password, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut out)?;
                }
                Message::AuthenticationSasl(body) => {
                    if !body.mechanisms().any(|mechanism| Ok(mechanism == SCRAM_SHA_256))? {
                        return Err(unknown_question());
                    }
                    let begun =
                        scram.insert(ScramSha256::new(password, ChannelBinding::unsupported()));
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut out)?;
                }
                Message::AuthenticationSaslContinue(body) => {
                    let begun = scram.as_mut().ok_or_else(unknown_question)?;
                    begun.update(body.data())?;
                    frontend::sasl_response(begun.message(), &mut out)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    scram.as_mut().ok_or_else(unknown_question)?.finish(body.data())?;
                }
                Message::ErrorResponse(body) => return Err(refusal(&body)),
                Message::ReadyForQuery(_) => {
                    wire.state = State::Ready;
                    return Ok(());
                }
                Message::AuthenticationOk
                | Message::BackendKeyData(_)
                | Message::ParameterStatus(_)
                | Message::NoticeResponse(_) => {}
                _ => return Err(unknown_question()),
            }
            // A flush of nothing would wait for the server, where TLS is below.
            if !out.is_empty() {
                wire.send(&mut out).await?;
            }
        }
    }
}

/// Each write leaves at once: TLS writes a record at a time, and the last of an exchange would wait
/// for the server to acknowledge the one before, which it delays by 40 ms.
async fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

fn unknown_question() -> Error {
    Error::Protocol("the server asks for a way to log in that is not known here".into())
}

async fn offers_tls(socket: &mut Box<dyn Socket>, mode: PgSslMode) -> Result<bool, Error> {
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    let mut answer = [0];
    let mut sent = 0;
    while sent < out.len() {
        sent += socket.write(&out[sent..]).await?;
    }
    socket.read(&mut &mut answer[..]).await?;
    match (answer[0], mode) {
        (b'S', _) => Ok(true),
        (b'N', PgSslMode::Prefer) => Ok(false),
        (b'N', _) => Err(Error::Tls(NOT_OFFERED.into())),
        _ => Err(Error::Io(io::ErrorKind::InvalidData.into())),
    }
}

/// Boxed here, or the compiler cannot tell that it may move between threads.
fn encrypted<'a>(socket: Box<dyn Socket>, config: TlsConfig<'a>) -> Done<'a, Box<dyn Socket>> {
    tls::handshake(socket, config, SocketIntoBox).boxed()
}

#[cfg(test)]
mod tests {
    use super::reach;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn no_write_waits_for_an_acknowledgement() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        assert!(reach("127.0.0.1", port).await.unwrap().nodelay().unwrap());
    }
}
