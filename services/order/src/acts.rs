//! Records what operators do: who, what, when and why. The order service logs each act, whichever
//! program has written it, and exports a span.

use crate::{keys::Identity, store};
use dead_letters::{Done, Letter, storable};
use events::OrderId;
use messaging::{Env, SystemEnv};
use service::Context;
use telemetry::{Span, SpanKind};
use uuid::Uuid;

/// Acts in one statement.
const LOGGED_MAX: i64 = 100;
/// Of a reason, in characters.
pub const REASON_MAX: usize = 500;

/// Who acts, from where, and why.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    pub who: String,
    pub key_id: Option<String>,
    pub via: &'static str,
    pub reason: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Act {
    pub id: Uuid,
    pub by: Actor,
    pub what: &'static str,
    pub subject: String,
    pub order_id: Option<OrderId>,
}

impl Actor {
    pub fn of(identity: &Identity, via: &'static str, reason: Option<&str>) -> Self {
        let (who, key_id) = (identity.who.to_string(), identity.key_id.clone());
        Self { who, key_id, via, reason: reason.map(storable_reason) }
    }

    pub fn act(&self, env: &dyn Env, what: &'static str, subject: String) -> Act {
        let (id, by) = (env.new_id(), self.clone());
        Act { id, by, what, subject, order_id: None }
    }
}

impl Act {
    #[must_use]
    pub fn on(self, order_id: Option<OrderId>) -> Self {
        Self { order_id, ..self }
    }
}

/// Anyone may write anything.
pub fn storable_reason(text: &str) -> String {
    storable(&text.chars().take(REASON_MAX).collect::<String>())
}

/// One for each of these dead letters.
pub fn acts_of(by: &Actor, what: &'static str, letters: &[&Letter]) -> Vec<Act> {
    let act = |letter: &&Letter| {
        let subject = subject(&letter.parked, letter.message.id.as_deref());
        by.act(&SystemEnv, what, subject).on(letter.order_id())
    };
    letters.iter().map(act).collect()
}

/// Pairs them with what has become of their dead letters, which are in the same order.
pub fn outcomes(acts: &[Act], done: &[Done]) -> Vec<(Uuid, &'static str)> {
    acts.iter().zip(done).map(|(act, done)| (act.id, done.outcome.word())).collect()
}

/// Any client may publish anything: without a NUL, and no longer than a line.
fn subject(queue: &str, message_id: Option<&str>) -> String {
    let id: String = message_id.unwrap_or("no id").chars().take(100).collect();
    storable(&format!("{queue} {id}"))
}

/// Logs new acts, once by all replicas; a crash may lose a line, and never the row.
pub async fn log(context: Context) -> anyhow::Result<()> {
    for act in store::take_unlogged(&context.message_store.pool, LOGGED_MAX).await? {
        let store::LoggedAct { who, what, subject, reason, outcome, order_id, .. } = &act;
        let reason = reason.as_deref().unwrap_or("none given");
        let outcome = outcome.as_deref().unwrap_or("unknown");
        let key = act.key_id.as_deref().unwrap_or_default();
        let order = order_id.map(|id| id.to_string()).unwrap_or_default();
        let (via, at) = (&act.via, act.at.to_rfc3339());
        tracing::info!(
            who,
            key,
            via,
            what,
            subject,
            order_id = order,
            reason,
            outcome,
            at,
            "operator's act"
        );
        let span = Span::begin(None, SpanKind::Internal, format_args!("act {what}"));
        let span = span.with("who", who).with("key", key).with("via", via).with("what", what);
        let span = span.with("subject", subject).with("order_id", order);
        span.with("reason", reason).with("outcome", outcome).with("at", at).end();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dead_letters::Outcome;
    use messaging::Message;

    #[test]
    fn two_dead_letters_with_the_same_id_have_an_outcome_each() {
        let message = Message { id: Some("same".into()), ..Message::default() };
        let letter = Letter { parked: "payment.order-created.dlq".into(), message };
        let acts = acts_of(&Actor::default(), "dlq.replay", &[&letter, &letter]);
        let done = [Outcome::Replayed, Outcome::Refused]
            .map(|outcome| Done::of(&letter, outcome, String::new()));
        assert_eq!(outcomes(&acts, &done), [(acts[0].id, "replayed"), (acts[1].id, "refused")]);
    }
}
