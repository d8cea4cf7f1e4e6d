//! A connection on which many statements take one round trip. sqlx waits for the answer to each: at
//! few orders a second, a transaction consists of these waits.

mod login;
mod refusal;

use crate::{
    row::Row,
    statement::{Place, Statement},
};
use bytes::{Buf, BufMut, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::{
    backend::{DataRowBody, Message, RowDescriptionBody},
    frontend,
};
use refusal::refusal;
use sqlx::Error;
use sqlx_core::net::Socket;
use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

pub use login::Login;

const READ_MAX: usize = 16 * 1024;

pub struct Wire {
    socket: Box<dyn Socket>,
    arriving: Vec<u8>,
    received: BytesMut,
    prepared: HashMap<Place, Prepared>,
    names: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Outside a transaction.
    Ready,
    InTransaction,
    /// Broken, or abandoned half-way.
    Lost,
}

struct Prepared {
    name: String,
    columns: Option<Arc<[String]>>,
}

impl Wire {
    fn new(socket: Box<dyn Socket>) -> Self {
        Self {
            socket,
            arriving: vec![0; READ_MAX],
            received: BytesMut::new(),
            prepared: HashMap::new(),
            names: 0,
            state: State::Lost,
        }
    }

    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether the server has neither closed it nor said anything, as far as this side knows.
    pub fn is_quiet(&mut self) -> bool {
        self.poll_receive(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Runs these in one round trip; returns the rows of each. If one fails, none after it is run.
    /// Dropped half-way, the connection is lost.
    pub async fn exchange(&mut self, statements: &mut [Statement]) -> Result<Vec<Vec<Row>>, Error> {
        for statement in &mut *statements {
            statement.check()?;
        }
        let mut out = BytesMut::new();
        let written = statements.iter().try_for_each(|statement| self.write(statement, &mut out));
        frontend::sync(&mut out);
        let answers = match written {
            Ok(()) => self.until_ready(statements, out).await,
            Err(why) => Err(why),
        };
        if answers.is_err() {
            // The others may not have been prepared.
            self.prepared.retain(|_, prepared| prepared.columns.is_some());
        }
        answers
    }

    async fn until_ready(
        &mut self,
        statements: &[Statement],
        mut out: BytesMut,
    ) -> Result<Vec<Vec<Row>>, Error> {
        self.state = State::Lost;
        self.send(&mut out).await?;
        let mut answers = Vec::with_capacity(statements.len());
        let (mut rows, mut columns, mut failure) = (Vec::new(), None, None);
        loop {
            let message = match self.next().await {
                Ok(message) => message,
                // It may have said why it closes.
                Err(why) => return Err(failure.unwrap_or(Error::Io(why))),
            };
            match message {
                Message::RowDescription(body) => {
                    let described = names(&body)?;
                    self.remember(statements.get(answers.len()), described.clone());
                    columns = Some(described);
                }
                Message::NoData => self.remember(statements.get(answers.len()), [].into()),
                Message::DataRow(body) => {
                    if columns.is_none() {
                        columns = statements.get(answers.len()).and_then(|it| self.columns(it));
                    }
                    rows.push(row(columns.clone().unwrap_or_default(), &body)?);
                }
                Message::CommandComplete(_) => {
                    columns = None;
                    answers.push(std::mem::take(&mut rows));
                }
                Message::ErrorResponse(body) => {
                    failure.get_or_insert_with(|| refusal(&body));
                }
                Message::ReadyForQuery(body) => {
                    self.state =
                        if body.status() == b'I' { State::Ready } else { State::InTransaction };
                    return failure.map_or(Ok(answers), Err);
                }
                _ => {}
            }
        }
    }

    fn write(&mut self, statement: &Statement, out: &mut BytesMut) -> Result<(), Error> {
        let (name, is_new) = match &statement.sql {
            Cow::Borrowed(sql) => match self.prepared.entry(Place::of(sql)) {
                Entry::Occupied(there) => (&*there.into_mut().name, false),
                Entry::Vacant(free) => {
                    self.names += 1;
                    let new = Prepared { name: format!("s{}", self.names), columns: None };
                    (&*free.insert(new).name, true)
                }
            },
            Cow::Owned(_) => ("", true),
        };
        if is_new {
            frontend::parse(name, &statement.sql, statement.types().iter().copied(), out)?;
            frontend::describe(b'S', name, out)?;
        }
        bind(name, statement, out)?;
        frontend::execute("", 0, out)?;
        Ok(())
    }

    fn columns(&self, statement: &Statement) -> Option<Arc<[String]>> {
        let Cow::Borrowed(sql) = statement.sql else { return None };
        self.prepared.get(&Place::of(sql))?.columns.clone()
    }

    /// It is prepared.
    fn remember(&mut self, statement: Option<&Statement>, columns: Arc<[String]>) {
        if let Some(Cow::Borrowed(sql)) = statement.map(|it| &it.sql)
            && let Some(prepared) = self.prepared.get_mut(&Place::of(sql))
        {
            prepared.columns = Some(columns);
        }
    }

    async fn send(&mut self, out: &mut BytesMut) -> io::Result<()> {
        poll_fn(|context| self.poll_send(context, out)).await
    }

    async fn next(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = Message::parse(&mut self.received)? {
                return Ok(message);
            }
            poll_fn(|context| self.poll_receive(context)).await?;
        }
    }

    /// Reads too: a server that cannot get rid of its answers takes nothing more.
    fn poll_send(&mut self, context: &mut Context<'_>, out: &mut BytesMut) -> Poll<io::Result<()>> {
        while !out.is_empty() {
            match self.socket.try_write(out) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => out.advance(sent),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    if self.socket.poll_write_ready(context)?.is_pending() {
                        while self.poll_receive(context)?.is_ready() {}
                        return Poll::Pending;
                    }
                }
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
        // Only TLS holds something back.
        self.socket.poll_flush(context)
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.socket.try_read(&mut &mut self.arriving[..]) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.received.extend_from_slice(&self.arriving[..count]);
                    return Poll::Ready(Ok(()));
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_read_ready(context))?;
                }
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
    }
}

/// The values as they are encoded already, and the columns in the same format.
fn bind(name: &str, statement: &Statement, out: &mut BytesMut) -> io::Result<()> {
    const ALL_BINARY: [u8; 4] = [0, 1, 0, 1];
    let (count, values) = (statement.types().len(), statement.values());
    let text = name.len() + 2;
    let length = 4 + text + ALL_BINARY.len() + 2 + values.len() + ALL_BINARY.len();
    out.put_u8(b'B');
    out.put_u32(u32::try_from(length).map_err(io::Error::other)?);
    out.put_u8(0);
    out.put_slice(name.as_bytes());
    out.put_u8(0);
    out.put_slice(&ALL_BINARY);
    out.put_u16(u16::try_from(count).map_err(io::Error::other)?);
    out.put_slice(values);
    out.put_slice(&ALL_BINARY);
    Ok(())
}

fn names(body: &RowDescriptionBody) -> io::Result<Arc<[String]>> {
    let names: Vec<String> = body.fields().map(|field| Ok(field.name().to_owned())).collect()?;
    Ok(names.into())
}

fn row(columns: Arc<[String]>, body: &DataRowBody) -> io::Result<Row> {
    let values = body.ranges().collect()?;
    Ok(Row::new(columns, body.buffer_bytes().clone(), values))
}

#[cfg(all(test, feature = "testing"))]
mod tests;
