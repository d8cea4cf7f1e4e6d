//! The payment provider: keeps its promises and its books, decides and answers at any time, and its
//! answers may be replaced on the way.

use crate::{
    chaos::{Chaos, lock},
    faults::Mutant,
};
use async_trait::async_trait;
use audit::Booking;
use events::{OrderId, PaymentMethod};
use payment::{Answer, Asked, Gateway, Request, Verdict, read};
use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub struct Provider {
    pub chaos: Arc<Chaos>,
    books: Arc<Mutex<Books>>,
}

/// The promise under each key; a key that is not here has none.
#[derive(Default)]
struct Books {
    charges: BTreeMap<Uuid, Promise>,
    refunds: BTreeMap<Uuid, Booking>,
    asked: BTreeMap<Uuid, u32>,
    /// Pending charges, each with the time of its decision.
    undecided: BTreeMap<Uuid, (Instant, Request)>,
    /// Requests that are still on their way.
    under_way: usize,
}

enum Promise {
    Charged(Booking),
    Declined,
    Voided,
}

/// A status, and the value in the body.
type Said = (u16, String);

impl Promise {
    fn said(&self) -> Said {
        match self {
            Self::Charged(booking) => done("approved", booking),
            Self::Declined => (200, r#"{"status":"declined","reason":"card declined"}"#.into()),
            Self::Voided => (200, r#"{"status":"voided"}"#.into()),
        }
    }
}

fn done(word: &str, booking: &Booking) -> Said {
    let reference = booking.key.simple();
    (200, format!(r#"{{"status":"{word}","reference":"{reference}"}}"#))
}

fn plainly(status: u16) -> Said {
    (status, String::new())
}

/// Statuses that a proxy may give in place of any answer, or a bug of the provider's.
const LIES: [(u16, &str); 9] = [
    (401, ""),
    (403, "<html>blocked</html>"),
    (503, "<html>upstream connect error</html>"),
    (201, r#"{"status":"approved","reference":"R"}"#),
    (202, ""),
    (204, ""),
    (307, ""),
    (200, ""),
    (200, "\0\u{7f}"),
];

impl Books {
    fn charge(&mut self, request: &Request) -> Said {
        if self.undecided.contains_key(&request.key) {
            return plainly(202);
        }
        let asked = self.asked.entry(request.key).or_default();
        *asked += 1;
        let known = match self.charges.get(&request.key) {
            Some(known) => known,
            None => {
                let promise = match request.method {
                    PaymentMethod::CardUnavailable => return plainly(503),
                    PaymentMethod::CardFlaky if *asked <= 2 => return plainly(503),
                    PaymentMethod::CardDeclined => Promise::Declined,
                    _ => Promise::Charged(booking(request)),
                };
                &*self.charges.entry(request.key).or_insert(promise)
            }
        };
        match known {
            Promise::Charged(_) => known.said(),
            Promise::Declined => (422, known.said().1),
            Promise::Voided => (410, known.said().1),
        }
    }

    /// Accepts a charge, and decides it later, whether or not it is queried meanwhile.
    fn take_in(&mut self, request: &Request, wait: Duration) -> Said {
        if self.charges.contains_key(&request.key) {
            return self.charge(request);
        }
        let decided = (Instant::now() + wait, request.clone());
        self.undecided.entry(request.key).or_insert(decided);
        plainly(202)
    }

    /// Decides the charges whose time has come.
    fn decide(&mut self) -> &mut Self {
        let due = self.undecided.extract_if(.., |_, (at, _)| *at <= Instant::now());
        for (_, (_, request)) in due.collect::<Vec<_>>() {
            self.charge(&request);
        }
        self
    }

    fn look_up(&self, request: &Request) -> Said {
        match self.charges.get(&request.key) {
            Some(known) => known.said(),
            None if self.undecided.contains_key(&request.key) => plainly(202),
            None => plainly(404),
        }
    }

    fn void(&mut self, request: &Request) -> Said {
        self.charges.entry(request.key).or_insert(Promise::Voided).said()
    }

    /// Refunds under any key: preventing a second refund is not the provider's task.
    fn refund(&mut self, request: &Request, charge: Uuid) -> Said {
        let Some(Promise::Charged(_)) = self.charges.get(&charge) else {
            return (422, r#"{"reason":"this was never charged"}"#.into());
        };
        done("refunded", self.refunds.entry(request.key).or_insert_with(|| booking(request)))
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
        let mut books = lock(&self.books);
        books.decide().undecided.is_empty() && books.under_way == 0
    }

    pub fn books(&self) -> audit::Provider {
        let books = lock(&self.books);
        let charged = |promise: &Promise| match promise {
            Promise::Charged(booking) => Some(booking.clone()),
            Promise::Declined | Promise::Voided => None,
        };
        audit::Provider {
            charges: books.charges.values().filter_map(charged).collect(),
            refunds: books.refunds.values().cloned().collect(),
        }
    }

    /// A request may be lost, or take effect, now or much later, with a wrong answer or none at
    /// all.
    async fn ask(
        &self,
        asked: Asked,
        order: OrderId,
        act: impl FnOnce(&mut Books) -> Said + Send + 'static,
    ) -> Verdict {
        let Self { chaos, books } = self;
        chaos.note("provider", name(asked), &[order]);
        if chaos.chance(chaos.faults.provider_down) {
            return self.away(asked, order);
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
        let said = act(lock(books).decide());
        if chaos.chance(chaos.faults.provider_lies) {
            let (status, body) = chaos.among(&LIES);
            chaos.note("provider", "does it, and is heard to say something else", &[order]);
            return self.heard(asked, order, (status, body.into()));
        }
        self.heard(asked, order, said)
    }

    fn away(&self, asked: Asked, order: OrderId) -> Verdict {
        if self.chaos.chance(0.5) {
            self.chaos.note("provider", "unsent", &[order]);
            return Verdict::Unsent { reason: "no connection".into() };
        }
        self.heard(asked, order, plainly(503))
    }

    /// The answer as it arrives by HTTP, read by the shipped rule.
    fn heard(&self, asked: Asked, order: OrderId, (status, body): Said) -> Verdict {
        let verdict = read(asked, Answer { status, retry_after: None, body: body.as_bytes() });
        self.chaos.note("provider", verdict.name(), &[order]);
        match verdict {
            Verdict::Unavailable { reason, .. } if self.chaos.is_broken(Mutant::Takes503ForNo) => {
                Verdict::Unsent { reason }
            }
            verdict => verdict,
        }
    }

    fn lose(&self, order: OrderId, act: impl FnOnce(&mut Books) -> Said + Send + 'static) {
        let chaos = self.chaos.clone();
        if chaos.chance(0.3) {
            return chaos.note("provider", "never hears of it", &[order]);
        }
        let (books, later) = (self.books.clone(), chaos.within(0..40_000));
        lock(&books).under_way += 1;
        tokio::spawn(async move {
            sleep(later).await;
            let mut books = lock(&books);
            act(books.decide());
            books.under_way -= 1;
            chaos.note("provider", "acts, and tells nobody", &[order]);
        });
    }
}

const fn name(asked: Asked) -> &'static str {
    match asked {
        Asked::Charge => "charge",
        Asked::LookUp => "look up",
        Asked::Void => "void",
        Asked::Refund => "refund",
    }
}

#[async_trait]
impl Gateway for Provider {
    async fn charge(&self, request: &Request) -> Verdict {
        if request.method == PaymentMethod::CardSlow {
            sleep(Duration::from_secs(5)).await;
        }
        let (order, request) = (request.order_id, request.clone());
        if self.chaos.chance(self.chaos.faults.provider_lies / 4.0) {
            let wait = self.chaos.within(0..40_000);
            return self.ask(Asked::Charge, order, move |it| it.take_in(&request, wait)).await;
        }
        self.ask(Asked::Charge, order, move |books| books.charge(&request)).await
    }

    async fn look_up(&self, request: &Request) -> Verdict {
        let (order, request) = (request.order_id, request.clone());
        self.ask(Asked::LookUp, order, move |books| books.look_up(&request)).await
    }

    async fn void(&self, request: &Request) -> Verdict {
        let (order, request) = (request.order_id, request.clone());
        self.ask(Asked::Void, order, move |books| books.void(&request)).await
    }

    async fn refund(&self, request: &Request, charge_key: Uuid) -> Verdict {
        let (order, request) = (request.order_id, request.clone());
        self.ask(Asked::Refund, order, move |books| books.refund(&request, charge_key)).await
    }

    async fn probe(&self) -> Verdict {
        if self.chaos.chance(self.chaos.faults.provider_down) {
            return Verdict::unavailable("503");
        }
        Verdict::NotCharged
    }
}
