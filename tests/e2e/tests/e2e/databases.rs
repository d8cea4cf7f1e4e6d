//! Encrypted links to a real Postgres that wants a certificate with its user's name: what must be
//! refused, several hosts, and files that change.

use chrono::{DateTime, Utc};
use database::{Limits, PgPool, PlainConnection, hopeless};
use e2e::{scratch_folder, until};
use servers::{Certificates, Postgres, Watchdog, certificates::Authority, scratch};
use std::{env, fs, path::PathBuf, sync::Arc, time::Duration};

const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];
const IS_ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
/// Nothing listens there.
const DEAD: &str = "127.0.0.1:1";

struct Stage {
    authority: Authority,
    certificates: Certificates,
    folder: PathBuf,
    postgres: Postgres,
    _watchdog: Arc<Watchdog>,
}

impl Stage {
    async fn new() -> Self {
        let (folder, watchdog) = scratch_folder();
        let authority = Authority::new().unwrap();
        let (dir, logins) = (folder.join("certificates"), ["postgres", "nobody"]);
        let certificates = Certificates::signed_by(&authority, &dir, &NAMES, &logins).unwrap();
        let postgres = scratch::postgres(&folder, &watchdog, Some(&certificates)).await;
        let postgres = postgres.unwrap();
        Self { authority, certificates, folder, postgres, _watchdog: watchdog }
    }

    fn url(&self, parameters: &str) -> String {
        let url = self.postgres.superuser_url();
        format!("{}?{parameters}", url.split_once('?').unwrap().0)
    }

    /// A certificate and its key, as parameters.
    fn own(&self, login: &str) -> String {
        let (own, key) = (self.certificates.certificate(login), self.certificates.key(login));
        format!("sslcert={}&sslkey={}", own.display(), key.display())
    }

    fn verifies(&self) -> String {
        format!("sslmode=verify-full&sslrootcert={}", self.certificates.authority().display())
    }
}

fn pool(url: &str) -> PgPool {
    PgPool::new(url, "test", 4, Limits::new(Duration::from_secs(4))).unwrap()
}

/// Of both kinds of connections, and a tool's.
async fn works(url: &str) {
    let pool = pool(url);
    let read: bool = sqlx::query_scalar(IS_ENCRYPTED).fetch_one(&pool).await.unwrap();
    let written = pool.begin().await.unwrap().query(IS_ENCRYPTED).rows::<(bool,)>().await;
    assert_eq!((read, written.unwrap()), (true, vec![(true,)]));
}

async fn refusal(url: &str) -> String {
    let pool = pool(url);
    let read = pool.acquire().await.map(drop).unwrap_err();
    let tx = pool.begin().await;
    let written = tx.map(drop).unwrap_err();
    let tool = PlainConnection::open(url).await.map(drop).unwrap_err();
    // sqlx adds the server's line of source.
    for other in [tool, written] {
        let (read, other) = (read.to_string(), other.to_string());
        assert_eq!(read.split(" at line").next(), other.split(" at line").next());
    }
    let read = anyhow::Error::from(read);
    match hopeless(&read) {
        Some(advice) => format!("{read:#}; {advice}"),
        None => format!("{read:#}"),
    }
}

#[tokio::test]
async fn postgres_lets_in_who_is_known_and_says_what_is_wrong_with_others() {
    let stage = Stage::new().await;
    let known = stage.postgres.superuser_url();
    works(&known).await;
    works(&known.replace("127.0.0.1", "localhost")).await;
    works(&known.replace("@127.0.0.1", &format!("@{DEAD},127.0.0.1"))).await;

    let other = Certificates::make(&stage.folder.join("other"), &NAMES, &["postgres"]).unwrap();
    let (other_ca, other_own) = (other.authority(), other.certificate("postgres"));
    let (other_ca, other_own, other_key) =
        (other_ca.display(), other_own.display(), other.key("postgres").display().to_string());
    let expired = stage.authority.client("postgres", -1).unwrap();
    stage.certificates.write("expired", &expired).unwrap();
    let (verifies, own) = (stage.verifies(), stage.own("postgres"));
    let (expired, own_file) = (stage.own("expired"), stage.certificates.certificate("postgres"));
    let own_file = own_file.display();
    let cases = [
        (
            format!("sslmode=verify-full&{own}"),
            "is not from an authority that this machine trusts".to_owned(),
        ),
        (
            format!("sslmode=verify-full&sslrootcert={other_ca}&{own}"),
            format!("is not from an authority of sslrootcert={other_ca}"),
        ),
        (
            format!("sslmode=require&sslrootcert={other_ca}&{own}"),
            format!("is not from an authority of sslrootcert={other_ca}"),
        ),
        (
            format!("sslmode=verify-full&sslrootcert=/nowhere/ca.pem&{own}"),
            "cannot read sslrootcert=/nowhere/ca.pem: No such file".to_owned(),
        ),
        (format!("{verifies}&{expired}"), "expired.pem has expired on 20".to_owned()),
        (
            format!("{verifies}&sslcert={own_file}&sslkey={other_key}"),
            format!("sslcert={own_file} and sslkey={other_key} do not belong together"),
        ),
        (
            format!("{verifies}&sslcert={other_own}&sslkey={other_key}"),
            format!("refuses our certificate, sslcert={other_own}"),
        ),
        (verifies.clone(), "by sslcert and sslkey".to_owned()),
        ("sslmode=require".to_owned(), "by sslcert and sslkey".to_owned()),
        ("sslmode=disable".to_owned(), "add sslmode=verify-full and sslrootcert".to_owned()),
        (
            format!("{verifies}&{}", stage.own("nobody")),
            "the certificate of sslcert, if there is one, has the user's name".to_owned(),
        ),
    ];
    for (parameters, told) in cases {
        let refusal = refusal(&stage.url(&parameters)).await;
        assert!(refusal.contains(&told), "{parameters}: {refusal}");
    }
    let plain = env::var("TEST_POSTGRES_URL").unwrap();
    let refusal = refusal(&format!("{plain}?{verifies}")).await;
    assert!(refusal.contains("does not offer TLS, which sslmode asks for"), "{refusal}");
}

#[tokio::test]
async fn a_server_with_another_name_or_an_old_certificate_is_refused_and_named_among_hosts() {
    let stage = Stage::new().await;
    let known = stage.postgres.superuser_url();
    let operator = pool(&known);
    let renew = async |names: &[&str], days| {
        let signed = stage.authority.server(names, days).unwrap();
        for (setting, text) in [("ssl_cert_file", signed.certificate), ("ssl_key_file", signed.key)]
        {
            let file = sqlx::query_scalar("SELECT current_setting($1)").bind(setting);
            let file: String = file.fetch_one(&operator).await.unwrap();
            fs::write(file, text).unwrap();
        }
        let loaded = "SELECT pg_conf_load_time()";
        let before: DateTime<Utc> = sqlx::query_scalar(loaded).fetch_one(&operator).await.unwrap();
        sqlx::query("SELECT pg_reload_conf()").execute(&operator).await.unwrap();
        until(async || {
            let now = sqlx::query_scalar(loaded).fetch_one(&operator).await;
            let now: DateTime<Utc> = now.map_err(|why| why.to_string())?;
            if now > before { Ok(()) } else { Err(format!("loaded at {now}")) }
        })
        .await;
    };
    renew(&["database.shop", "127.0.0.1"], 30).await;
    works(&known).await;
    let refused = refusal(&known.replace("127.0.0.1", "localhost")).await;
    let told = "is not for localhost, but for";
    assert!(refused.contains(told) && refused.contains("connect by a name"), "{refused}");
    let hosts = known.replace("@127.0.0.1", &format!("@{DEAD},localhost"));
    // A dead host may come back, so it is tried until the time is up, and that may be in a try.
    until(async || {
        let why = pool(&hosts).acquire().await.map(drop).unwrap_err().to_string();
        match why.contains("no host takes writes") && why.contains(told) {
            true => Ok(()),
            false => Err(why),
        }
    })
    .await;

    renew(&NAMES, -1).await;
    let refused = refusal(&known).await;
    assert!(refused.contains("has expired on 20") && refused.contains("renew it"), "{refused}");
    renew(&NAMES, 30).await;
    works(&known).await;
}

#[tokio::test]
async fn files_are_read_at_each_connection_to_a_database() {
    let stage = Stage::new().await;
    let pool = pool(&stage.postgres.superuser_url());
    let write = |days| {
        let signed = stage.authority.client("postgres", days).unwrap();
        stage.certificates.write("postgres", &signed).unwrap();
    };
    let held = (pool.acquire().await.unwrap(), pool.begin().await.unwrap());
    write(-1);
    for why in [pool.acquire().await.err(), pool.begin().await.err()] {
        let why = why.unwrap().to_string();
        assert!(why.contains("postgres.pem has expired on"), "{why}");
    }
    write(30);
    let more = (pool.acquire().await.unwrap(), pool.begin().await.unwrap());
    drop((held, more));
}

#[test]
fn a_url_that_is_less_safe_than_it_looks_is_refused() {
    for (parameters, told) in [
        ("sslmod=verify-full", "the parameter sslmod is not known"),
        ("sslmode=verify-full&sslrootcrt=ca.pem", "the parameter sslrootcrt is not known"),
        ("sslmode=full", "full"),
        ("sslcert=own.pem", "sslcert is of no use without sslkey"),
        ("sslkey=own.key", "sslkey is of no use without sslcert"),
    ] {
        let url = format!("postgres://till@127.0.0.1/orders?{parameters}");
        let refusal = PgPool::new(&url, "test", 4, Limits::DEFAULT).err().unwrap().to_string();
        assert!(refusal.contains(told), "{parameters}: {refusal}");
    }
}
