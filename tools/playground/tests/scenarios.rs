//! Each order of the page ends as in the real system.

use playground::System;
use serde_json::{Value, json};

const BEGIN: i64 = 1_800_000_000_000;

struct Visitor {
    system: System,
    now: i64,
}

impl Visitor {
    fn new() -> Self {
        Self { system: System::default(), now: BEGIN }
    }

    fn act(&mut self, act: Value) -> Value {
        let Value::Object(mut request) = act else { panic!("{act} is no request") };
        self.now += 100;
        request.extend([("now".into(), self.now.into()), ("random".into(), 7.into())]);
        let seen = self.system.answer(&Value::Object(request).to_string());
        assert_eq!(seen["error"], Value::Null);
        assert_eq!(seen["dead"], json!([]));
        seen
    }

    fn place(&mut self, scenario: &str) {
        self.act(json!({ "do": "place", "scenario": scenario }));
    }

    /// Until nothing goes on by itself.
    fn wait(&mut self) -> Value {
        let ticks = (0..2000).map(|_| self.act(json!({ "do": "tick" })));
        let mut quiet = ticks.skip_while(|seen| seen["is_busy"] == true);
        quiet.next().expect("it comes to rest within minutes")
    }
}

fn newest(seen: &Value) -> (&str, Vec<&str>) {
    let order = &seen["orders"][0];
    let steps = order["steps"].as_array().into_iter().flatten();
    let events = steps.filter_map(|step| step["event"].as_str()).collect();
    (order["status"].as_str().unwrap_or_default(), events)
}

const PAID: [&str; 2] = ["order.created", "payment.approved"];

#[test]
fn each_scenario_ends_as_its_services_decide() {
    let confirmed = ["inventory.reserved", "shipping.scheduled"];
    for (scenario, status, rest) in [
        ("happy", "CONFIRMED", &confirmed[..]),
        ("flaky", "CONFIRMED", &confirmed[..]),
        ("sold out", "CANCELLED", &["inventory.failed", "payment.reversed"]),
        (
            "carrier",
            "CANCELLED",
            &["inventory.reserved", "shipping.failed", "inventory.released", "payment.reversed"],
        ),
    ] {
        let mut visitor = Visitor::new();
        visitor.place(scenario);
        let seen = visitor.wait();
        assert_eq!(newest(&seen), (status, [&PAID, rest].concat()), "{scenario}");
    }
    let mut visitor = Visitor::new();
    visitor.place("declined");
    assert_eq!(
        newest(&visitor.wait()),
        ("PAYMENT_FAILED", vec!["order.created", "payment.failed"])
    );
    visitor.place("cancel");
    let seen = visitor.wait();
    let (status, events) = newest(&seen);
    assert_eq!((status, events[1]), ("CANCELLED", "order.cancel-requested"));
    assert!(events.contains(&"payment.reversed"), "{events:?}");
}

#[test]
fn an_order_waits_for_a_stopped_service_and_ends_when_it_is_started() {
    let mut visitor = Visitor::new();
    visitor.act(json!({ "do": "stop", "service": "payment" }));
    visitor.place("happy");
    let seen = visitor.wait();
    assert_eq!(newest(&seen).0, "PENDING");
    assert_eq!(seen["services"][1]["waiting"][0]["event"], "order.created");
    let waits = &seen["orders"][0]["waits"][0];
    assert_eq!(waits, "order.created waits for payment, which is stopped");
    visitor.act(json!({ "do": "start", "service": "payment" }));
    assert_eq!(newest(&visitor.wait()).0, "CONFIRMED");
}

#[test]
fn payment_killed_during_a_charge_looks_it_up_and_charges_once() {
    let mut visitor = Visitor::new();
    visitor.place("happy");
    while visitor.act(json!({ "do": "tick" }))["orders"][0]["waits"][0]
        != "payment processing, try 1"
    {}
    visitor.act(json!({ "do": "stop", "service": "payment" }));
    assert_eq!(newest(&visitor.wait()).0, "PENDING");
    let seen = visitor.act(json!({ "do": "start", "service": "payment" }));
    assert_eq!(seen["orders"][0]["waits"][0], "payment retrying, try 1");
    let seen = visitor.wait();
    assert_eq!(newest(&seen).0, "CONFIRMED");
    assert_eq!(newest(&seen).1.iter().filter(|event| **event == "payment.approved").count(), 1);
}

#[test]
fn a_charge_waits_while_the_provider_is_away() {
    let mut visitor = Visitor::new();
    visitor.act(json!({ "do": "provider", "is_up": false }));
    visitor.place("happy");
    let seen = (0..300).map(|_| visitor.act(json!({ "do": "tick" }))).last().unwrap();
    assert_eq!(newest(&seen).0, "PENDING");
    visitor.act(json!({ "do": "provider", "is_up": true }));
    assert_eq!(newest(&visitor.wait()).0, "CONFIRMED");
}

#[test]
fn a_repeated_delivery_changes_nothing() {
    let mut visitor = Visitor::new();
    visitor.place("carrier");
    let before = visitor.wait();
    for service in ["order", "payment", "inventory", "shipping"] {
        visitor.act(json!({ "do": "repeat", "service": service }));
    }
    let after = visitor.wait();
    assert_eq!(after["orders"], before["orders"]);
    let repetitions = after["services"].as_array().into_iter().flatten();
    assert!(repetitions.clone().all(|it| it["repetitions"] == 1));
    assert_eq!(repetitions.count(), 4);
}
