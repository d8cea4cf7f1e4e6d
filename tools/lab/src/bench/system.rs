//! A whole system of its own, each part talking straight to the other.

use std::path::Path;

use anyhow::Result;
use audit::Endpoints;
use futures::future::{join_all, try_join_all};
use kit::api::Api;
use kit::part::Part;
use kit::private::Private;
use kit::service::Service;
use servers::ports;

use super::setup::Setup;
use crate::usage::{self, Group, Meter};

pub struct System {
    pub endpoints: Endpoints,
    /// One a copy of the order service.
    pub apis: Vec<Api>,
    pub meter: Meter,
    parts: Vec<Part>,
    _servers: Private,
}

impl System {
    /// Returns when all of it does its work.
    pub async fn start(dir: &Path, setup: &Setup) -> Result<Self> {
        let servers = Private::start(dir, setup.settings).await?;
        let Private { settings, watchdog, .. } = &servers;
        let (mut parts, mut apis) = (Vec::new(), Vec::new());
        for copy in 1..=setup.replicas {
            let mut seen = settings.clone();
            seen.home = settings.home.join(copy.to_string());
            seen.order_http_port = ports::free()?;
            apis.push(Api::at(&seen.order_url()));
            parts.extend(Service::all(&seen)?.into_iter().map(|one| Part::new(one, watchdog)));
        }
        parts.iter_mut().try_for_each(Part::start)?;
        try_join_all(parts.iter().map(Part::ready)).await?;
        let meter = Meter::of(measured(&servers, &parts)?);
        Ok(Self { endpoints: Endpoints::from(settings), apis, meter, parts, _servers: servers })
    }

    /// Ends everything, the services first; what they leave behind is deleted.
    pub async fn end(mut self) {
        join_all(self.parts.iter_mut().map(Part::kill)).await;
    }
}

fn measured(servers: &Private, parts: &[Part]) -> Result<Vec<usage::Part>> {
    let mut measured = Vec::new();
    for part in parts {
        let (name, process) = (part.service.name.to_owned(), part.running()?);
        measured.push(usage::Part { name, group: Group::Services, process });
    }
    let databases = servers.settings.databases.iter().zip(&servers.postgres);
    measured.extend(databases.map(|(database, one)| usage::Part::postgres(database.service, one)));
    measured.push(usage::Part::rabbitmq(&servers.rabbitmq));
    Ok(measured)
}
