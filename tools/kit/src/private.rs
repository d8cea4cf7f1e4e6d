//! The servers of a system of its own, on free ports. They end with their owner, however that ends.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;
use servers::{Lifetime, Postgres, PostgresConfig, RabbitConfig, RabbitMq, Watchdog};

use crate::home::Home;
use crate::settings::Settings;

pub struct Private {
    pub settings: Settings,
    pub rabbitmq: RabbitMq,
    /// In the order of `SERVICES`.
    pub postgres: Vec<Postgres>,
    /// Dropped last, it deletes the data once the servers are gone. What else runs is bound to it.
    pub watchdog: Arc<Watchdog>,
}

impl Private {
    pub async fn start(dir: &Path, told: &[(&str, &str)]) -> Result<Self> {
        let watchdog = Arc::new(Watchdog::start()?);
        watchdog.deletes(dir)?;
        let settings = Settings::private(dir, told)?;
        let home = Home::new(&settings);
        home.make()?;
        let bound = || Lifetime::Bound(Arc::clone(&watchdog));
        let postgres = settings.databases.iter().map(|database| {
            Postgres::start(PostgresConfig { lifetime: bound(), ..home.postgres(database) })
        });
        let rabbitmq = RabbitMq::start(RabbitConfig { lifetime: bound(), ..home.rabbitmq() });
        let (postgres, rabbitmq) = tokio::try_join!(try_join_all(postgres), rabbitmq)?;
        Ok(Self { settings, rabbitmq, postgres, watchdog })
    }
}
