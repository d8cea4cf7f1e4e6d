//! Silences all open connections of a link without a reset, as a dead node or a router that forgets
//! does. Only new connections work.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::{Hands, beyond};
use crate::chaos::plan::Step;
use crate::chaos::proxy::Swallowed;
use crate::chaos::watch::{Measure, Since};

/// A copy that waits for ever keeps messages that no other copy is given.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

impl Hands<'_> {
    pub(super) async fn silence(&mut self, step: &Step) -> Result<String> {
        let mut chance = StdRng::seed_from_u64(step.seed);
        let what = *Swallowed::ALL.choose(&mut chance).expect("there are some");
        let link = self.fleet.link(step.target)?;
        let (since, number) = (Since::now(), link.swallow(what));
        ensure!(number > 0, "no connection was in the way");
        self.flows(Since::now(), &beyond(step.target), Measure::SilentFlows).await?;
        let settled = since.settled(&self.fleet.system.endpoints, SETTLED_WITHIN).await?;
        self.recovered(Measure::Settled, settled);
        Ok(format!("{number} connections silent {}, for ever", what.text()))
    }
}
