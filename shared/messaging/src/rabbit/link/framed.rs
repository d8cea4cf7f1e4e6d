//! A socket with AMQP frames. Reads and writes do not wait for each other: a broker that is short
//! of memory stops reading, and still delivers.

use crate::{BrokerError, rabbit::frames::Frames};
use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

const READ_MAX: usize = 16 * 1024;
/// So many written bytes are kept at most, while more are queued.
const WRITTEN_MAX: usize = 64 * 1024;

pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

pub struct Framed {
    socket: Box<dyn Socket>,
    arriving: Vec<u8>,
    frames: Frames,
    /// What came through the filter, and how many bytes of it are parsed.
    readable: Vec<u8>,
    parsed: usize,
    /// What is to be written, and how many bytes of it are.
    out: Vec<u8>,
    sent: usize,
    pub last_read: Instant,
    pub last_written: Instant,
}

impl Framed {
    pub fn new(socket: Box<dyn Socket>, body_max: usize) -> Self {
        let now = Instant::now();
        Self {
            socket,
            arriving: vec![0; READ_MAX],
            frames: Frames::new(Some(body_max)),
            readable: Vec::new(),
            parsed: 0,
            out: Vec::new(),
            sent: 0,
            last_read: now,
            last_written: now,
        }
    }

    /// Queues a frame.
    pub fn push(&mut self, frame: &AMQPFrame) {
        self.forget_written();
        write(frame, &mut self.out);
    }

    /// Queues whole frames.
    pub fn push_bytes(&mut self, frames: Vec<u8>) {
        if self.out.is_empty() {
            self.out = frames;
        } else {
            self.forget_written();
            self.out.extend(frames);
        }
    }

    /// A socket that never takes all of it at once must not make it grow for ever.
    fn forget_written(&mut self) {
        if self.sent > WRITTEN_MAX {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Whether a part of what was queued is not yet written.
    pub fn is_writing(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes what is queued.
    pub fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < self.out.len() {
            let left = &self.out[self.sent..];
            match ready!(Pin::new(&mut self.socket).poll_write(context, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
            self.last_written = Instant::now();
        }
        // TLS may still hold some of it.
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads once; `frame` then returns what is complete.
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = ReadBuf::new(&mut self.arriving);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        let raw = buffer.filled();
        if raw.is_empty() {
            let why = "the broker closed the connection";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
        }
        self.last_read = Instant::now();
        self.frames.push(raw, &mut self.readable);
        Poll::Ready(Ok(()))
    }

    /// The next complete frame that was read.
    pub fn frame(&mut self) -> Result<Option<AMQPFrame>, BrokerError> {
        match parse_frame(&self.readable[self.parsed..]) {
            Ok((rest, frame)) => {
                self.parsed = self.readable.len() - rest.len();
                Ok(Some(frame))
            }
            Err(why) if why.is_incomplete() => {
                self.readable.drain(..self.parsed);
                self.parsed = 0;
                Ok(None)
            }
            Err(why) => Err(BrokerError::away(format!("the broker sent no AMQP: {why}"))),
        }
    }

    pub async fn send(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_send(context)).await
    }

    pub async fn receive(&mut self) -> Result<AMQPFrame, BrokerError> {
        loop {
            if let Some(frame) = self.frame()? {
                return Ok(frame);
            }
            poll_fn(|context| self.poll_receive(context)).await.map_err(BrokerError::away)?;
        }
    }
}

/// Appends the frame's bytes.
pub fn write(frame: &AMQPFrame, out: &mut Vec<u8>) {
    let before = WriteContext::from(std::mem::take(out));
    let after = gen_frame(frame)(before).expect("a vector takes every frame");
    *out = after.into_inner().0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, duplex};

    #[tokio::test]
    async fn what_is_written_is_forgotten_though_there_is_always_more() {
        const PART: usize = 16 * 1024;
        let (ours, mut theirs) = duplex(1024);
        let mut framed = Framed::new(Box::new(ours), 0);
        framed.push_bytes(vec![1; PART]);
        let mut read = vec![0; PART];
        for _ in 0..100 {
            framed.push_bytes(vec![1; PART]);
            tokio::select! {
                biased;
                _ = framed.send() => panic!("more is queued than is read"),
                done = theirs.read_exact(&mut read) => assert_eq!(done.unwrap(), PART),
            }
        }
        assert!(framed.out.len() <= WRITTEN_MAX + 3 * PART, "{} bytes are kept", framed.out.len());
    }
}
