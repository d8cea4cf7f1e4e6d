//! Pure modules stay pure, and packages have only allowed dependencies.

use events::SERVICES;
use std::collections::BTreeSet;
use tidy::{dependencies, list, read, rust_files, words};

/// The state of each service and its rules.
const AGGREGATES: [&str; 8] = [
    "services/order/src/order.rs",
    "services/order/src/order/status.rs",
    "services/payment/src/breaker.rs",
    "services/payment/src/payment.rs",
    "services/payment/src/policy.rs",
    "services/payment/src/verdict.rs",
    "services/inventory/src/shelf.rs",
    "services/shipping/src/dispatch.rs",
];

/// Words by which code uses servers, files, time or randomness.
const REACHING_OUT: [&str; 13] = [
    "async",
    "await",
    "tokio",
    "sqlx",
    "lapin",
    "reqwest",
    "fs",
    "net",
    "env",
    "SystemTime",
    "Instant",
    "now",
    "rand",
];

/// Libraries that only compute.
const COMPUTING: [&str; 8] =
    ["chrono", "events", "rust_decimal", "schemars", "serde", "serde_json", "thiserror", "uuid"];

#[test]
fn a_decision_sees_no_server_no_clock_and_no_dice() {
    let reactions = SERVICES.iter().flat_map(|name| rust_files(&format!("services/{name}/src/on")));
    let words_of_saga =
        ["shared/events/src", "shared/reaction/src"].into_iter().flat_map(rust_files);
    for file in reactions.chain(AGGREGATES.map(Into::into)).chain(words_of_saga) {
        let text = read(&file);
        let reached = words(&text).find(|word| REACHING_OUT.contains(word));
        assert_eq!(
            reached, None,
            "{file} is pure: what it needs from outside comes with the event or the state; \
             work that takes time belongs to a worker (see services/payment/src/desk.rs)"
        );
    }
}

#[test]
fn the_words_and_the_reactions_depend_on_nothing_that_does_io() {
    for package in ["events", "reaction"] {
        let manifest = format!("shared/{package}/Cargo.toml");
        for name in dependencies(&manifest, |table| table == "dependencies") {
            assert!(
                COMPUTING.contains(&name.as_str()),
                "{manifest} depends on {name}: if it does I/O, take it out; \
                 if it only computes, add it to COMPUTING"
            );
        }
    }
}

#[test]
fn no_service_depends_on_another() {
    for service in SERVICES {
        let manifest = format!("services/{service}/Cargo.toml");
        for name in dependencies(&manifest, is_any) {
            assert!(
                !SERVICES.contains(&name.as_str()),
                "{manifest} depends on {name}: services talk by events only; \
                 what two of them need is in shared/"
            );
        }
    }
}

#[test]
fn only_tools_and_tests_depend_on_tests() {
    let tests: BTreeSet<_> =
        list("tests").into_iter().map(|path| path.replace("tests/", "")).collect();
    for folder in ["services", "shared"] {
        for package in list(folder) {
            let manifest = format!("{package}/Cargo.toml");
            for name in dependencies(&manifest, is_any) {
                assert!(
                    !tests.contains(&name),
                    "{manifest} depends on tests/{name}: what it needs of it belongs to shared/"
                );
            }
        }
    }
}

fn is_any(table: &str) -> bool {
    table.ends_with("dependencies")
}
