//! The task that owns a connection. At each wake-up it reads all that has arrived, takes all
//! commands, and writes everything that is pending at once.

use super::{
    channel::{Arrived, Channel},
    confirms::Answer,
    framed::Framed,
};
use crate::{BrokerError, Confirm, rabbit::errors::refusal};
use amq_protocol::{
    frame::AMQPFrame,
    protocol::{
        AMQPClass,
        channel::{self, AMQPMethod as ChannelMethod},
        connection::{self, AMQPMethod as ConnectionMethod},
        constants::REPLY_SUCCESS,
    },
};
use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep},
};

pub enum Command {
    Open {
        channel: u16,
        deliveries: mpsc::UnboundedSender<Arrived>,
        answer: Answer<AMQPClass>,
    },
    Call {
        channel: u16,
        method: AMQPClass,
        answer: Answer<AMQPClass>,
    },
    Tell {
        channel: u16,
        method: AMQPClass,
    },
    Publish(Publish),
    /// Answered when all earlier commands are written.
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

pub struct Publish {
    pub channel: u16,
    pub frames: Vec<u8>,
    pub ids: Vec<Option<String>>,
    pub answer: Answer<Vec<Confirm>>,
}

pub struct Task {
    framed: Framed,
    commands: mpsc::UnboundedReceiver<Command>,
    channels: HashMap<u16, Channel>,
    /// Those who wait until all is written, and until the broker has said goodbye.
    flushing: Vec<oneshot::Sender<()>>,
    closing: Vec<oneshot::Sender<()>>,
    heartbeat: Option<Heartbeat>,
}

struct Heartbeat {
    interval: Duration,
    timer: Pin<Box<Sleep>>,
}

/// Why a connection ends.
enum Ending {
    /// The socket failed: perhaps because of a message that was being sent.
    Lost(String),
    Known(BrokerError),
}

impl From<BrokerError> for Ending {
    fn from(why: BrokerError) -> Self {
        Self::Known(why)
    }
}

impl Task {
    pub fn new(
        framed: Framed,
        commands: mpsc::UnboundedReceiver<Command>,
        heartbeat: Option<Duration>,
    ) -> Self {
        let heartbeat =
            heartbeat.map(|interval| Heartbeat { interval, timer: Box::pin(sleep(interval / 2)) });
        let (channels, flushing, closing) = (HashMap::new(), Vec::new(), Vec::new());
        Self { framed, commands, channels, flushing, closing, heartbeat }
    }

    pub async fn run(mut self) {
        let (calls, bursts) = match poll_fn(|context| self.poll(context)).await {
            Ending::Lost(why) => (BrokerError::Away(why.clone()), BrokerError::Ended(why)),
            Ending::Known(why) => (why.clone(), why),
        };
        tracing::debug!("a connection has ended: {calls}");
        for channel in self.channels.into_values() {
            channel.fail(&calls, &bursts);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        let turn = self.turn(context);
        // After an ending as well: the broker's goodbye has an answer.
        match self.framed.poll_send(context) {
            Poll::Ready(Ok(())) => {
                for answer in self.flushing.drain(..) {
                    let _ = answer.send(());
                }
            }
            Poll::Ready(Err(why)) if turn.is_ok() => {
                return Poll::Ready(Ending::Lost(why.to_string()));
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        match turn {
            Ok(()) => Poll::Pending,
            Err(ending) => Poll::Ready(ending),
        }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while let Poll::Ready(read) = self.framed.poll_receive(context) {
            read.map_err(|why| Ending::Lost(why.to_string()))?;
            while let Some(frame) = self.framed.frame()? {
                self.received(frame)?;
            }
        }
        while let Poll::Ready(command) = self.commands.poll_recv(context) {
            let Some(command) = command else {
                return Err(BrokerError::away("its last handle was dropped").into());
            };
            self.obey(command);
        }
        self.beat(context)?;
        Ok(())
    }

    fn received(&mut self, frame: AMQPFrame) -> Result<(), BrokerError> {
        match frame {
            AMQPFrame::Method(0, method) => return self.received_by_all(method),
            AMQPFrame::Method(id, AMQPClass::Channel(ChannelMethod::Close(close))) => {
                self.tell_channel(id, ChannelMethod::CloseOk(channel::CloseOk {}));
                if let Some(channel) = self.channels.remove(&id) {
                    let why = refusal(close.reply_code, close.reply_text.as_str());
                    channel.fail(&why, &why);
                }
            }
            AMQPFrame::Method(id, AMQPClass::Channel(ChannelMethod::Flow(flow))) => {
                let active = flow.active;
                self.tell_channel(id, ChannelMethod::FlowOk(channel::FlowOk { active }));
            }
            AMQPFrame::Method(id, method) => {
                if let Some(channel) = self.channels.get_mut(&id) {
                    return channel.method(method);
                }
            }
            AMQPFrame::Header(id, header) => {
                if let Some(channel) = self.channels.get_mut(&id) {
                    return channel.header(header);
                }
            }
            AMQPFrame::Body(id, part) => {
                if let Some(channel) = self.channels.get_mut(&id) {
                    return channel.body(part);
                }
            }
            AMQPFrame::Heartbeat | AMQPFrame::InvalidHeartbeat(_) => {}
            AMQPFrame::ProtocolHeader(version) => {
                return Err(BrokerError::away(format!("the broker speaks only AMQP {version}")));
            }
        }
        Ok(())
    }

    /// A method for the whole connection.
    fn received_by_all(&mut self, method: AMQPClass) -> Result<(), BrokerError> {
        match method {
            AMQPClass::Connection(ConnectionMethod::Close(close)) => {
                self.tell_all(ConnectionMethod::CloseOk(connection::CloseOk {}));
                Err(refusal(close.reply_code, close.reply_text.as_str()))
            }
            AMQPClass::Connection(ConnectionMethod::CloseOk(_)) => {
                for answer in self.closing.drain(..) {
                    let _ = answer.send(());
                }
                Err(BrokerError::away("it was closed"))
            }
            // It stops reading, and writes wait.
            AMQPClass::Connection(ConnectionMethod::Blocked(blocked)) => {
                let reason = blocked.reason.as_str();
                tracing::warn!(reason, "the broker takes no messages: {reason}");
                Ok(())
            }
            AMQPClass::Connection(ConnectionMethod::Unblocked(_)) => {
                tracing::info!("the broker takes messages again");
                Ok(())
            }
            other => {
                tracing::trace!(?other, "the broker says something about the connection");
                Ok(())
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open { channel: id, deliveries, answer } => {
                self.channels.insert(id, Channel::new(deliveries));
                let open = AMQPClass::Channel(ChannelMethod::Open(channel::Open {}));
                self.call(id, open, answer);
            }
            Command::Call { channel, method, answer } => self.call(channel, method, answer),
            Command::Tell { channel, method } => {
                if self.channels.contains_key(&channel) {
                    self.framed.push(&AMQPFrame::Method(channel, method));
                }
            }
            Command::Publish(Publish { channel, frames, ids, answer }) => {
                match self.channels.get_mut(&channel) {
                    Some(channel) => {
                        channel.confirms.expect(ids, answer);
                        self.framed.push_bytes(frames);
                    }
                    None => refuse(answer),
                }
            }
            Command::Flush(answer) => self.flushing.push(answer),
            Command::Close(answer) => {
                self.closing.push(answer);
                self.tell_all(ConnectionMethod::Close(connection::Close {
                    reply_code: REPLY_SUCCESS,
                    reply_text: "bye".into(),
                    ..Default::default()
                }));
            }
        }
    }

    fn call(&mut self, id: u16, method: AMQPClass, answer: Answer<AMQPClass>) {
        match self.channels.get_mut(&id) {
            Some(channel) => {
                channel.expect(answer);
                self.framed.push(&AMQPFrame::Method(id, method));
            }
            None => refuse(answer),
        }
    }

    fn tell_channel(&mut self, id: u16, method: ChannelMethod) {
        self.framed.push(&AMQPFrame::Method(id, AMQPClass::Channel(method)));
    }

    fn tell_all(&mut self, method: ConnectionMethod) {
        self.framed.push(&AMQPFrame::Method(0, AMQPClass::Connection(method)));
    }

    /// Sends a heartbeat when nothing was written for half the interval; fails when nothing was
    /// read for twice the interval.
    fn beat(&mut self, context: &mut Context<'_>) -> Result<(), BrokerError> {
        let Some(Heartbeat { interval, timer }) = &mut self.heartbeat else { return Ok(()) };
        let (half, silence_max) = (*interval / 2, *interval * 2);
        // The timer is not moved at each read and write, but when it rings.
        while timer.as_mut().poll(context).is_ready() {
            let (now, gone_at) = (Instant::now(), self.framed.last_read + silence_max);
            if gone_at <= now {
                let silence = silence_max.as_secs();
                return Err(BrokerError::away(format!("the broker was silent for {silence} s")));
            }
            if self.framed.last_written + half <= now {
                // Heartbeats must not pile up while the broker does not read.
                if !self.framed.is_writing() {
                    self.framed.push(&AMQPFrame::Heartbeat);
                }
                self.framed.last_written = now;
            }
            timer.as_mut().reset(gone_at.min(self.framed.last_written + half));
        }
        Ok(())
    }
}

fn refuse<T>(answer: Answer<T>) {
    let _ = answer.send(Err(BrokerError::away("the channel is over")));
}
