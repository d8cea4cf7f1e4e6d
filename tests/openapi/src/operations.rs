//! Lists the operations, and every answer to each.

use crate::{
    examples,
    model::{Answer, Example, Operation, Parameter, schema_of},
    parameters::{id, key, query, reason, traceparent},
    schemas::uuid,
};
use axum::http::StatusCode;
use demo::CUSTOMER;
use order::{
    Ending, Status,
    http::{CAUGHT_UP_MAX, END, LIMIT, LIMIT_MAX, Listed, problem},
    keys::Role,
};
use serde_json::{Value, json};
use service::http::{Errors, Problem};

pub const GROUPS: [(&str, &str); 3] = [
    ("Orders", "Place, show, list and cancel."),
    ("Streams", "Server-sent events."),
    ("Service", "For operators."),
];

pub fn all() -> Vec<Operation> {
    vec![place(), list(), show(), cancel(), follow(), news(), endings()]
        .into_iter()
        .chain(service())
        .collect()
}

fn place() -> Operation {
    let links = json!({
        "show": link("getOrder", "The order's current state."),
        "cancel": link("cancelOrder", "Cancels the order."),
        "follow": link("followOrder", "Streams the order's steps."),
    });
    let placed = Example::of("placed", "Stored.", &examples::placed());
    let created =
        Answer { links, ..Answer::new(StatusCode::CREATED, "Placed.", "Order", vec![placed]) };
    let location = Parameter {
        place: "header",
        name: "Location",
        about: "The order's path.".into(),
        schema: json!({ "type": "string", "pattern": "^/orders/[0-9a-f-]{36}$" }),
        example: format!("/orders/{}", examples::order_id()).into(),
    };
    let refusals = vec![
        no_json(),
        Problem::malformed(
            "some fields are missing, given twice or of another type; see errors",
            errors(&[("customer_id", "must be a UUID"), ("items[0].quantity", "given twice")]),
        ),
        Problem::broken_off(),
        problem::bad_key(),
        Problem::foreign_origin(),
        Problem::too_slow(),
        problem::key_busy(),
        Problem::too_large(),
        Problem::wrong_media_type("the body must be application/json"),
        problem::impossible(errors(&[
            ("items[0].quantity", "must be at least 1"),
            ("items[0].unit_price", "has more than two decimals"),
        ])),
        problem::key_reused(),
        problem::not_placed(),
        problem::not_stored(),
        problem::outcome_unknown(examples::order_id()),
        problem::role_may_not(Role::Viewer, Role::places),
    ];
    Operation {
        method: "post",
        path: "/orders",
        id: "placeOrder",
        group: "Orders",
        summary: "Place an order",
        about: "Answered as soon as the order is stored, whatever the rest of the system does. \
            With an `Idempotency-Key` a retry gets the first answer again, byte by byte, and \
            creates no second order: retries are safe after a broken connection. Only a 201 is \
            stored for a key. A 503 means that nothing was stored, except for `outcome-unknown`, \
            which names the order to check.",
        parameters: vec![key(), traceparent()],
        body: vec![Example::new("order", "Two of one product.", examples::draft())],
        answers: limited([created.with_header(location)], refusals),
    }
}

fn list() -> Operation {
    let page = Listed {
        orders: vec![examples::confirmed()],
        next_cursor: Some(examples::order_id().simple().to_string()),
    };
    let found = Example::of("page", "One order, and there are more.", &page);
    let wrong = Problem::malformed(
        "parameter validation failed; see errors",
        errors(&[("limit", &format!("must be between 1 and {LIMIT_MAX}"))]),
    );
    let limit_about = format!("Page size; {LIMIT} by default.");
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT });
    let cursor = json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" });
    let cursor_example = examples::order_id().simple().to_string();
    let status = schema_of("Status");
    Operation {
        method: "get",
        path: "/orders",
        id: "listOrders",
        group: "Orders",
        summary: "List orders",
        about: "Newest first, page by page. Pass a page's `next_cursor` to get the next page; new \
            orders do not shift the pages.",
        parameters: vec![
            query("status", "Filter by status.", status, Status::Confirmed.name().into()),
            query("customer_id", "Filter by customer.", uuid(), json!(CUSTOMER)),
            query("limit", &limit_about, limit, 10.into()),
            query("cursor", "`next_cursor` of the page before.", cursor, cursor_example.into()),
        ],
        body: vec![],
        answers: limited(
            [Answer::new(StatusCode::OK, "A page of orders.", "OrderList", vec![found])],
            vec![wrong, Problem::database_busy()],
        ),
    }
}

fn show() -> Operation {
    let shown = vec![
        Example::of("confirmed", "At its end.", &examples::confirmed()),
        Example::of("under-way", "Paid; inventory is next.", &examples::under_way()),
    ];
    Operation {
        method: "get",
        path: "/orders/{id}",
        id: "getOrder",
        group: "Orders",
        summary: "Show an order",
        about: "Its status, its timeline (each event with time, publisher and cause) and, until it \
            is final, the services whose steps are missing.",
        parameters: vec![id()],
        body: vec![],
        answers: limited(
            [Answer::new(StatusCode::OK, "The order.", "Order", shown)],
            vec![unknown(), Problem::database_busy()],
        ),
    }
}

fn cancel() -> Operation {
    let accepted = json!({
        "order_id": examples::order_id(), "status": Status::PaymentApproved, "cancel": "accepted",
    });
    let accepted = Example::of("accepted", "The order will be cancelled.", &accepted);
    let about = "Accepted: after this the order never ends `CONFIRMED`.";
    Operation {
        method: "post",
        path: "/orders/{id}/cancel",
        id: "cancelOrder",
        group: "Orders",
        summary: "Cancel an order",
        about: "Possible until the order is final; completed steps are compensated. A repeated \
            cancel, or one of an order that is already being compensated, is accepted and changes \
            nothing.",
        parameters: vec![id(), reason(), traceparent()],
        body: vec![],
        answers: limited(
            [Answer::new(StatusCode::ACCEPTED, about, "Cancellation", vec![accepted])],
            vec![
                problem::long_reason(),
                Problem::foreign_origin(),
                problem::role_may_not(Role::Viewer, Role::places),
                unknown(),
                problem::too_late(Status::Confirmed),
                Problem::database_busy(),
            ],
        ),
    }
}

fn follow() -> Operation {
    let about = "`event: step` with a Step for each entry of the timeline, past ones first; then \
        `event: end` with the final status, and the stream ends.";
    let end = json!({
        "type": "object", "properties": { "status": schema_of("Status") }, "required": ["status"],
    });
    let kinds = [("step", schema_of("Step")), ("end", end)];
    let last = Parameter {
        place: "header",
        name: "Last-Event-ID",
        about: format!(
            "The last received `id`. With that of the event `end`, `{END}`, the answer is 204."
        ),
        schema: json!({ "type": "string" }),
        example: END.into(),
    };
    Operation {
        method: "get",
        path: "/orders/{id}/events",
        id: "followOrder",
        group: "Streams",
        summary: "Follow an order",
        about: "A stream that ends when the order is final. A reconnect repeats all steps. A \
            browser's `EventSource` reconnects after the end too: close it at `end`, or let it be \
            answered 204, which ends it.",
        parameters: vec![id(), last],
        body: vec![],
        answers: limited(
            [
                Answer::stream(about, &kinds, &examples::stream()),
                Answer::empty(StatusCode::NO_CONTENT, "All was sent before: do not reconnect."),
            ],
            vec![unknown(), too_many(), Problem::database_busy()],
        ),
    }
}

fn news() -> Operation {
    let about = "`event: said` with a News for each event of any order, as order receives it; \
        `event: missed` where events were skipped because the client was too slow or disconnected \
        for too long. It never ends.";
    let last = Parameter {
        place: "header",
        name: "Last-Event-ID",
        about: format!(
            "The last received `id`: later events of the {CAUGHT_UP_MAX} newest orders are sent \
             first, preceded by `missed` where these do not reach back so far. A value that is no \
             event id is ignored."
        ),
        schema: json!({ "type": "string" }),
        example: json!(examples::order_id()),
    };
    let kinds = [("said", schema_of("News")), ("missed", missed())];
    Operation {
        method: "get",
        path: "/orders/events",
        id: "listenToEvents",
        group: "Streams",
        summary: "Follow all orders",
        about: "The stream behind `saga tail`. After a reconnect an event may be repeated.",
        parameters: vec![last],
        body: vec![],
        answers: limited([Answer::stream(about, &kinds, &examples::news())], vec![too_many()]),
    }
}

/// The event for a reader that has missed events: at least this many batches.
fn missed() -> Value {
    json!({
        "type": "object", "properties": { "batches": { "type": "integer" } },
        "required": ["batches"],
    })
}

fn endings() -> Operation {
    let ended = [Ending { order_id: examples::order_id(), status: Status::Confirmed }];
    let ended = serde_json::to_string(&ended).expect("an ending is plain data");
    let about = "`event: ended` with an array of `order_id` and `status`, whenever orders have \
        ended; `event: missed` where the client is too slow and has to query each order. It never \
        ends.";
    let ends = json!({ "type": "array", "items": schema_of("Ending") });
    let kinds = [("ended", ends), ("missed", missed())];
    Operation {
        method: "get",
        path: "/orders/endings",
        id: "listenToEndings",
        group: "Streams",
        summary: "Follow the final statuses",
        about: "For clients with many orders in flight, instead of polling each. It covers orders \
            whose last event this process received: with several replicas, subscribe to each.",
        parameters: vec![],
        body: vec![],
        answers: limited(
            [Answer::stream(about, &kinds, &format!("event: ended\ndata: {ended}\n\n"))],
            vec![too_many()],
        ),
    }
}

fn service() -> [Operation; 5] {
    let get = |path, id, summary, about, answers| Operation {
        method: "get",
        path,
        id,
        group: "Service",
        summary,
        about,
        parameters: vec![],
        body: vec![],
        answers,
    };
    let health = |status: &str, about| {
        let example = Example::of(status, about, &json!({ "status": status }));
        Answer::new(StatusCode::OK, about, "Health", vec![example])
    };
    let not_ready = vec![Problem::not_ready("broker not connected")];
    let with = |answer, refusals| [vec![answer], Answer::refusals(refusals)].concat();
    let openapi =
        json!({ "openapi": "3.1.1", "info": { "title": "…", "version": "…" }, "paths": {} });
    let openapi = Answer {
        schema: json!({ "type": "object", "required": ["openapi", "info", "paths"] }),
        examples: vec![Example::of("shortened", "Its frame.", &openapi)],
        ..Answer::text("application/json", "This document.", "")
    };
    [
        get(
            "/healthz",
            "isAlive",
            "Is it alive?",
            "Liveness: answers without database and broker.",
            vec![health("alive", "It is.")],
        ),
        get(
            "/readyz",
            "isReady",
            "Is it ready?",
            "Readiness: database and broker are connected. Orders are accepted without the broker \
             too.",
            with(health("ready", "It is."), not_ready),
        ),
        get(
            "/metrics",
            "readMetrics",
            "Metrics",
            "For Prometheus. Where keys are required, for viewers and operators.",
            with(
                Answer::text("text/plain", "All of them.", METRICS),
                not_let_in()
                    .into_iter()
                    .chain([
                        problem::role_may_not(Role::Client, Role::sees_all),
                        Problem::internal(),
                        Problem::too_many_requests(1),
                        Problem::database_away(),
                    ])
                    .collect(),
            ),
        ),
        get("/openapi.json", "readContract", "This contract", "OpenAPI 3.1.", vec![openapi]),
        get(
            "/docs",
            "readDocs",
            "This contract, for people",
            "One page; it loads nothing from elsewhere.",
            vec![Answer::text(
                "text/html",
                "The page.",
                "<!DOCTYPE html>\n<html lang=\"en\">…</html>",
            )],
        ),
    ]
}

const METRICS: &str = "# HELP orders_placed_total orders answered 201 for the first time\n# TYPE orders_placed_total counter\norders_placed_total 42\n";

/// Adds the answers of any route that is limited and needs the database.
fn limited<const N: usize>(answers: [Answer; N], mut refusals: Vec<Problem>) -> Vec<Answer> {
    refusals.extend(not_let_in());
    refusals.extend([Problem::too_many_requests(1), Problem::internal(), Problem::overloaded()]);
    let away = Problem::database_away();
    if refusals.iter().all(|one| one.name() != away.name()) {
        refusals.push(away);
    }
    answers.into_iter().chain(Answer::refusals(refusals)).collect()
}

/// The answers to keys and tokens.
fn not_let_in() -> [Problem; 5] {
    [
        problem::no_key(),
        problem::unknown_key(),
        problem::invalid_token("it has expired"),
        problem::no_role(),
        problem::issuer_away(),
    ]
}

fn no_json() -> Problem {
    let why = serde_json::from_str::<Value>("{").expect_err("it is cut off");
    Problem::no_json(&why)
}

fn too_many() -> Problem {
    Problem::too_many_streams(256)
}

fn unknown() -> Problem {
    problem::no_such_order(examples::order_id())
}

fn errors(wrong: &[(&str, &str)]) -> Errors {
    wrong.iter().map(|(field, why)| ((*field).into(), vec![(*why).into()])).collect()
}

fn link(operation: &str, about: &str) -> Value {
    let parameters = json!({ "id": "$response.body#/order_id" });
    json!({ "operationId": operation, "parameters": parameters, "description": about })
}
