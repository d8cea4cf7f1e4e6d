//! Lists every address of the system.

use std::collections::BTreeMap;
use std::path::Path;

use events::add_ons;
use kit::home::Home;
use kit::say;
use kit::settings::{Database, SERVICES, Settings};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Urls {
    pub page: String,
    pub orders: String,
    /// To verify order by, where it has a certificate of its own authority.
    pub authority: Option<String>,
    /// RabbitMQ's page.
    pub rabbitmq: String,
    pub amqp: String,
    /// The primaries, by service.
    pub databases: BTreeMap<&'static str, String>,
    /// The stand-in for the payment provider, where there is one.
    pub provider: Option<String>,
    /// A directory, or the command that shows the logs.
    pub logs: String,
    #[serde(skip)]
    login: String,
}

impl Urls {
    /// The addresses of the background processes, not of containers.
    pub fn of(settings: &Settings) -> Self {
        Self::with_logs(settings, &shown(&settings.home.join("logs")))
    }

    pub fn with_logs(settings: &Settings, logs: &str) -> Self {
        let order = settings.order_url();
        let home = Home::new(settings);
        let url = |one: &Database| one.url_at(home.postgres(one).port);
        let databases = settings.databases.iter().map(|one| (one.service, url(one)));
        let Settings { rabbitmq_user, rabbitmq_password, .. } = settings;
        Self {
            page: format!("{order}/"),
            orders: format!("{order}/orders"),
            authority: settings.order_authority().map(|path| shown(&path)),
            rabbitmq: settings.management_url(),
            amqp: settings.amqp_url(),
            databases: databases.collect(),
            provider: settings.mock_gateway_url(),
            logs: logs.to_owned(),
            login: format!("{rabbitmq_user}/{rabbitmq_password}"),
        }
    }

    pub fn print(&self) {
        say!("  the page   {}", self.page);
        say!("  orders     {}", self.orders);
        say!("  RabbitMQ   {}  ({})", self.rabbitmq, self.login);
        say!("  AMQP       {}", self.amqp);
        for database in
            SERVICES.into_iter().chain(add_ons()).filter_map(|it| self.databases.get(it))
        {
            say!("  Postgres   {database}");
        }
        if let Some(provider) = &self.provider {
            let down = "-d '{\"down\": true}'";
            say!("  provider   {provider}  (`curl -X PUT {provider}/behaviour {down}`)");
        }
        say!("  logs       {}", self.logs);
    }
}

/// The path, relative to the working directory if it is inside.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}
