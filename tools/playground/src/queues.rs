//! A service's queues as one list, and its inbox.

use events::{Event, EventId, OrderId, said_at};
use reaction::{Heard, Said};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

/// A published event.
#[derive(Debug)]
pub struct Message {
    pub id: EventId,
    pub said: Said,
    pub caused_by: Option<EventId>,
}

impl Message {
    pub fn order_id(&self) -> OrderId {
        self.said.order_id
    }

    pub fn heard<E: Event>(&self) -> Option<Heard<E>> {
        Some(Heard {
            event: self.said.read()?,
            id: self.id,
            at: said_at(self.id)?,
            caused_by: self.caused_by,
            trace: None,
        })
    }
}

/// A service, as its broker sees it.
pub struct Consumer {
    pub name: &'static str,
    pub is_running: bool,
    pub waiting: VecDeque<Arc<Message>>,
    inbox: BTreeSet<EventId>,
    pub repetitions: u32,
}

impl Consumer {
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            is_running: true,
            waiting: VecDeque::new(),
            inbox: BTreeSet::new(),
            repetitions: 0,
        }
    }

    /// The next message that was not handled before, unless the service is stopped.
    pub fn next(&mut self) -> Option<Arc<Message>> {
        while self.is_running {
            let message = self.waiting.pop_front()?;
            if self.inbox.insert(message.id) {
                return Some(message);
            }
            self.repetitions += 1;
        }
        None
    }
}
