//! Lists the schemas of requests and answers; their limits are those that the code checks.

use crate::{Build, docs, model::schema_of};
use events::{EVENTS, Money, PaymentMethod, SERVICES};
use order::{
    Status,
    http::{ITEMS_MAX, QUANTITY_MAX},
};
use serde_json::{Map, Value, json};

pub struct Schema {
    pub name: &'static str,
    pub about: &'static str,
    pub shape: Shape,
}

pub enum Shape {
    Object(Vec<Field>),
    Plain(Value),
}

#[derive(Clone)]
pub struct Field {
    pub name: &'static str,
    pub about: &'static str,
    pub schema: Value,
    pub is_required: bool,
}

impl Schema {
    pub fn json(&self) -> Value {
        let mut json = match &self.shape {
            Shape::Plain(value) => value.clone(),
            Shape::Object(fields) => {
                let properties: Map<_, _> =
                    fields.iter().map(|field| (field.name.into(), field.json())).collect();
                let required = fields.iter().filter(|field| field.is_required);
                let required: Vec<_> = required.map(|field| field.name).collect();
                json!({ "type": "object", "properties": properties, "required": required })
            }
        };
        json["description"] = self.about.into();
        json
    }
}

impl Field {
    fn json(&self) -> Value {
        let mut json = self.schema.clone();
        json["description"] = self.about.into();
        json
    }
}

/// In the order in which they are met.
pub fn all(build: Build) -> Vec<Schema> {
    let mut all = orders();
    all.extend(answers());
    all.extend(words(build));
    all
}

fn orders() -> Vec<Schema> {
    let items_about = "The order's lines; a product may appear on several.";
    let items = json!({ "type": "array", "items": schema_of("Item"), "minItems": 1, "maxItems": ITEMS_MAX });
    let quantity = json!({ "type": "integer", "minimum": 1, "maximum": QUANTITY_MAX });
    let code = json!({ "type": ["string", "null"] });
    let timeline = json!({ "type": "array", "items": schema_of("Step"), "minItems": 1 });
    let waits_for = json!({ "type": "array", "items": schema_of("Waiting") });
    vec![
        object(
            "NewOrder",
            "An order to place.",
            vec![
                field("customer_id", "Whose order it is.", uuid()),
                field("payment_method", "How it is paid.", schema_of("PaymentMethod")),
                field("items", items_about, items.clone()),
            ],
        ),
        object(
            "Item",
            "A quantity of one product.",
            vec![
                field("product_id", "Any product; an unknown one is out of stock.", uuid()),
                field("quantity", "A whole number.", quantity),
                field("unit_price", "Price per piece.", schema_of("Money")),
            ],
        ),
        object(
            "Order",
            "An order with its timeline.",
            vec![
                field("order_id", "Given by the service; orders sort by age.", uuid()),
                field("customer_id", "Whose order it is.", uuid()),
                field("payment_method", "How it is paid.", schema_of("PaymentMethod")),
                field("status", "Its status.", schema_of("Status")),
                field("total_amount", "Of all items, without freight.", schema_of("Money")),
                field("items", items_about, items),
                field("tracking_code", "Of the shipment, while there is one.", code),
                field("created_at", "When it was placed.", time()),
                field("updated_at", "Time of its latest event.", time()),
                field("timeline", "Its events, by time.", timeline),
                Field {
                    is_required: false,
                    ..field(
                        "waits_for",
                        "The missing steps; empty once the order is final. Absent from the answer \
                         to a POST, which is stored and repeated.",
                        waits_for,
                    )
                },
            ],
        ),
    ]
}

fn answers() -> Vec<Schema> {
    let orders = json!({ "type": "array", "items": schema_of("Order") });
    let cursor = json!({ "type": ["string", "null"], "pattern": "^[0-9a-f]{32}$" });
    let cause = json!({ "type": ["string", "null"], "format": "uuid" });
    let answers = json!({ "type": "array", "items": schema_of("Event") });
    let errors = json!({
        "type": "object",
        "additionalProperties": { "type": "array", "items": { "type": "string" }, "minItems": 1 },
    });
    let after = json!({ "anyOf": [schema_of("Event"), { "type": "null" }] });
    let step = vec![
        field("event", "The event's name.", schema_of("Event")),
        field("event_id", "The same on every repetition.", uuid()),
        field("service", "Its publisher.", schema_of("Service")),
        field("at", "Its time.", time()),
        field("caused_by", "The event that caused it; null for a root event.", cause),
        field(
            "detail",
            "Details for people: `reason`, `amount`, `provider_ref`, \
                     `attempts`, `units`, `short`, `tracking_code`, `freight`, and the like.",
            json!({ "type": "object" }),
        ),
    ];
    vec![
        object("Step", "One event of an order.", step.clone()),
        object(
            "News",
            "One event of any order.",
            [field("order_id", "Of the order.", uuid())]
                .into_iter()
                .chain(step)
                .chain([
                    field("after", "The event that caused it.", after),
                    field(
                        "inferred",
                        "Inferred from its answer: order does not consume this event.",
                        json!({ "type": "boolean" }),
                    ),
                ])
                .collect(),
        ),
        object(
            "Waiting",
            "A missing step of an order.",
            vec![
                field("service", "The service that has to act.", schema_of("Service")),
                field("after", "The event that it has to handle.", schema_of("Event")),
                field("for", "The events that it may publish.", answers),
                field("since", "Time of that event.", time()),
                field(
                    "stuck",
                    "The compensation has made no progress for a whole `ORDER_DEADLINE`: an \
                     operator has to act.",
                    json!({ "type": "boolean" }),
                ),
            ],
        ),
        object(
            "OrderList",
            "A page of orders, newest first.",
            vec![
                field("orders", "At most `limit`.", orders),
                field("next_cursor", "Asks for the next page; null on the last.", cursor),
            ],
        ),
        object(
            "Cancellation",
            "The order will be cancelled.",
            vec![
                field("order_id", "Of the order.", uuid()),
                field("status", "Its current status.", schema_of("Status")),
                field("cancel", "Always `accepted`.", json!({ "const": "accepted" })),
            ],
        ),
        object(
            "Ending",
            "How an order has ended.",
            vec![
                field("order_id", "Of the order.", uuid()),
                field("status", "A final one.", schema_of("Status")),
            ],
        ),
        object(
            "Health",
            "The service's health.",
            vec![field("status", "`alive` or `ready`.", json!({ "enum": ["alive", "ready"] }))],
        ),
        object(
            "Problem",
            "An error, as in RFC 9457.",
            vec![
                field(
                    "type",
                    "Identifies the kind of problem; stable.",
                    json!({ "type": "string", "examples": docs::kinds() }),
                ),
                field("title", "The kind, for people.", json!({ "type": "string" })),
                field(
                    "status",
                    "The status of the answer.",
                    json!({ "type": "integer", "minimum": 400, "maximum": 599 }),
                ),
                field("detail", "The specific error.", json!({ "type": "string" })),
                Field {
                    is_required: false,
                    ..field(
                        "errors",
                        "All errors by field or parameter: \
                         `items[0].quantity`.",
                        errors,
                    )
                },
                Field {
                    is_required: false,
                    ..field(
                        "request_id",
                        "As in the header `X-Request-Id`: the client's own, or a new one.",
                        json!({ "type": "string" }),
                    )
                },
            ],
        ),
    ]
}

fn words(build: Build) -> Vec<Schema> {
    let methods = PaymentMethod::ALL.iter();
    let methods: Vec<_> =
        methods.filter(|method| build == Build::Demo || !method.is_demo()).collect();
    let methods_about = match build {
        Build::Demo => {
            "The last four ask the simulated provider for an ending: declined, unavailable, \
             approved at the third try, and approved after 5 seconds."
        }
        Build::Production => "How an order is paid.",
    };
    vec![
        plain(
            "Money",
            "An exact amount, with two decimals at most. The same maximum applies to an order's \
             total.",
            json!({ "type": "number", "minimum": 0, "maximum": Money::MAX }),
        ),
        plain("PaymentMethod", methods_about, json!({ "type": "string", "enum": methods })),
        plain(
            "Status",
            "An order's status. `CONFIRMED`, `PAYMENT_FAILED` and `CANCELLED` are final.",
            json!({ "type": "string", "enum": Status::ALL }),
        ),
        plain("Event", "`<service>.<what happened>`.", json!({ "type": "string", "enum": EVENTS })),
        plain("Service", "One of the four.", json!({ "type": "string", "enum": SERVICES })),
    ]
}

fn object(name: &'static str, about: &'static str, fields: Vec<Field>) -> Schema {
    Schema { name, about, shape: Shape::Object(fields) }
}

fn plain(name: &'static str, about: &'static str, value: Value) -> Schema {
    Schema { name, about, shape: Shape::Plain(value) }
}

fn field(name: &'static str, about: &'static str, schema: Value) -> Field {
    Field { name, about, schema, is_required: true }
}

pub fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}
