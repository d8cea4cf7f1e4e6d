//! Tests of HTTPS: what holds over plain connections holds over encrypted ones.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{fs, path::PathBuf, time::Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A server whose certificate is for localhost, and its authority.
pub struct Https {
    pub address: SocketAddr,
    authority: Authority,
    folder: TempDir,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Https {
    pub async fn serve(routes: Router, change: impl FnOnce(&mut Server)) -> Self {
        let (folder, authority) = (TempDir::new().unwrap(), authority());
        renew(&folder, &authority, 1);
        let address = ([127, 0, 0, 1], 0).into();
        let listen = Listen { address, connections_max: 3, tls: Some(files(&folder)) };
        let mut server = Server::bind(listen).await.unwrap();
        change(&mut server);
        let (address, stop) = (server.listener.local_addr().unwrap(), CancellationToken::new());
        let running = tokio::spawn(server.run(routes, stop.clone()));
        Self { address, authority, folder, stop, running }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_with(client_config(self)).await
    }

    pub async fn connect_with(&self, config: ClientConfig) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    pub async fn send(&self, text: &str) -> TlsStream<TcpStream> {
        let mut client = self.connect().await;
        client.write_all(text.as_bytes()).await.unwrap();
        client
    }

    /// The serial number of the certificate that it shows.
    async fn serial(&self) -> u64 {
        let client = self.connect().await;
        let chain = client.get_ref().1.peer_certificates().unwrap();
        let certificate = webpki::EndEntityCert::try_from(&chain[0]).unwrap();
        certificate.serial().iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Trusts its authority, and speaks HTTP/1.
pub fn client_config(server: &Https) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(server.authority.der().clone()).unwrap();
    ClientConfig::builder_with_provider(https::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn authority() -> Authority {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap()
}

fn files(folder: &TempDir) -> https::Files {
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    https::Files {
        certificate: ("HTTP_TLS_CERT_FILE", path("cert.pem")),
        key: ("HTTP_TLS_KEY_FILE", path("key.pem")),
    }
}

fn renew(folder: &TempDir, authority: &Authority, serial: u64) {
    let (files, key) = (files(folder), KeyPair::generate().unwrap());
    let mut own = CertificateParams::new(["localhost".to_owned()]).unwrap();
    own.serial_number = Some(serial.into());
    fs::write(files.certificate.1, own.signed_by(&key, authority).unwrap().pem()).unwrap();
    fs::write(files.key.1, key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn a_route_is_reached_over_tls() {
    let server = Https::serve(hello(), |_| {}).await;
    let mut client = server.send(WHOLE).await;
    let answer = all(&mut client).await;
    let here = client.get_ref().0.local_addr().unwrap().to_string();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&here), "{answer}");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let often = Duration::from_millis(20);
    let server = Https::serve(hello(), |server| server.look_every = often).await;
    let mut old = server.connect().await;
    assert_eq!(server.serial().await, 1);
    renew(&server.folder, &server.authority, 2);
    let until = Instant::now() + SOON;
    while server.serial().await != 2 {
        assert!(Instant::now() < until, "the new certificate is not shown");
    }
    old.write_all(WHOLE.as_bytes()).await.unwrap();
    assert!(all(&mut old).await.starts_with("HTTP/1.1 200"), "an open connection goes on");
}

#[tokio::test]
async fn a_server_without_a_usable_certificate_does_not_start() {
    let folder = TempDir::new().unwrap();
    let tls = Some(files(&folder));
    let listen = Listen { address: ([127, 0, 0, 1], 0).into(), connections_max: 3, tls };
    let said = format!("{:#}", Server::bind(listen).await.err().unwrap());
    assert!(said.contains("cert.pem, set in HTTP_TLS_CERT_FILE: No such file"), "{said}");
}

#[tokio::test]
async fn plain_http_is_told_that_this_is_https() {
    let server = Https::serve(hello(), |_| {}).await;
    let answer = all(&mut send(server.address, WHOLE).await).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("write https:// in the address"), "{answer}");
    // No HTTP either, and much of it.
    let mut client = send(server.address, &"x".repeat(100_000)).await;
    assert!(all(&mut client).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_client_that_does_not_begin_tls_in_time_is_closed() {
    let soon = Duration::from_millis(200);
    let quick = |server: &mut Server| server.encryption.as_mut().unwrap().tls.within = soon;
    let server = Https::serve(hello(), quick).await;
    for beginning in ["", "\x16", "\x16\x03\x01\x02\x00\x01"] {
        assert_eq!(all(&mut send(server.address, beginning).await).await, "");
    }
    // No TLS, though it begins like it: at most an alert is answered.
    let answer = all_bytes(&mut send(server.address, "\x16\x03\x01\x00\x05hello").await).await;
    assert!(answer.first().is_none_or(|kind| *kind == 21), "{answer:?}");
}

#[tokio::test]
async fn clients_that_only_hold_connections_make_room_for_one_that_encrypts() {
    let server = Https::serve(hello(), |_| {}).await;
    let mut holding = Vec::new();
    for beginning in ["", "\x16", "\x16\x03"] {
        holding.push(send(server.address, beginning).await);
    }
    let mut fillers = Vec::new();
    for held in &mut holding {
        let answer = all(&mut server.send(WHOLE).await).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        fillers.push(server.send("GET / HT").await);
        assert_eq!(all(held).await, "");
    }
}

#[tokio::test]
async fn headers_have_a_bound_over_tls() {
    let server = Https::serve(hello(), |_| {}).await;
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(64 << 10));
    let mut client = server.connect().await;
    // Cut off while it sends.
    let _ = client.write_all(long.as_bytes()).await;
    let answer = all(&mut client).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_answer_that_is_not_read_is_let_go_over_tls() {
    let (routes, goes) = big();
    let server = Https::serve(routes, |server| server.stalled = Duration::from_secs(1)).await;
    let _silent = server.send(WHOLE).await;
    timeout(SOON, goes).await.expect("it is let go in time").unwrap();
}

#[tokio::test]
async fn a_handshake_that_hangs_does_not_delay_the_end() {
    let server = Https::serve(hello(), |_| {}).await;
    let _silent = send(server.address, "\x16").await;
    let _idle = server.connect().await;
    let began = Instant::now();
    server.stop.cancel();
    timeout(SOON, server.running).await.expect("it ends").unwrap().unwrap();
    assert!(began.elapsed() < FINISH_WITHIN, "it waited for a client");
}

#[test]
fn a_bad_pair_keeps_the_last_one() {
    let (folder, authority) = (TempDir::new().unwrap(), authority());
    let files = files(&folder);
    renew(&folder, &authority, 1);
    let (certificate, used) = Certificate::read(files.clone()).unwrap();
    let (mut seen, first) = (certificate::Seen::of(used), certificate.current());
    let (certificate_file, key_file) = (&files.certificate.1, &files.key.1);
    let whole = fs::read(certificate_file).unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    for (path, bytes) in [
        (certificate_file, &whole[..99]),
        (certificate_file, &whole),
        (key_file, other.as_bytes()),
        (key_file, b""),
    ] {
        fs::write(path, bytes).unwrap();
        certificate.look(&mut seen);
        certificate.look(&mut seen);
        assert!(Arc::ptr_eq(&certificate.current(), &first));
    }
    fs::remove_file(key_file).unwrap();
    certificate.look(&mut seen);
    assert!(Arc::ptr_eq(&certificate.current(), &first));
    renew(&folder, &authority, 2);
    certificate.look(&mut seen);
    assert!(!Arc::ptr_eq(&certificate.current(), &first), "the first good one is used");
}
