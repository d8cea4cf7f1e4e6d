//! Publishes any bytes to RabbitMQ, also those that a client library refuses to send: AMQP 0-9-1
//! frames by hand, one message at a time, each confirmed.

mod hostile;
mod properties;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use hostile::{Hostile, hostile};
pub use properties::{Property, RawProperties, RawTable, RawValue};

/// The time limit of the login, and of a message with its confirm.
const WITHIN: Duration = Duration::from_secs(120);
const CHANNEL: u16 = 1;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xCE;
/// The size of a frame without its payload.
const FRAME_COSTS: usize = 8;

/// A method by its class id and its method id.
type Method = (u16, u16);
const CLOSES: [Method; 2] = [(10, 50), (20, 40)];
const RETURN: Method = (60, 50);
const ACK: Method = (60, 80);
const NACK: Method = (60, 120);

pub struct RawPublisher {
    stream: TcpStream,
    /// The largest frame that the broker accepts.
    pub frame_max: usize,
}

impl RawPublisher {
    pub async fn connect(
        host: &str,
        port: u16,
        user: &str,
        password: &str,
        vhost: &str,
    ) -> Result<Self> {
        let connected = timeout(WITHIN, async {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            let mut publisher = Self { stream, frame_max: 4096 };
            publisher.log_in(user, password, vhost).await?;
            anyhow::Ok(publisher)
        });
        let connected = connected.await.context("RabbitMQ does not answer in time")?;
        connected.with_context(|| format!("cannot publish raw bytes to {host}:{port}"))
    }

    async fn log_in(&mut self, user: &str, password: &str, vhost: &str) -> Result<()> {
        self.stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        self.answer((10, 10)).await?;
        let secret = format!("\0{user}\0{password}");
        let start_ok = [long(b""), short(b"PLAIN"), long(secret.as_bytes()), short(b"en_US")];
        self.ask(0, (10, 11), &start_ok.concat()).await?;
        let tune = self.answer((10, 30)).await?;
        let [c1, c2, f1, f2, f3, f4, ..] = tune[..] else { bail!("it tunes with {tune:?}") };
        let offered = u32::from_be_bytes([f1, f2, f3, f4]);
        // Without heartbeats: a rare publisher sends none.
        let tune_ok = [c1, c2, f1, f2, f3, f4, 0, 0];
        self.frame_max = if offered == 0 { 128 * 1024 } else { usize::try_from(offered)? };
        self.ask(0, (10, 31), &tune_ok).await?;
        self.ask(0, (10, 40), &[short(vhost.as_bytes()), short(b""), vec![0]].concat()).await?;
        self.answer((10, 41)).await?;
        self.ask(CHANNEL, (20, 10), &short(b"")).await?;
        self.answer((20, 11)).await?;
        self.ask(CHANNEL, (85, 10), &[0]).await?;
        self.answer((85, 11)).await.map(drop)
    }

    /// Returns once the broker has the message in a queue. `properties` are a content header's own:
    /// flags, and the values that they announce (`RawProperties::bytes`). After an error reported
    /// by the broker, the connection is unusable.
    pub async fn publish(
        &mut self,
        exchange: &str,
        routing_key: &[u8],
        properties: &[u8],
        body: &[u8],
    ) -> Result<()> {
        let published = timeout(WITHIN, self.send(exchange, routing_key, properties, body));
        published.await.context("RabbitMQ does not confirm in time")?
    }

    /// The number of ready messages in a queue.
    pub async fn ready(&mut self, queue: &str) -> Result<u32> {
        const PASSIVE: u8 = 1;
        let declare = [vec![0, 0], short(queue.as_bytes()), vec![PASSIVE], long(b"")].concat();
        self.ask(CHANNEL, (50, 10), &declare).await?;
        let declared = timeout(WITHIN, self.answer((50, 11))).await??;
        // The name comes first; the number of consumers follows.
        let ready = declared.get(1 + queue.len()..).and_then(|rest| rest.first_chunk());
        ready.map(|bytes| u32::from_be_bytes(*bytes)).context("it does not tell how many")
    }

    async fn send(
        &mut self,
        exchange: &str,
        routing_key: &[u8],
        properties: &[u8],
        body: &[u8],
    ) -> Result<()> {
        const MANDATORY: u8 = 1;
        let size = (body.len() as u64).to_be_bytes();
        let header = [&[0, 60, 0, 0], &size[..], properties].concat();
        ensure!(
            header.len() + FRAME_COSTS <= self.frame_max,
            "the properties take {} bytes, and a frame has {}",
            header.len(),
            self.frame_max
        );
        let publish =
            [vec![0, 0], short(exchange.as_bytes()), short(routing_key), vec![MANDATORY]].concat();
        self.ask(CHANNEL, (60, 40), &publish).await?;
        self.write(HEADER, CHANNEL, &header).await?;
        for part in body.chunks(self.frame_max - FRAME_COSTS) {
            self.write(BODY, CHANNEL, part).await?;
        }
        self.confirmed().await
    }

    async fn confirmed(&mut self) -> Result<()> {
        let mut is_returned = false;
        loop {
            let (kind, payload) = self.read().await?;
            // A returned message is followed by its properties and its body.
            if kind != METHOD {
                continue;
            }
            match method(&payload)? {
                RETURN => is_returned = true,
                ACK => {
                    ensure!(!is_returned, "no queue takes it");
                    return Ok(());
                }
                NACK => bail!("the broker refuses it"),
                other => bail!("instead of a confirm comes {other:?}"),
            }
        }
    }

    async fn ask(&mut self, channel: u16, (class, number): Method, arguments: &[u8]) -> Result<()> {
        let payload = [&class.to_be_bytes()[..], &number.to_be_bytes(), arguments].concat();
        self.write(METHOD, channel, &payload).await
    }

    async fn write(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Result<()> {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(u32::try_from(payload.len())?.to_be_bytes());
        frame.extend(payload);
        frame.push(END);
        self.stream.write_all(&frame).await.context("RabbitMQ has hung up")
    }

    /// The arguments of the expected method.
    async fn answer(&mut self, wanted: Method) -> Result<Vec<u8>> {
        let (kind, mut payload) = self.read().await?;
        let found = method(&payload)?;
        ensure!((kind, found) == (METHOD, wanted), "instead of {wanted:?} comes {found:?}");
        Ok(payload.split_off(4))
    }

    async fn read(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).await.context("RabbitMQ has hung up")?;
        let [kind, _, _, l1, l2, l3, l4] = head;
        let length = usize::try_from(u32::from_be_bytes([l1, l2, l3, l4]))?;
        let mut payload = vec![0; length + 1];
        self.stream.read_exact(&mut payload).await.context("RabbitMQ has hung up")?;
        ensure!(payload.pop() == Some(END), "a frame does not end where it should");
        if kind == METHOD && CLOSES.contains(&method(&payload)?) {
            // A code, and a short string with the reason.
            let why = payload.get(7..).unwrap_or_default();
            bail!("the broker refuses it: {}", String::from_utf8_lossy(why));
        }
        Ok((kind, payload))
    }
}

fn method(payload: &[u8]) -> Result<Method> {
    let [c1, c2, n1, n2, ..] = *payload else { bail!("a frame without a method") };
    Ok((u16::from_be_bytes([c1, c2]), u16::from_be_bytes([n1, n2])))
}

/// 255 bytes at most, by AMQP.
fn short(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short string has 255 bytes at most");
    [&[length], text].concat()
}

fn long(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a long string has 4 GiB at most");
    [&length.to_be_bytes(), text].concat()
}
