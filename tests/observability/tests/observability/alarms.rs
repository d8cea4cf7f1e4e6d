//! Each alarm is documented, tested, and fires for every service.

use events::{SERVICES, add_ons};
use observability::{alarms, array, text, yaml};
use std::collections::BTreeSet;
use tidy::read;

#[test]
fn every_alarm_leads_to_a_section_that_says_what_to_do() {
    let page = read("docs/operations.md");
    let sections: BTreeSet<_> =
        page.lines().filter_map(|line| line.strip_prefix("### ")).map(tidy::anchor).collect();
    for alarm in alarms() {
        let (name, annotations) = (text(&alarm["alert"]), &alarm["annotations"]);
        assert!(!text(&annotations["summary"]).is_empty(), "{name} says nothing");
        let runbook = text(&annotations["runbook"]);
        let section = runbook.strip_prefix("docs/operations.md#").unwrap_or_default();
        assert!(sections.contains(section), "{name}: {runbook} is no section");
        let severity = text(&alarm["labels"]["severity"]);
        assert!(["page", "ticket"].contains(&severity), "{name}: whom does it wake?");
    }
}

#[test]
fn every_alarm_is_tried_out_silent_and_ringing() {
    let tests = yaml("alerts.test.yml");
    let tried = array(&tests["tests"]).iter().flat_map(|test| array(&test["alert_rule_test"]));
    let tried: Vec<_> =
        tried.map(|one| (text(&one["alertname"]), !array(&one["exp_alerts"]).is_empty())).collect();
    for alarm in alarms() {
        let name = text(&alarm["alert"]);
        for rings in [false, true] {
            assert!(tried.contains(&(name, rings)), "alerts.test.yml: {name} ringing: {rings}");
        }
    }
}

#[test]
fn every_alarm_has_rung_for_its_fault_in_the_run_that_is_documented() {
    let page = read("docs/alarms.md");
    let columns = page.lines().filter_map(|line| line.split(" | ").nth(1));
    let rang: BTreeSet<_> = columns.flat_map(|it| it.split('`').skip(1).step_by(2)).collect();
    for alarm in alarms() {
        let name = text(&alarm["alert"]);
        assert!(rang.contains(name), "{name} is not in the table: `lab alarms --write-docs`");
    }
}

#[test]
fn a_service_that_is_gone_altogether_is_missed() {
    let alarms = alarms();
    let alarm = alarms.iter().find(|alarm| alarm["alert"] == "NotConsuming").unwrap();
    for service in SERVICES.iter().copied().chain(add_ons()) {
        let wanted = format!("absent(consuming{{service=\"{service}\"}})");
        assert!(text(&alarm["expr"]).contains(&wanted), "NotConsuming needs {wanted}");
    }
}
