//! Tests of the choice among several hosts. What cannot be had from one server, a second timeline,
//! is acted; the end-to-end tests promote a real standby.

use super::*;
use crate::Limits;
use futures::FutureExt;
use secret::Secret;
use std::collections::HashMap;
use tokio::time::sleep;

const SOON: Limits = Limits::new(Duration::from_millis(100));

#[derive(Clone, Copy)]
enum Acts {
    Standby,
    Primary(i32),
    Away,
    Silent,
    /// Of timeline 1, later than a silent host is tried anew.
    Slow,
}

use Acts::{Away, Primary, Silent, Slow, Standby};

static STAGE: Mutex<Option<HashMap<String, Acts>>> = Mutex::new(None);

/// What the hosts of this test do from now on; their names begin with that of the test.
fn stage(test: &str, acts: [Acts; 3]) {
    let named = ["one", "two", "three"].map(|host| format!("{test}-{host}"));
    let mut stage = STAGE.lock().unwrap();
    stage.get_or_insert_default().extend(named.into_iter().zip(acts));
}

#[derive(Debug, PartialEq)]
struct Actor(String, Option<i32>);

impl Connect for Actor {
    fn connect(host: &Host) -> BoxFuture<'_, Result<Self, Error>> {
        let acts = STAGE.lock().unwrap().as_ref().unwrap()[&host.name];
        let connect = async move {
            match acts {
                Standby => Ok(Self(host.name.clone(), None)),
                Primary(timeline) => Ok(Self(host.name.clone(), Some(timeline))),
                Away => Err(Error::Io(ErrorKind::ConnectionRefused.into())),
                Silent => std::future::pending().await,
                Slow => {
                    sleep(SOON.ping() * 5).await;
                    Ok(Self(host.name.clone(), Some(1)))
                }
            }
        };
        connect.boxed()
    }

    fn ask(&mut self, _: &'static str) -> BoxFuture<'_, Result<Option<i32>, Error>> {
        std::future::ready(Ok(self.1)).boxed()
    }
}

fn hosts(test: &str) -> Hosts {
    let all = ["one", "two", "three"].map(|host| format!("{test}-{host}")).join(",");
    let url = format!("postgres://till:secret@{all}/orders");
    Hosts::new(&url, |options| options, |options| options).unwrap()
}

/// The last word of the host's name.
async fn found(hosts: &Hosts) -> Result<String, Refused> {
    let Actor(name, _) = hosts.connect(SOON).await?;
    Ok(name.rsplit_once('-').unwrap().1.to_owned())
}

async fn refusal(hosts: &Hosts) -> (String, bool) {
    let Err(Refused { why, may_pass, .. }) = found(hosts).await else {
        panic!("none takes writes")
    };
    (why.to_string(), may_pass)
}

#[tokio::test]
async fn the_primary_is_found_and_followed() {
    let hosts = hosts("followed");
    stage("followed", [Standby, Primary(1), Away]);
    assert_eq!(found(&hosts).await.ok().unwrap(), "two");
    // A fail-over, and the old primary comes back.
    stage("followed", [Primary(2), Away, Away]);
    assert_eq!(found(&hosts).await.ok().unwrap(), "one");
    stage("followed", [Away, Primary(1), Standby]);
    let (why, may_pass) = refusal(&hosts).await;
    assert!(why.contains("two: it is an old primary, of timeline 1"), "{why}");
    assert!(why.contains("three: it takes no writes: it is a standby"), "{why}");
    assert!(may_pass);
    stage("followed", [Primary(2), Primary(1), Standby]);
    assert_eq!(found(&hosts).await.ok().unwrap(), "one");
}

#[tokio::test]
async fn of_two_primaries_the_one_of_the_later_timeline_is_used() {
    let hosts = hosts("two");
    stage("two", [Primary(4), Primary(5), Standby]);
    assert_eq!(found(&hosts).await.ok().unwrap(), "two");
    // The other hosts are not asked until there is a reason to doubt this one.
    stage("two", [Primary(6), Primary(5), Standby]);
    assert_eq!(found(&hosts).await.ok().unwrap(), "two");
    hosts.doubt();
    assert_eq!(found(&hosts).await.ok().unwrap(), "one");
}

#[tokio::test]
async fn a_silent_host_is_not_waited_for_where_another_was_promoted() {
    let hosts = hosts("silent");
    stage("silent", [Primary(1), Standby, Silent]);
    assert_eq!(found(&hosts).await.ok().unwrap(), "one");
    stage("silent", [Away, Primary(2), Silent]);
    // The test ends although the third host never answers.
    let Actor(name, _) = hosts.connect(Limits::new(Duration::MAX)).await.ok().unwrap();
    assert_eq!(name, "silent-two");
    stage("silent", [Away, Away, Silent]);
    let (why, _) = refusal(&hosts).await;
    assert!(why.contains("three: no answer within 600ms"), "{why}");
}

#[tokio::test]
async fn a_slow_host_is_waited_for_and_a_silent_one_is_tried_anew_and_named() {
    let hosts = hosts("slow");
    stage("slow", [Standby, Away, Slow]);
    assert_eq!(found(&hosts).await.ok().unwrap(), "three");
    // The chosen one, too.
    assert_eq!(found(&hosts).await.ok().unwrap(), "three");
    stage("slow", [Standby, Away, Silent]);
    let promoted = async {
        let why = loop {
            match hosts.said() {
                Some(why) => break why.to_string(),
                None => tokio::task::yield_now().await,
            }
        };
        stage("slow", [Standby, Away, Primary(1)]);
        why
    };
    let (found, why) = tokio::join!(found(&hosts), promoted);
    assert_eq!(found.ok().unwrap(), "three");
    assert!(why.contains("one: it takes no writes") && why.contains("three: no answer"), "{why}");
}

#[test]
fn an_address_is_read_as_libpq_reads_it() {
    let address = Address::read(
        "postgresql://till:a%40b@one:5433,two:5443/orders?sslmode=require\
         &target_session_attrs=read-write&sslrootcert=ca.pem",
    );
    let rest = "/orders?sslmode=require&sslrootcert=ca.pem";
    let url = |host: &str| (host.into(), format!("postgresql://till:a%40b@{host}{rest}"));
    let urls = vec![url("one:5433"), url("two:5443")];
    assert_eq!(address.unwrap(), Address { urls, must_take_writes: true });

    let one = Address::read("postgres://one?target_session_attrs=any").unwrap();
    let urls = vec![("one".into(), "postgres://one".into())];
    assert_eq!(one, Address { urls, must_take_writes: false });

    let error = |url| Address::read(url).unwrap_err().to_string();
    assert!(error("mysql://one").contains("it does not begin with postgres://"));
    let error = error("postgres://one/orders?target_session_attrs=standby");
    assert!(error.contains("target_session_attrs=standby: a service writes"), "{error}");
}

#[tokio::test]
async fn with_another_password_the_old_primary_is_still_known() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |login: &str, hosts: [&str; 3]| {
        let all = hosts.map(|host| format!("changed-{host}")).join(",");
        std::fs::write(file.path(), format!("postgres://{login}@{all}/orders")).unwrap();
    };
    write("till:old", ["one", "two", "three"]);
    let url = Secret::of("DATABASE_URL", None, Some(file.path())).unwrap().unwrap();
    let as_it_is = || Box::new(|options| options) as _;
    let current = CurrentHosts::new(url, as_it_is(), as_it_is()).unwrap();
    let found = async || {
        let Actor(name, _) = current.connect(SOON).await.map_err(|refused| refused.why)?;
        Ok::<_, Error>(name)
    };
    stage("changed", [Primary(2), Away, Away]);
    assert_eq!(found().await.unwrap(), "changed-one");
    stage("changed", [Away, Primary(1), Away]);
    for (login, hosts) in [
        ("till:new", ["one", "two", "three"]),
        ("till:new", ["two", "three", "one"]),
        ("till:newer", ["two"; 3]),
    ] {
        write(login, hosts);
        assert!(found().await.unwrap_err().to_string().contains("old primary"), "{login}");
    }
    std::fs::write(file.path(), "not an address").unwrap();
    stage("changed", [Away, Primary(3), Away]);
    assert_eq!(found().await.unwrap(), "changed-two", "the last one is used");
    assert_eq!(current.get().chosen().options.get_username(), "till");
}
