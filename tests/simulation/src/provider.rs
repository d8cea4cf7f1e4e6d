//! The payment provider: keeps its word and its books, and answers when it likes.

use crate::chaos::{Chaos, lock};
use async_trait::async_trait;
use events::{OrderId, PaymentMethod};
use invariants::Booking;
use payment::{Gateway, Request, Verdict};
use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;
use uuid::Uuid;

pub struct Provider {
    pub chaos: Arc<Chaos>,
    books: Arc<Mutex<Books>>,
}

/// What was promised under each key; what is not in here was not.
#[derive(Default)]
struct Books {
    charges: BTreeMap<Uuid, Promise>,
    refunds: BTreeMap<Uuid, Booking>,
    asked: BTreeMap<Uuid, u32>,
    /// Requests that are still on their way.
    under_way: usize,
}

enum Promise {
    Charged(Booking),
    Declined,
    Voided,
}

impl Promise {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Charged(booking) => done(booking),
            Self::Declined => Verdict::Declined { reason: "422: card declined".into() },
            Self::Voided => Verdict::Voided,
        }
    }
}

fn done(booking: &Booking) -> Verdict {
    Verdict::Done { reference: booking.key.simple().to_string() }
}

impl Books {
    fn charge(&mut self, request: &Request) -> Verdict {
        let asked = self.asked.entry(request.key).or_default();
        *asked += 1;
        if let Some(known) = self.charges.get(&request.key) {
            return known.verdict();
        }
        let promise = match request.method {
            PaymentMethod::CardUnavailable => return Verdict::unavailable("503"),
            PaymentMethod::CardFlaky if *asked <= 2 => return Verdict::unavailable("503"),
            PaymentMethod::CardDeclined => Promise::Declined,
            _ => Promise::Charged(booking(request)),
        };
        self.charges.entry(request.key).or_insert(promise).verdict()
    }

    fn look_up(&self, request: &Request) -> Verdict {
        self.charges.get(&request.key).map_or(Verdict::NotCharged, Promise::verdict)
    }

    fn void(&mut self, request: &Request) -> Verdict {
        self.charges.entry(request.key).or_insert(Promise::Voided).verdict()
    }

    /// Gives back under any key what it is asked to: that nobody asks twice is not its business.
    fn refund(&mut self, request: &Request, charge: Uuid) -> Verdict {
        let Some(Promise::Charged(_)) = self.charges.get(&charge) else {
            return Verdict::Refused { reason: "this was never charged".into() };
        };
        done(self.refunds.entry(request.key).or_insert_with(|| booking(request)))
    }
}

fn booking(request: &Request) -> Booking {
    let Request { order_id, key, amount, .. } = *request;
    Booking { order_id, key, amount: amount.decimal() }
}

impl Provider {
    pub fn new(chaos: &Arc<Chaos>) -> Self {
        Self { chaos: chaos.clone(), books: Arc::default() }
    }

    pub fn is_quiet(&self) -> bool {
        lock(&self.books).under_way == 0
    }

    pub fn books(&self) -> invariants::Provider {
        let books = lock(&self.books);
        let charged = |promise: &Promise| match promise {
            Promise::Charged(booking) => Some(booking.clone()),
            Promise::Declined | Promise::Voided => None,
        };
        invariants::Provider {
            charges: books.charges.values().filter_map(charged).collect(),
            refunds: books.refunds.values().cloned().collect(),
        }
    }

    /// A request may come to nothing, or to something that nobody is told, now or much later.
    async fn ask(
        &self,
        what: &'static str,
        order: OrderId,
        act: impl FnOnce(&mut Books) -> Verdict + Send + 'static,
    ) -> Verdict {
        let Self { chaos, books } = self;
        chaos.note("provider", what, &[order]);
        if chaos.chance(chaos.faults.provider_down) {
            chaos.note("provider", "503", &[order]);
            return Verdict::unavailable("503");
        }
        if chaos.chance(chaos.faults.provider_lost) {
            self.lose(order, act);
            if chaos.chance(0.5) {
                pending::<()>().await;
            }
            return Verdict::Unknown { reason: "the connection broke".into() };
        }
        if chaos.chance(chaos.faults.pause) {
            sleep(chaos.within(0..6000)).await;
        }
        let verdict = act(&mut lock(books));
        chaos.note("provider", verdict.name(), &[order]);
        verdict
    }

    fn lose(&self, order: OrderId, act: impl FnOnce(&mut Books) -> Verdict + Send + 'static) {
        let chaos = self.chaos.clone();
        if chaos.chance(0.3) {
            return chaos.note("provider", "never hears of it", &[order]);
        }
        let (books, later) = (self.books.clone(), chaos.within(0..40_000));
        lock(&books).under_way += 1;
        tokio::spawn(async move {
            sleep(later).await;
            let mut books = lock(&books);
            act(&mut books);
            books.under_way -= 1;
            chaos.note("provider", "acts, and tells nobody", &[order]);
        });
    }
}

#[async_trait]
impl Gateway for Provider {
    async fn charge(&self, request: &Request) -> Verdict {
        if request.method == PaymentMethod::CardSlow {
            sleep(Duration::from_secs(5)).await;
        }
        let (order, request) = (request.order_id, request.clone());
        self.ask("charge", order, move |books| books.charge(&request)).await
    }

    async fn look_up(&self, request: &Request) -> Verdict {
        let (order, request) = (request.order_id, request.clone());
        self.ask("look up", order, move |books| books.look_up(&request)).await
    }

    async fn void(&self, request: &Request) -> Verdict {
        let (order, request) = (request.order_id, request.clone());
        self.ask("void", order, move |books| books.void(&request)).await
    }

    async fn refund(&self, request: &Request, charge_key: Uuid) -> Verdict {
        let (order, request) = (request.order_id, request.clone());
        self.ask("refund", order, move |books| books.refund(&request, charge_key)).await
    }

    async fn probe(&self) -> Verdict {
        if self.chaos.chance(self.chaos.faults.provider_down) {
            return Verdict::unavailable("503");
        }
        Verdict::NotCharged
    }
}
