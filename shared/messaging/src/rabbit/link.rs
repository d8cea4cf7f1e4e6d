//! A connection for the service's loop: one task owns the socket, and its handles send it commands.
//! lapin has a thread for each connection, and each message wakes and is woken by it several times.

mod channel;
mod confirms;
mod framed;
mod handshake;
mod publishing;
mod task;

use super::{brokers::Node, transport};
use crate::{BrokerError, Confirm, CrashPoint, Publication, crash_at, crash_is_due};
use amq_protocol::{
    protocol::{
        AMQPClass,
        channel::{AMQPMethod as ChannelMethod, Close},
        constants::REPLY_SUCCESS,
    },
    uri::AMQPUri,
};
use framed::{Framed, Socket};
use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};
use task::{Command, Publish, Task};
use tokio::sync::{mpsc, oneshot};

pub use channel::Arrived;

/// Without any handle, the connection ends.
#[derive(Clone)]
pub struct Link {
    commands: mpsc::UnboundedSender<Command>,
    last_channel: Arc<AtomicU16>,
    frame_max: usize,
}

impl Link {
    /// Connects as `name`; the caller bounds the wait. A body above `body_max` is left out.
    pub async fn open(node: &Node, name: &str, body_max: usize) -> Result<Self, BrokerError> {
        let socket = transport::socket(node).await.map_err(BrokerError::away)?;
        Self::over(Box::new(socket), &node.uri, name, body_max).await
    }

    async fn over(
        socket: Box<dyn Socket>,
        uri: &AMQPUri,
        name: &str,
        body_max: usize,
    ) -> Result<Self, BrokerError> {
        let mut framed = Framed::new(socket, body_max);
        let agreed = handshake::shake_hands(&mut framed, uri, name).await?;
        let (commands, received) = mpsc::unbounded_channel();
        tokio::spawn(Task::new(framed, received, agreed.heartbeat).run());
        Ok(Self { commands, last_channel: Arc::default(), frame_max: agreed.frame_max })
    }

    pub async fn channel(&self) -> Result<LinkChannel, BrokerError> {
        let id = self.last_channel.fetch_add(1, Ordering::Relaxed) + 1;
        let arriving = self.open_channel(id).await?;
        Ok(LinkChannel { id, link: self.clone(), arriving })
    }

    async fn open_channel(&self, id: u16) -> Result<mpsc::UnboundedReceiver<Arrived>, BrokerError> {
        let (deliveries, arriving) = mpsc::unbounded_channel();
        let (answer, opened) = oneshot::channel();
        self.send(Command::Open { channel: id, deliveries, answer })?;
        answered(opened).await?;
        Ok(arriving)
    }

    /// Says goodbye, and waits for the answer; the caller bounds the wait.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        // An error means that it has ended already, or otherwise.
        let _ = self.send(Command::Close(answer));
        let _ = closed.await;
    }

    fn send(&self, command: Command) -> Result<(), BrokerError> {
        self.commands.send(command).map_err(|_| over())
    }
}

pub struct LinkChannel {
    id: u16,
    link: Link,
    arriving: mpsc::UnboundedReceiver<Arrived>,
}

impl LinkChannel {
    pub const fn frame_max(&self) -> usize {
        self.link.frame_max
    }

    /// Closes it, and opens it anew under its number. No confirm may be awaited on it.
    pub async fn reopen(&mut self) -> Result<(), BrokerError> {
        let close = Close { reply_code: REPLY_SUCCESS, ..Close::default() };
        self.call(AMQPClass::Channel(ChannelMethod::Close(close))).await?;
        self.arriving = self.link.open_channel(self.id).await?;
        Ok(())
    }

    /// Waits for the reply to the method.
    pub async fn call(&self, method: AMQPClass) -> Result<AMQPClass, BrokerError> {
        let (answer, reply) = oneshot::channel();
        self.link.send(Command::Call { channel: self.id, method, answer })?;
        answered(reply).await
    }

    /// Sends a method that has no reply.
    pub fn tell(&self, method: AMQPClass) -> Result<(), BrokerError> {
        self.link.send(Command::Tell { channel: self.id, method })
    }

    /// Publishes all, mandatory; the channel must be one that confirms.
    pub async fn publish(&self, burst: &[Publication]) -> Result<Vec<Confirm>, BrokerError> {
        let frames = publishing::frames(self.id, self.link.frame_max, burst)?;
        let ids = burst.iter().map(|publication| publication.message.id.clone()).collect();
        let (answer, confirmed) = oneshot::channel();
        self.link.send(Command::Publish(Publish { channel: self.id, frames, ids, answer }))?;
        if crash_is_due(CrashPoint::Published) {
            self.written().await?;
            crash_at(CrashPoint::Published);
        }
        answered(confirmed).await
    }

    /// Waits until all that was sent is on its way, and not only queued.
    pub async fn written(&self) -> Result<(), BrokerError> {
        let (answer, written) = oneshot::channel();
        self.link.send(Command::Flush(answer))?;
        written.await.map_err(|_| over())
    }

    /// The next delivery; `None` at the end of the consumer. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Arrived> {
        self.arriving.recv().await
    }

    /// A delivery that has already arrived.
    pub fn ready(&mut self) -> Option<Arrived> {
        self.arriving.try_recv().ok()
    }
}

async fn answered<T>(answer: oneshot::Receiver<Result<T, BrokerError>>) -> Result<T, BrokerError> {
    answer.await.unwrap_or_else(|_| Err(over()))
}

fn over() -> BrokerError {
    BrokerError::away("the connection is over")
}

#[cfg(test)]
mod tests;
