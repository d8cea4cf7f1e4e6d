//! Holds the settings of the services beside the saga.

use events::ADD_ONS;

use super::{SERVICES, Settings};

/// The port of the first one's database; the next one's is one higher.
pub const ADD_ON_DB_PORT: u16 = 5437;

/// A service beside the saga, with the events that it hears.
pub type AddOn<'a> = (&'a str, Vec<&'a str>);

/// The variable that sets the port of its database.
pub fn port_of(add_on: &str) -> &'static str {
    format!("{}_DB_PORT", add_on.to_uppercase()).leak()
}

impl Settings {
    pub fn add_ons(&self) -> Vec<AddOn<'static>> {
        let hears = |service| {
            let steps = ADD_ONS.iter().filter(move |step| step.service == service);
            steps.map(|step| step.hears).collect()
        };
        let all = self.databases.iter().skip(SERVICES.len());
        all.map(|database| (database.service, hears(database.service))).collect()
    }
}
