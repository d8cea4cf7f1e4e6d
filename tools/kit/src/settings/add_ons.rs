//! Holds the settings of the services beside the saga.

use anyhow::Result;
use events::{ADD_ONS, Step, services_in};

use super::Settings;

/// The port of the first one's database; the next one's is one higher.
pub const ADD_ON_DB_PORT: u16 = 5437;

/// A service beside the saga, with the events that it hears.
pub type AddOn<'a> = (&'a str, Vec<&'a str>);

/// The variable that sets the port of its database.
pub fn port_of(add_on: &str) -> &'static str {
    format!("{}_DB_PORT", add_on.to_uppercase()).leak()
}

/// The services that these steps are of.
pub fn add_ons_of(steps: &[Step]) -> Vec<AddOn<'static>> {
    let hears = |service| {
        let steps = steps.iter().filter(move |step| step.service == service);
        steps.map(|step| step.hears).collect()
    };
    services_in(steps).map(|service| (service, hears(service))).collect()
}

impl Settings {
    /// Those that these variables make, with the services beside the saga that there are.
    pub fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Self::with(ADD_ONS, variable)
    }
}
