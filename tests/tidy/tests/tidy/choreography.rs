//! The services do the steps that `SAGA` lists, and their folders show it.

use clap::{Args, Command};
use events::{ADD_ONS, SAGA, SERVICES, Step, add_ons, type_name};
use std::collections::BTreeSet;
use tidy::{list, read};

/// Files that may be in `on/` beside the reactions: code that their tests share.
const NOT_REACTIONS: [&str; 2] = ["examples.rs", "testing.rs"];

/// A service's default settings.
fn usual<T: Args>() -> T {
    let matches = T::augment_args(Command::new("usual")).get_matches_from(["usual"]);
    T::from_arg_matches(&matches).expect("defaults are possible values")
}

#[test]
fn every_service_hears_what_the_saga_says_it_hears() {
    let gateway_url = Some(payment::Settings::SIMULATED.into());
    let provider = payment::Settings { gateway_url, ..usual() };
    let registered = [
        (order::NAME, order::service(&usual()).map(|service| service.hears())),
        (payment::NAME, payment::service(&provider).map(|service| service.hears())),
        (inventory::NAME, inventory::service(&usual()).map(|service| service.hears())),
        (shipping::NAME, shipping::service(&usual()).map(|service| service.hears())),
    ];
    assert_eq!(registered.each_ref().map(|(name, _)| *name), SERVICES);
    for (name, hears) in registered {
        let hears: BTreeSet<_> = hears.expect("the defaults suit").into_iter().collect();
        let steps: BTreeSet<_> = all_steps_of(name).map(|step| step.hears).collect();
        assert_eq!(
            hears, steps,
            "{name} registers the left and SAGA has the right: \
             change `.on::<…>()` in services/{name}/src/lib.rs, or shared/events/src/saga_table.rs"
        );
    }
}

#[test]
fn every_step_has_its_file_and_every_file_its_step() {
    for service in SERVICES.iter().copied().chain(add_ons()) {
        let folder = format!("services/{service}/src/on");
        let mut there: BTreeSet<_> = list(&folder).into_iter().collect();
        for name in NOT_REACTIONS {
            there.remove(&format!("{folder}/{name}"));
        }
        let wanted: BTreeSet<_> = all_steps_of(service).map(file_of).collect();
        assert_eq!(
            there, wanted,
            "the left is there, and SAGA asks for the right: one file a step"
        );
    }
}

#[test]
fn the_first_line_of_a_reaction_says_what_it_hears_and_may_answer() {
    for step in SAGA.iter().chain(ADD_ONS) {
        let answers: Vec<_> = step.may_say.iter().map(|event| type_name(event)).collect();
        let answers = if answers.is_empty() { "(nothing)".into() } else { answers.join(" | ") };
        let wanted = format!("//! {} → {answers}", type_name(step.hears));
        let file = file_of(step);
        let text = read(&file);
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(
            first, wanted,
            "the first line of {file} (left) is to be the right one, by SAGA"
        );
    }
}

fn all_steps_of(service: &str) -> impl Iterator<Item = &'static Step> {
    SAGA.iter().chain(ADD_ONS).filter(move |step| step.service == service)
}

fn file_of(step: &Step) -> String {
    let name = step.hears.replace(['.', '-'], "_");
    format!("services/{}/src/on/{name}.rs", step.service)
}
