//! Holds the valid keys in memory: one query a second for all requests. A key is valid, or no
//! longer valid, within two seconds.

use super::{ApiKey, Identity, Invalid};
use crate::store::{self, KeyRow};
use database::{Failure, PgPool};
use service::Context;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use subtle::ConstantTimeEq;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Keys that could not be read for so long are not trusted any more: one may have been revoked.
pub const STALE_AFTER: Duration = Duration::from_secs(10);
/// How long a request waits for the first look after the start.
const FIRST_LOOK_WITHIN: Duration = Duration::from_secs(2);
/// So many clients have a name in the metrics; the others are one.
pub const LABELS_MAX: usize = 50;
const OTHER: &str = "other";

/// All valid keys.
#[derive(Default)]
pub struct KeyRing(watch::Sender<Ring>);

#[derive(Clone, Default)]
struct Ring {
    keys: Arc<HashMap<String, Arc<Identity>>>,
    /// None before the first look.
    read_at: Option<Instant>,
}

impl KeyRing {
    pub async fn check(&self, given: &ApiKey) -> Result<Arc<Identity>, Invalid> {
        let ring = self.ring().await.ok_or(Invalid::Stale)?;
        let key = ring.keys.get(given.id()).ok_or(Invalid::Unknown)?;
        let is_same: bool = key.digest.ct_eq(&given.digest()).into();
        if is_same { Ok(key.clone()) } else { Err(Invalid::Unknown) }
    }

    /// As it was read lately.
    async fn ring(&self) -> Option<Ring> {
        let mut look = self.0.subscribe();
        let first = look.wait_for(|ring| ring.read_at.is_some());
        let ring = timeout(FIRST_LOOK_WITHIN, first).await.ok()?.ok()?.clone();
        let is_fresh = ring.read_at.is_some_and(|at| at.elapsed() < STALE_AFTER);
        is_fresh.then_some(ring)
    }

    /// Looks for new and revoked keys until the service stops.
    pub async fn run(&self, context: &Context) {
        let mut has_failed = false;
        loop {
            let looked = look(&self.0, &context.message_store.pool).await;
            if let Err(why) = &looked
                && !has_failed
            {
                tracing::warn!(
                    "API keys cannot be read; trusting the last known ones for \
                    {} s: {why:#}",
                    STALE_AFTER.as_secs()
                );
            }
            has_failed = looked.is_err();
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }
}

async fn look(ring: &watch::Sender<Ring>, pool: &PgPool) -> Result<(), Failure> {
    // What is read is not older than this.
    let began = Instant::now();
    let rows = store::valid_keys(pool).await?;
    let last = ring.borrow().keys.clone();
    let keys = Arc::new(next(&last, rows));
    ring.send_replace(Ring { keys: keys.clone(), read_at: Some(began) });
    for (id, key) in last.iter() {
        if !keys.get(id).is_some_and(|kept| Arc::ptr_eq(kept, key)) {
            key.revoked.cancel();
        }
    }
    Ok(())
}

/// Keys that have not changed stay the same, so that their streams go on. One that this release
/// cannot read opens nothing.
fn next(
    last: &HashMap<String, Arc<Identity>>,
    rows: Vec<KeyRow>,
) -> HashMap<String, Arc<Identity>> {
    let mut named = BTreeSet::new();
    let mut keys = HashMap::with_capacity(rows.len());
    for KeyRow { id, client, role, digest } in rows {
        let (Ok(role), Ok(digest)) = (role.parse(), digest.try_into()) else {
            tracing::warn!("API key {id} is of a role or a form that this release does not know");
            continue;
        };
        // The oldest clients have the names.
        if named.len() < LABELS_MAX {
            named.insert(client.clone());
        }
        let label = if named.contains(&client) { &client } else { OTHER };
        let key = Identity {
            key_id: Some(id.clone()),
            who: client.as_str().into(),
            client: client.as_str().into(),
            role,
            digest,
            label: label.into(),
            lifetime: None,
            revoked: CancellationToken::new(),
        };
        let known = last.get(&id).filter(|known| is_like(known, &key)).cloned();
        keys.insert(id, known.unwrap_or_else(|| Arc::new(key)));
    }
    keys
}

fn is_like(one: &Identity, other: &Identity) -> bool {
    let of = |key: &Identity| (key.client.clone(), key.role, key.digest, key.label.clone());
    of(one) == of(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u8) -> KeyRow {
        let (id, client) = (format!("{number:016x}"), format!("client-{number}"));
        KeyRow { id, client, role: "client".into(), digest: vec![number; 32] }
    }

    #[test]
    fn the_metrics_name_so_many_clients_and_no_more() {
        let keys = next(&HashMap::new(), (0..=250).map(row).collect());
        let labels: BTreeSet<_> = keys.values().map(|key| key.label.clone()).collect();
        assert_eq!(labels.len(), LABELS_MAX + 1);
        assert!(labels.contains(OTHER) && labels.contains("client-0"));
    }

    #[test]
    fn a_key_that_has_changed_is_another() {
        let last = next(&HashMap::new(), vec![row(1), row(2)]);
        let mut changed = row(2);
        changed.role = "viewer".into();
        let keys = next(&last, vec![row(1), changed]);
        let same = |id: &str| Arc::ptr_eq(&last[id], &keys[id]);
        assert!(same(&row(1).id) && !same(&row(2).id));
    }

    #[test]
    fn a_key_that_cannot_be_read_shuts_out_no_other() {
        let unknown = KeyRow { role: "auditor".into(), ..row(2) };
        let short = KeyRow { digest: vec![3; 31], ..row(3) };
        let keys = next(&HashMap::new(), vec![unknown, row(1), short]);
        assert_eq!(keys.keys().collect::<Vec<_>>(), [&row(1).id]);
    }
}
