//! Lists the parameters of operations.

use crate::{examples, model::Parameter, schemas::uuid};
use order::{acts::REASON_MAX, http::problem::KEY_MAX};
use serde_json::{Value, json};

pub fn id() -> Parameter {
    Parameter {
        place: "path",
        name: "id",
        about: "The order's id.".into(),
        schema: uuid(),
        example: json!(examples::order_id()),
    }
}

pub fn query(name: &'static str, about: &str, schema: Value, example: Value) -> Parameter {
    Parameter { place: "query", name, about: about.into(), schema, example }
}

pub fn reason() -> Parameter {
    let schema = json!({ "type": "string", "maxLength": REASON_MAX });
    let about = "Why an operator cancels it; recorded with the operator's act, else ignored.";
    query("reason", about, schema, "fraud".into())
}

pub fn key() -> Parameter {
    let schema = json!({
        "type": "string", "minLength": 1, "maxLength": KEY_MAX, "pattern": "^[\\t -~]*[!-~][\\t -~]*$",
    });
    let about = format!(
        "A text chosen by the client, 1 to {KEY_MAX} printable ASCII characters, new for each \
         order. Spaces and tabs around it are ignored; within it they count, and quotes are part \
         of it."
    );
    let example = "a3f1c2d4-checkout-17".into();
    Parameter { place: "header", name: "Idempotency-Key", about, schema, example }
}

pub fn traceparent() -> Parameter {
    Parameter {
        place: "header",
        name: "traceparent",
        about: "W3C Trace Context: the order continues the client's trace. An invalid value is \
             ignored."
            .into(),
        schema: json!({ "type": "string" }),
        example: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
    }
}
