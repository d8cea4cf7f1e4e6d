//! Encrypted links to a real RabbitMQ that wants a certificate of its clients: the login by it,
//! everything that must be refused, and files that change.

use e2e::{BrokerView, Fleet, scratch_folder};
use messaging::{
    Broker, BrokerError, Confirm, Message, Publication, RabbitMq, RetrySchedule, Session, Topology,
};
use servers::{Certificates, Watchdog, certificates::Authority, release, scratch};
use std::{collections::BTreeSet, env, path::PathBuf, sync::Arc};

const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];
const DAYS: i64 = 30;

struct Stage {
    authority: Authority,
    certificates: Certificates,
    folder: PathBuf,
    rabbit: servers::RabbitMq,
    view: BrokerView,
    _watchdog: Arc<Watchdog>,
}

impl Stage {
    async fn new(root: Option<PathBuf>) -> Self {
        let (folder, watchdog) = scratch_folder();
        let authority = Authority::new().unwrap();
        let (dir, logins) = (folder.join("certificates"), ["admin", "nobody"]);
        let certificates = Certificates::signed_by(&authority, &dir, &NAMES, &logins).unwrap();
        let rabbit = scratch::rabbitmq(&folder, &watchdog, root, Some(&certificates));
        let rabbit = rabbit.await.unwrap();
        let (url, management) = (rabbit.url(), scratch::management_url(&rabbit));
        let view = BrokerView::create_with(&url, &management, "tls", Some(&certificates)).await;
        Self { authority, certificates, folder, rabbit, view, _watchdog: watchdog }
    }

    fn url(&self, parameters: &str) -> String {
        let (front, _) = self.view.amqp_url.split_once('?').unwrap();
        format!("{front}?{parameters}")
    }

    /// A certificate and its key, as parameters.
    fn own(&self, login: &str) -> String {
        let (own, key) = (self.certificates.certificate(login), self.certificates.key(login));
        format!("certfile={}&keyfile={}", own.display(), key.display())
    }

    fn authority(&self) -> String {
        format!("cacertfile={}", self.certificates.authority().display())
    }
}

fn topology() -> Topology {
    Topology::of("till", &["customer.paid"], &RetrySchedule::default())
}

async fn connect(url: &str) -> Result<Box<dyn Session>, BrokerError> {
    RabbitMq::new(url, 10).unwrap().connect(&topology()).await
}

async fn works(session: &dyn Session) {
    let publication = Publication {
        exchange: "customer.exchange".into(),
        routing_key: "customer.paid".into(),
        message: Message { body: vec![b'x'; 60_000], ..Message::default() },
    };
    let publisher = session.publisher().await.unwrap();
    assert_eq!(publisher.publish(&[publication]).await.unwrap(), [Confirm::Stored]);
    let mut deliveries = session.consume("till.customer-paid").await.unwrap();
    assert_eq!(deliveries.next(1).await.unwrap()[0].message.body.len(), 60_000);
    deliveries.ack(&BTreeSet::new()).await.unwrap();
    session.close().await;
}

/// By its own certificate or by a password, at either of its names; and beside a node that is not
/// to be trusted.
async fn who_is_known_may_come(stage: &Stage) {
    works(&*connect(&stage.view.amqp_url).await.unwrap()).await;
    let (authority, own) = (stage.authority(), stage.own("nobody"));
    works(&*connect(&stage.url(&format!("{authority}&{own}"))).await.unwrap()).await;
    let named = stage.view.amqp_url.replace("127.0.0.1", "localhost");
    works(&*connect(&named).await.unwrap()).await;
    let untrusted = stage.url(&format!("{own}&auth_mechanism=external"));
    works(&*connect(&format!("{untrusted},{named}")).await.unwrap()).await;
    // An operator's command.
    let connection = RabbitMq::connection(&stage.view.amqp_url, "operator").await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

/// Of an operator's command, and of a service. They may differ: a broker that refuses a certificate
/// may close the connection before its reason is read.
async fn refusals(url: &str) -> [BrokerError; 2] {
    let operator = RabbitMq::connection(url, "operator").await.unwrap_err();
    let Err(why) = connect(url).await else { panic!("{url} is accepted") };
    [operator, why]
}

/// Each with the file or the parameter to look at.
async fn who_cannot_be_trusted_is_refused(stage: &Stage) {
    let other = Certificates::make(&stage.folder.join("other"), &NAMES, &["admin"]).unwrap();
    let other_ca = other.authority().display().to_string();
    let (other_own, other_key) = (other.certificate("admin"), other.key("admin"));
    let (other_own, other_key) = (other_own.display(), other_key.display());
    let expired = stage.authority.client("admin", -1).unwrap();
    stage.certificates.write("expired", &expired).unwrap();
    let (authority, own) = (stage.authority(), stage.own("admin"));
    let (expired, own_file) = (stage.own("expired"), stage.certificates.certificate("admin"));
    let own_file = own_file.display();
    let cases = [
        (own.clone(), "is not from an authority that this machine trusts".to_owned()),
        (
            format!("cacertfile={other_ca}&{own}"),
            format!("is not from an authority of cacertfile={other_ca}"),
        ),
        (
            format!("{authority}&{own}&server_name_indication=broker.shop"),
            "is not for broker.shop, but for ".to_owned(),
        ),
        (
            format!("cacertfile=/nowhere/ca.pem&{own}"),
            "cannot read cacertfile=/nowhere/ca.pem: No such file".to_owned(),
        ),
        (
            authority.clone(),
            "wants a certificate of ours: name its files in certfile and keyfile".to_owned(),
        ),
        (
            format!("{authority}&certfile={other_own}&keyfile={other_key}"),
            format!("refuses our certificate, certfile={other_own}"),
        ),
        (format!("{authority}&{expired}"), "expired.pem has expired on 20".to_owned()),
        (
            format!("{authority}&certfile={own_file}&keyfile={other_key}"),
            format!("certfile={own_file} and keyfile={other_key} do not belong together"),
        ),
    ];
    for (parameters, told) in cases {
        for why in refusals(&stage.url(&parameters)).await {
            // It may pass: files are renewed.
            assert!(why.to_string().contains(&told) && why.is_transient(), "{parameters}: {why}");
        }
    }
    let stranger = format!("{authority}&{}&auth_mechanism=external", stage.own("nobody"));
    let refused = refusals(&stage.url(&stranger)).await;
    assert!(refused.iter().all(|why| matches!(why, BrokerError::Login(_))), "{refused:?}");

    let plain = stage.view.amqp_url.replace("amqps://", "amqp://");
    for why in refusals(plain.split_once('?').unwrap().0).await.map(|why| why.to_string()) {
        assert!(
            why.contains("speaks TLS on this port: write amqps:// instead of amqp://"),
            "{why}"
        );
    }
    let plain = env::var("TEST_AMQP_URL").unwrap().replace("amqp://", "amqps://");
    for why in refusals(&format!("{plain}/%2f?{authority}")).await.map(|why| why.to_string()) {
        assert!(why.contains("does not speak TLS on this port"), "{why}");
    }
}

/// The same object connects again, without a restart of its process.
async fn files_are_read_at_each_connection(stage: &mut Stage) {
    let rabbit = RabbitMq::new(&stage.view.amqp_url, 10).unwrap();
    let connect = async || rabbit.connect(&topology()).await;
    works(&*connect().await.unwrap()).await;
    let expired = stage.authority.client("admin", -1).unwrap();
    stage.certificates.write("admin", &expired).unwrap();
    let why = connect().await.err().unwrap().to_string();
    assert!(why.contains("admin.pem has expired on"), "{why}");
    stage.certificates.write("admin", &stage.authority.client("admin", DAYS).unwrap()).unwrap();
    works(&*connect().await.unwrap()).await;

    let expired = stage.authority.server(&NAMES, -1).unwrap();
    stage.certificates.write("server", &expired).unwrap();
    stage.rabbit.restart().await.unwrap();
    let why = connect().await.err().unwrap().to_string();
    assert!(why.contains("the certificate of admin@127.0.0.1:"), "{why}");
    assert!(why.contains("has expired on 20") && why.contains(": renew it there"), "{why}");
}

async fn links_are_encrypted(root: Option<PathBuf>) {
    let mut stage = Stage::new(root).await;
    who_is_known_may_come(&stage).await;
    who_cannot_be_trusted_is_refused(&stage).await;
    files_are_read_at_each_connection(&mut stage).await;
}

#[tokio::test]
async fn amqps_lets_in_who_is_known_and_says_what_is_wrong_with_others() {
    links_are_encrypted(Fleet::given_rabbitmq()).await;
}

#[tokio::test]
async fn amqps_does_the_same_on_the_rabbitmq_of_debian_14() {
    let roots = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/rabbitmq"));
    if let Some(root) = release::rabbitmq_or_skip(&roots, "forky").await {
        links_are_encrypted(Some(root)).await;
    }
}
