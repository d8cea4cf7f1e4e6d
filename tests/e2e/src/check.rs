//! Checks a fleet's invariants.

use crate::{Fleet, SERVICES, fleet::BOUND};
use audit::{Endpoints, Outcome, Told, Verdict};
use kit::verify::verify;

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
}
