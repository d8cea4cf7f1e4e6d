//! A whole system of its own on free ports, each part talking straight to the other. It ends with
//! its owner, however that ends.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use futures::future::{join_all, try_join_all};
use servers::{Lifetime, Postgres, PostgresConfig, RabbitConfig, RabbitMq, Watchdog, ports};

use super::setup::Setup;
use crate::api::Api;
use crate::home::Home;
use crate::part::Part;
use crate::service::Service;
use crate::settings::Settings;
use crate::snapshot::Places;
use crate::usage::{self, Group, Meter};

pub struct System {
    pub places: Places,
    /// One a copy of the order service.
    pub apis: Vec<Api>,
    pub meter: Meter,
    parts: Vec<Part>,
    _rabbitmq: RabbitMq,
    _postgres: Vec<Postgres>,
    _watchdog: Arc<Watchdog>,
}

impl System {
    /// Returns when all of it does its work.
    pub async fn start(dir: &Path, setup: &Setup) -> Result<Self> {
        let watchdog = Arc::new(Watchdog::start()?);
        watchdog.deletes(dir)?;
        let settings = Settings::private(dir, setup.settings)?;
        let home = Home::new(&settings);
        home.make()?;
        let bound = || Lifetime::Bound(Arc::clone(&watchdog));
        let postgres = settings.databases.iter().map(|database| {
            Postgres::start(PostgresConfig { lifetime: bound(), ..home.postgres(database) })
        });
        let rabbitmq = RabbitMq::start(RabbitConfig { lifetime: bound(), ..home.rabbitmq() });
        let (postgres, rabbitmq) = tokio::try_join!(try_join_all(postgres), rabbitmq)?;

        let (mut parts, mut apis) = (Vec::new(), Vec::new());
        for copy in 1..=setup.replicas {
            let mut seen = settings.clone();
            seen.home = settings.home.join(copy.to_string());
            seen.order_http_port = ports::free()?;
            apis.push(Api::at(&seen.order_url()));
            parts.extend(Service::all(&seen)?.into_iter().map(|one| Part::new(one, &watchdog)));
        }
        parts.iter_mut().try_for_each(Part::start)?;
        try_join_all(parts.iter().map(Part::ready)).await?;
        let meter = Meter::of(measured(&settings, &parts, &postgres, &rabbitmq)?);
        let places = Places::from(&settings);
        let (_rabbitmq, _postgres, _watchdog) = (rabbitmq, postgres, watchdog);
        Ok(Self { places, apis, meter, parts, _rabbitmq, _postgres, _watchdog })
    }

    /// Ends everything, the services first; what they leave behind is deleted.
    pub async fn end(mut self) {
        join_all(self.parts.iter_mut().map(Part::kill)).await;
    }
}

fn measured(
    settings: &Settings,
    parts: &[Part],
    postgres: &[Postgres],
    rabbitmq: &RabbitMq,
) -> Result<Vec<usage::Part>> {
    let mut measured = Vec::new();
    for part in parts {
        let (name, process) = (part.service.name.to_owned(), part.running()?);
        measured.push(usage::Part { name, group: Group::Services, process });
    }
    let databases = settings.databases.iter().zip(postgres);
    measured.extend(databases.map(|(database, one)| usage::Part::postgres(database.service, one)));
    measured.push(usage::Part::rabbitmq(rabbitmq));
    Ok(measured)
}
