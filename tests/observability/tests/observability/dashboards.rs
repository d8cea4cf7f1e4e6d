//! Checks the dashboards as Grafana provisions them.

use observability::{DASHBOARDS, array, dashboard, text, yaml};
use std::collections::BTreeSet;
use tidy::list;

#[test]
fn there_are_two_and_they_are_found() {
    let files = list("deploy/observability/grafana/dashboards");
    assert_eq!(files.len(), DASHBOARDS.len(), "{files:?}");
    let uids: BTreeSet<_> = DASHBOARDS.map(|name| text(&dashboard(name)["uid"]).to_owned()).into();
    assert_eq!(uids, DASHBOARDS.map(Into::into).into());
}

#[test]
fn every_panel_says_what_it_shows_and_asks_a_source_that_there_is() {
    let sources = yaml("grafana/provisioning/datasources/datasources.yaml");
    let sources: Vec<_> =
        array(&sources["datasources"]).iter().map(|it| text(&it["uid"]).to_owned()).collect();
    for name in DASHBOARDS {
        let board = dashboard(name);
        let mut seen = BTreeSet::new();
        for panel in array(&board["panels"]) {
            let title = text(&panel["title"]);
            assert!(seen.insert(panel["id"].to_string()), "{name}: the id of {title} is another's");
            assert!(!text(&panel["description"]).is_empty(), "{name}: {title} says nothing");
            for it in array(&panel["targets"]).iter().chain([panel]) {
                let source = text(&it["datasource"]["uid"]);
                assert!(sources.iter().any(|uid| uid == source), "{name}, {title}: {source}");
            }
        }
    }
}

#[test]
fn no_panel_lies_over_another() {
    for name in DASHBOARDS {
        let mut taken = BTreeSet::new();
        for panel in array(&dashboard(name)["panels"]) {
            let side = |key| panel["gridPos"][key].as_u64().expect("a number");
            assert!(side("x") + side("w") <= 24, "{name}: {} is too wide", panel["title"]);
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{name}: {} lies over another", panel["title"]);
                }
            }
        }
    }
}
