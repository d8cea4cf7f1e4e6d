use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use std::{fs, net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

const LIMIT: Duration = Duration::from_secs(8);

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Serves one answer to each connection, with a certificate for this name.
    async fn serve(&self, name: &str, is_expired: bool) -> SocketAddr {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if is_expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.into()], PrivateKeyDer::Pkcs8(key.serialize_der().into()));
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                // A client that does not trust this certificate goes.
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                stream.read_buf(&mut Vec::new()).await.unwrap();
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        address
    }
}

async fn get(url: &str, ca: Option<&Path>) -> Result<Answer, Failure> {
    let authorities = Some(Files::of_authorities("CA_FILE", ca));
    let client = Client::new(authorities, LIMIT / 4, LIMIT).unwrap();
    client.send(Request::get(url).body(Full::default()).unwrap()).await
}

async fn not_sent(url: &str, ca: Option<&Path>) -> String {
    match get(url, ca).await {
        Err(Failure::NotSent(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_is_asked_by_its_name_and_the_authority_of_the_file() {
    let authority = Authority::new();
    let address = authority.serve("localhost", false).await;
    let url = format!("https://localhost:{}/", address.port());
    let answer = get(&url, Some(authority.file.path())).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body.unwrap()[..]), (200, &b"ok"[..]));
}

#[tokio::test]
async fn what_is_not_that_server_gets_no_request_and_the_line_names_the_file() {
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = authority.file.path();
    let known = authority.serve("localhost", false).await.port();
    let expired = authority.serve("localhost", true).await.port();
    for (url, ca, said) in [
        (
            format!("https://127.0.0.1:{known}/"),
            Some(ca),
            ["is not for 127.0.0.1, but for", "localhost"],
        ),
        (
            format!("https://localhost:{expired}/"),
            Some(ca),
            ["has expired on 2020-01-01", "renew it"],
        ),
        (
            format!("https://localhost:{known}/"),
            Some(other.file.path()),
            ["is not from an authority of", "CA_FILE="],
        ),
        (format!("https://localhost:{known}/"), None, ["this machine trusts", "in CA_FILE"]),
    ] {
        let why = not_sent(&url, ca).await;
        assert!(said.iter().all(|said| why.contains(said)), "{why}");
    }
}

#[tokio::test]
async fn a_plain_or_silent_server_gets_no_request() {
    let authority = Authority::new();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", plain.local_addr().unwrap().port());
    let serve = async {
        let (mut socket, _) = plain.accept().await.unwrap();
        let mut heard = Vec::new();
        socket.read_buf(&mut heard).await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        assert!(!heard.starts_with(b"GET"), "in the clear");
        socket
    };
    let ca = Some(authority.file.path());
    let (why, _socket) = tokio::join!(not_sent(&url, ca), serve);
    assert!(why.contains("does not speak TLS"), "{why}");
    let why = not_sent(&url, ca).await;
    assert!(why.contains("no connection within 2s"), "{why}");
}

#[test]
fn an_address_is_refused_by_its_settings_name_and_never_with_a_password() {
    for wrong in ["", "nowhere", "ftp://bank.example", "http://bank.example?x=1", "http://a#b"] {
        let why = check_address("BANK", wrong, "http://bank").unwrap_err().to_string();
        assert!(why.starts_with(&format!("BANK={wrong} is not")), "{why}");
    }
    let why = check_address("BANK", "https://me:hunter2@bank", "http://bank").unwrap_err();
    assert!(!why.to_string().contains("hunter2"), "{why}");
    check_address("BANK", "https://bank.example/v1", "http://bank").unwrap();
}
