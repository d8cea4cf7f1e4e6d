//! Shows dead letters: counts to every viewer; to an operator also their content, with replay.

use crate::{
    Page,
    acting::Allowed,
    operator::{Acted, Operator},
    queues::Queues,
};
use anyhow::{Result, ensure};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Html,
};
use dead_letters::{Books, Letter, Past, now};
use labels::span;
use messaging::{Retention, header, is_parking};
use order::{Backend, NAME, acts::Actor};
use serde::Deserialize;
use serde_json::Value;
use service::http::Problem;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Of one queue, at one time.
const LETTERS_MAX: usize = 50;
const ANSWER_WITHIN: Duration = Duration::from_secs(12);
/// Each read of a message is a delivery, and a broker without our policies drops a message after
/// too many: the page reads none on its own beyond this.
const LOOKS_MAX: i64 = 10;

/// The reason of the first dead letter in each queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reasons {
    known: BTreeMap<String, Reason>,
}

#[derive(Clone, Debug, PartialEq)]
struct Reason {
    /// The number of dead letters at that time.
    of: u32,
    text: String,
    is_looked_at_enough: bool,
}

/// Order's own records: other services keep theirs.
pub struct OwnBooks {
    pub backend: Arc<dyn Backend>,
    pub retention: Retention,
    pub by: Actor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    Show,
    DryRun,
    Replay,
}

impl Reasons {
    /// Reads the first dead letter of each queue whose count has changed.
    pub async fn look(&mut self, operator: &dyn Operator, queues: &Queues) -> Result<()> {
        let parked = queues.parked();
        self.known.retain(|queue, _| parked.contains_key(queue));
        for (queue, of) in parked {
            let known = self.known.get(&queue);
            if known.is_some_and(|known| known.of == of || known.is_looked_at_enough) {
                continue;
            }
            let first = operator.first(&queue).await?.map(|letter| Reason {
                of,
                text: letter.reason(),
                is_looked_at_enough: looks(&letter) >= LOOKS_MAX,
            });
            // If another client holds the messages, the next poll finds them.
            self.known.extend(first.map(|reason| (queue, reason)));
        }
        Ok(())
    }
}

fn looks(letter: &Letter) -> i64 {
    letter.message.number("x-delivery-count").unwrap_or(0)
}

#[derive(Template)]
#[template(path = "dead.html")]
struct Board {
    heaps: Vec<Heap>,
    may_act: bool,
}

struct Heap {
    queue: String,
    count: u32,
    reason: String,
}

pub fn board(queues: &Queues, reasons: &Reasons, may_act: bool) -> String {
    let heap = |(queue, count): (String, u32)| {
        let reason = reasons.known.get(&queue).map(|reason| reason.text.clone());
        Heap { reason: reason.unwrap_or_default(), queue, count }
    };
    let heaps = queues.parked().into_iter().map(heap).collect();
    Board { heaps, may_act }.render().expect("a table is text")
}

#[derive(Template)]
#[template(path = "letters.html")]
struct Letters {
    queue: String,
    letters: Vec<Shown>,
    unseen: usize,
}

struct Shown {
    event: String,
    id: String,
    order: Option<String>,
    attempts: i64,
    age: String,
    reason: String,
    /// What a replay would do, or has done.
    plan: String,
    is_well: bool,
    payload: Option<String>,
}

pub async fn act(
    Allowed(caller): Allowed,
    State(page): State<Page>,
    Path((queue, deed)): Path<(String, Deed)>,
) -> Result<Html<String>, Problem> {
    let operator = page.operator().cloned().ok_or_else(Problem::no_such_page)?;
    if !is_parking(&queue) {
        return Err(Problem::no_such_page());
    }
    let by = match caller.identity() {
        Some(identity) => Actor::of(identity, "page", None),
        None => Actor { who: "anyone on this machine".into(), via: "page", ..Actor::default() },
    };
    let (backend, retention) = (page.app.backend, page.app.context.retention);
    let books = OwnBooks { backend, retention, by };
    // Completes even if the page disconnects.
    let acting = tokio::spawn({
        let queue = queue.clone();
        async move { operator.act(books, &queue, LETTERS_MAX, deed).await }
    });
    let told = tokio::time::timeout(ANSWER_WITHIN, acting).await.map_err(|_| slow())?;
    let Acted { letters, unseen } = told.map_err(|_| Problem::internal())?.map_err(|why| {
        tracing::warn!("dead letters unavailable: {why:#}");
        Problem::not_ready(format!("{why:#}"))
    })?;
    let shown = letters.into_iter().map(|(letter, plan)| Shown::of(&letter, plan, deed));
    let letters = Letters { queue, letters: shown.collect(), unseen };
    Ok(Html(letters.render().expect("a letter is text")))
}

fn slow() -> Problem {
    Problem::not_ready("the broker takes too long; look again in a moment")
}

impl Shown {
    fn of(letter: &Letter, (plan, is_well): (String, bool), deed: Deed) -> Self {
        let message = &letter.message;
        let since = letter.died_at().or_else(|| letter.said_at());
        let age = since.map(|at| span((now() - at).num_milliseconds()));
        Self {
            event: message.kind.clone().unwrap_or_else(|| "no type".into()),
            id: message.id.clone().unwrap_or_else(|| "no id".into()),
            order: letter.order_id().map(|order| order.to_string()),
            attempts: letter.attempts(),
            age: age.unwrap_or_default(),
            reason: letter.reason(),
            plan,
            is_well,
            payload: (deed == Deed::Show).then(|| payload(letter)),
        }
    }
}

/// Headers and body, as a person reads them.
fn payload(letter: &Letter) -> String {
    let message = &letter.message;
    let headers = message.headers.iter().filter(|(name, _)| *name != header::REASON);
    let mut lines: Vec<_> = headers.map(|(name, value)| format!("{name}: {value}")).collect();
    lines.push(String::new());
    lines.push(match serde_json::from_slice::<Value>(&message.body) {
        Ok(value) => format!("{value:#}"),
        Err(_) => String::from_utf8_lossy(&message.body).into_owned(),
    });
    lines.join("\n")
}

impl Books for OwnBooks {
    async fn pasts(&mut self, letters: &[&Letter]) -> Result<Vec<Past>> {
        let mut pasts = vec![Past::default(); letters.len()];
        let (places, own): (Vec<_>, Vec<_>) =
            letters.iter().enumerate().filter(|(_, letter)| letter.is_for(NAME)).unzip();
        if own.is_empty() {
            return Ok(pasts);
        }
        let own: Vec<&Letter> = own.into_iter().copied().collect();
        for (place, past) in places.into_iter().zip(self.backend.pasts(&own).await?) {
            pasts[place] = past;
        }
        Ok(pasts)
    }

    async fn revive(&mut self, letter: &Letter) -> Result<bool> {
        ensure!(letter.is_for(NAME), "only order's own purged messages can be replayed here");
        self.backend.revive(letter).await
    }
}
