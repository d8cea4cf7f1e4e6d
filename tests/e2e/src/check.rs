//! Checks a fleet's invariants.

use crate::{BOUND, Fleet, SERVICES};
use audit::{Endpoints, Outcome, Told, Verdict};
use kit::verify::verify;
use std::collections::BTreeSet;
use uuid::Uuid;

impl Fleet {
    /// The endpoints of this fleet.
    pub fn endpoints(&self) -> Endpoints {
        let databases = SERVICES.map(|name| (name.into(), self.database_url(name).into()));
        Endpoints {
            databases: databases.into(),
            amqp_url: self.broker.amqp_url.clone(),
            management_url: self.broker.management_url.replace("admin:admin@", ""),
            management_user: "admin".into(),
            management_password: "admin".into(),
            vhost: self.broker.vhost.clone(),
            provider_url: self.provider.as_ref().map(|provider| provider.url.clone()),
            keep_days: 30,
        }
    }

    /// Checks every invariant, in all four databases and the broker.
    pub async fn verify(&self) -> Verdict {
        let told = Told { placed: Some(self.placed()), cancelled: None };
        let verdict = verify(&self.endpoints(), BOUND, &told, |_| {}).await;
        let verdict = verdict.expect("everything is reachable");
        assert!(verdict.outcome == Outcome::Clean, "{verdict:#?}");
        assert!(verdict.checked.orders > 0, "there is something to check");
        verdict
    }

    /// Once it is verified: exactly the events that were handled are kept as history.
    pub async fn history_is_complete(&self) {
        let (said, handled) = (self.ids("said").await, self.ids("idempotency_keys").await);
        let differing: Vec<_> = handled.symmetric_difference(&said).collect();
        assert!(differing.is_empty(), "{differing:?} of {}", said.len());
    }

    /// The event ids in this table of all services.
    async fn ids(&self, table: &str) -> BTreeSet<Uuid> {
        let select = format!("SELECT event_id FROM {table}");
        let mut ids = BTreeSet::new();
        for service in SERVICES {
            let found = sqlx::query_scalar::<_, Uuid>(sqlx::AssertSqlSafe(select.clone()));
            let found = found.fetch_all(&self.pool(service).await).await.expect(table);
            ids.extend(found);
        }
        ids
    }
}
