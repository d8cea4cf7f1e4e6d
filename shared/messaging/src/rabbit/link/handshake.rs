//! Logs in, and agrees with the broker on the size of frames and on heartbeats.

use super::framed::Framed;
use crate::{BrokerError, rabbit::errors::refusal};
use amq_protocol::{
    auth::Credentials,
    frame::{AMQPFrame, ProtocolVersion},
    protocol::{
        AMQPClass,
        connection::{AMQPMethod, CloseOk, Open, StartOk, Tune, TuneOk},
    },
    types::{AMQPValue, FieldTable},
    uri::{AMQPQueryString, AMQPUri},
};
use std::time::Duration;

/// What RabbitMQ must not do without being asked: say why it refuses a login, tell of a consumer's
/// end, refuse a publication.
const CAPABILITIES: [&str; 5] = [
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "publisher_confirms",
];

pub struct Agreed {
    pub frame_max: usize,
    pub heartbeat: Option<Duration>,
}

pub async fn shake_hands(
    framed: &mut Framed,
    uri: &AMQPUri,
    name: &str,
) -> Result<Agreed, BrokerError> {
    framed.push(&AMQPFrame::ProtocolHeader(ProtocolVersion::amqp_0_9_1()));
    let AMQPMethod::Start(_) = answer(framed).await? else { return Err(unexpected("start")) };
    say(framed, AMQPMethod::StartOk(login(uri, name)));
    let AMQPMethod::Tune(tune) = answer(framed).await? else { return Err(unexpected("tune")) };
    let agreed = agree(&uri.query, &tune);
    let frame_max = match agreed.frame_max {
        0 => u32::MAX,
        max => max,
    };
    let heartbeat = Some(agreed.heartbeat).filter(|seconds| *seconds > 0);
    say(framed, AMQPMethod::TuneOk(agreed));
    say(framed, AMQPMethod::Open(Open { virtual_host: uri.vhost.as_str().into() }));
    let AMQPMethod::OpenOk(_) = answer(framed).await? else { return Err(unexpected("open-ok")) };
    Ok(Agreed {
        frame_max: frame_max as usize,
        heartbeat: heartbeat.map(|seconds| Duration::from_secs(seconds.into())),
    })
}

fn login(uri: &AMQPUri, name: &str) -> StartOk {
    let mut capabilities = FieldTable::default();
    for capability in CAPABILITIES {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    let texts = [
        ("connection_name", name),
        ("platform", "rust"),
        ("product", env!("CARGO_PKG_NAME")),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    for (property, text) in texts {
        properties.insert(property.into(), AMQPValue::LongString(text.into()));
    }
    let mechanism = uri.query.auth_mechanism.unwrap_or_default();
    let credentials = Credentials::from(uri.authority.userinfo.clone());
    StartOk {
        client_properties: properties,
        mechanism: mechanism.name().into(),
        response: credentials.sasl_auth_string(mechanism),
        locale: "en_US".into(),
    }
}

/// The lower of both wishes; zero is none.
fn agree(ours: &AMQPQueryString, theirs: &Tune) -> TuneOk {
    TuneOk {
        channel_max: lower(ours.channel_max, theirs.channel_max),
        frame_max: lower(ours.frame_max, theirs.frame_max),
        heartbeat: lower(ours.heartbeat, theirs.heartbeat),
    }
}

fn lower<N: Copy + Default + Ord>(ours: Option<N>, theirs: N) -> N {
    let none = N::default();
    match ours.filter(|ours| *ours != none) {
        Some(ours) if theirs != none => ours.min(theirs),
        Some(ours) => ours,
        None => theirs,
    }
}

fn say(framed: &mut Framed, method: AMQPMethod) {
    framed.push(&AMQPFrame::Method(0, AMQPClass::Connection(method)));
}

/// Sends what is queued, and waits for the broker's next method.
async fn answer(framed: &mut Framed) -> Result<AMQPMethod, BrokerError> {
    framed.send().await.map_err(BrokerError::away)?;
    loop {
        match framed.receive().await? {
            AMQPFrame::Method(0, AMQPClass::Connection(AMQPMethod::Close(close))) => {
                say(framed, AMQPMethod::CloseOk(CloseOk {}));
                // It has refused either way.
                let _ = framed.send().await;
                return Err(refusal(close.reply_code, close.reply_text.as_str()));
            }
            AMQPFrame::Method(0, AMQPClass::Connection(method)) => return Ok(method),
            AMQPFrame::Heartbeat => {}
            AMQPFrame::ProtocolHeader(version) => {
                return Err(BrokerError::away(format!("the broker speaks only AMQP {version}")));
            }
            other => return Err(BrokerError::away(format!("the broker began with {other}"))),
        }
    }
}

fn unexpected(expected: &str) -> BrokerError {
    BrokerError::away(format!("the broker did not send connection.{expected} in its turn"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(uri: &str, frame_max: u32, heartbeat: u16) -> (u32, u16) {
        let uri: AMQPUri = uri.parse().unwrap();
        let agreed = agree(&uri.query, &Tune { channel_max: 2047, frame_max, heartbeat });
        assert_eq!(agreed.channel_max, 2047);
        (agreed.frame_max, agreed.heartbeat)
    }

    #[test]
    fn the_lower_wish_counts_and_zero_is_none() {
        let ours = "amqp://localhost/%2f?frame_max=32768&heartbeat=6";
        assert_eq!(agreed(ours, 131_072, 60), (32_768, 6));
        assert_eq!(agreed(ours, 8192, 5), (8192, 5));
        assert_eq!(agreed(ours, 0, 0), (32_768, 6));
        assert_eq!(agreed("amqp://localhost/%2f?heartbeat=0", 131_072, 60), (131_072, 60));
        assert_eq!(agreed("amqp://localhost/%2f", 0, 0), (0, 0));
    }

    #[test]
    fn a_login_has_a_name_and_asks_for_reasons() {
        let uri = "amqp://till:secret@localhost/%2f".parse().unwrap();
        let login = login(&uri, "till: consumes");
        assert_eq!(login.mechanism.as_str(), "PLAIN");
        assert_eq!(login.response.as_bytes(), b"\0till\0secret");
        let properties = login.client_properties.inner();
        assert_eq!(properties["connection_name"], AMQPValue::LongString("till: consumes".into()));
        let AMQPValue::FieldTable(capabilities) = &properties["capabilities"] else {
            panic!("{properties:?}")
        };
        assert!(capabilities.contains_key("authentication_failure_close"));
    }
}
