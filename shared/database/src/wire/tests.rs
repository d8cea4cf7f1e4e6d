//! Tests of TLS, with a terminator in front of the real server.

use crate::{Limits, PgPool, testing::throwaway_url};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{env, fs, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

/// Takes over the encryption, as a proxy does; its certificate is for `localhost`.
struct Terminator {
    url: String,
    ca: Ca,
    _accepting: JoinSet<()>,
}

impl Terminator {
    async fn new() -> Self {
        let url = throwaway_url().await;
        let (_, server) = url.rsplit_once('@').unwrap();
        let (server, _) = server.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = format!("localhost:{}", listener.local_addr().unwrap().port());
        let through = url.replace(server, &here);
        let (ca, acceptor) = certified();
        let (server, mut accepting) = (server.to_owned(), JoinSet::new());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(terminate(client, acceptor.clone(), server.clone()));
            }
        });
        Self { url: through, ca, _accepting: accepting }
    }

    fn pool(&self, host: &str, mode: &str) -> PgPool {
        let url = self.url.replace("localhost", host);
        let url = format!("{url}?sslmode={mode}&sslrootcert={}", self.ca.0.display());
        PgPool::new(&url, "test", 4, Limits::new(Duration::from_secs(20))).unwrap()
    }
}

/// The file of its authority's certificate.
struct Ca(PathBuf);

impl Drop for Ca {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn certified() -> (Ca, TlsAcceptor) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap();
    let pem = authority.pem();
    let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, pem.as_bytes());
    let ca = Ca(env::temp_dir().join(format!("{name}.pem")));
    fs::write(&ca.0, pem).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.into()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    (ca, TlsAcceptor::from(Arc::new(config)))
}

async fn terminate(mut client: TcpStream, acceptor: TlsAcceptor, server: String) {
    let mut request = [0; 8];
    client.read_exact(&mut request).await.unwrap();
    client.write_all(b"S").await.unwrap();
    // A client that does not trust this certificate goes.
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let mut server = TcpStream::connect(server).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

async fn lengths(pool: &PgPool) -> Result<Vec<(i32,)>, sqlx::Error> {
    let tx = pool.begin().await?;
    // More than a record, and more than the network holds.
    let long = "x".repeat(1 << 20);
    let first = tx.query("SELECT LENGTH($1 || $1)").bind(&long).rows::<(i32,)>();
    tx.query("SELECT $1 || $1").bind(&long).run();
    let found = first.await?;
    tx.commit().await?;
    Ok(found)
}

#[tokio::test]
async fn an_encrypted_connection_works_like_a_plain_one() {
    let terminator = Terminator::new().await;
    for mode in ["prefer", "require", "verify-ca", "verify-full"] {
        let pool = terminator.pool("localhost", mode);
        for _ in 0..2 {
            assert_eq!(lengths(&pool).await.unwrap(), [(2 << 20,)], "{mode}");
        }
    }
}

#[tokio::test]
async fn a_server_that_ends_an_encrypted_connection_is_noticed_before_the_next_use() {
    let terminator = Terminator::new().await;
    let pool = terminator.pool("localhost", "require");
    let backend = async |pool: &PgPool| {
        let tx = pool.begin().await.unwrap();
        tx.query("SELECT pg_backend_pid()").rows::<(i32,)>().await.unwrap()[0].0
    };
    let first = pool.statement().await.unwrap();
    let pid = first.query("SELECT pg_backend_pid()").rows::<(i32,)>().await.unwrap()[0].0;
    drop(first);
    let other = PgPool::new(&terminator.url, "other", 4, Limits::DEFAULT).unwrap();
    let end = "SELECT pg_terminate_backend($1, 5000)";
    sqlx::query(end).bind(pid).execute(&other).await.unwrap();
    assert_ne!(backend(&pool).await, pid);
}

#[tokio::test]
async fn a_certificate_for_another_name_and_an_unknown_one_are_refused() {
    let (known, unknown) = (Terminator::new().await, Terminator::new().await);
    let wrong_name = known.pool("127.0.0.1", "verify-full");
    assert!(matches!(lengths(&wrong_name).await, Err(sqlx::Error::Tls(_) | sqlx::Error::Io(_))));
    assert!(lengths(&known.pool("127.0.0.1", "verify-ca")).await.is_ok());
    let mixed = Terminator { ca: unknown.ca, ..known };
    let unknown = lengths(&mixed.pool("localhost", "verify-ca")).await;
    assert!(matches!(unknown, Err(sqlx::Error::Tls(_) | sqlx::Error::Io(_))));
}
