//! Describes the parts of an OpenAPI document that this service needs, in the order in which a
//! person reads them.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use service::http::Problem;

pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    pub id: &'static str,
    pub group: &'static str,
    pub summary: &'static str,
    pub about: &'static str,
    pub parameters: Vec<Parameter>,
    pub body: Vec<Example>,
    pub answers: Vec<Answer>,
}

#[derive(Clone)]
pub struct Parameter {
    pub place: &'static str,
    pub name: &'static str,
    pub about: String,
    pub schema: Value,
    pub example: Value,
}

#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub about: String,
    pub headers: Vec<Parameter>,
    pub media_type: &'static str,
    pub schema: Value,
    pub examples: Vec<Example>,
    pub links: Value,
}

#[derive(Clone)]
pub struct Example {
    pub name: String,
    pub about: String,
    /// The example as it stands on the wire, indented.
    pub text: String,
}

const RETRY_AFTER: &str = "Retry-After";
pub const JSON: &str = "application/json";
pub const PROBLEM: &str = "application/problem+json";

pub fn schema_of(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

impl Operation {
    pub fn json(&self) -> Value {
        let answers: Map<_, _> = self
            .answers
            .iter()
            .map(|answer| (answer.status.as_str().into(), answer.json()))
            .collect();
        let mut json = json!({
            "operationId": self.id,
            "tags": [self.group],
            "summary": self.summary,
            "description": self.about,
            "responses": answers,
        });
        // Without a key too, where none is required.
        if self.answers.iter().any(|answer| answer.status == StatusCode::UNAUTHORIZED) {
            json["security"] = json!([{}, { "key": [] }]);
        }
        if !self.parameters.is_empty() {
            json["parameters"] = self.parameters.iter().map(Parameter::json).collect();
        }
        if !self.body.is_empty() {
            let content = content(JSON, &schema_of("NewOrder"), &self.body);
            json["requestBody"] = json!({ "required": true, "content": content });
        }
        json
    }
}

impl Parameter {
    pub fn is_required(&self) -> bool {
        self.place == "path"
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "in": self.place,
            "required": self.is_required(),
            "description": self.about,
            "schema": self.schema,
            "example": self.example,
        })
    }

    fn header_json(&self) -> Value {
        json!({
            "required": true,
            "description": self.about,
            "schema": self.schema,
            "example": self.example,
        })
    }
}

impl Answer {
    pub fn new(status: StatusCode, about: &str, schema: &str, examples: Vec<Example>) -> Self {
        let (about, schema) = (about.into(), schema_of(schema));
        let (headers, links) = (vec![], json!({}));
        Self { status, about, headers, media_type: JSON, schema, examples, links }
    }

    /// An answer of another type than JSON.
    pub fn text(media_type: &'static str, about: &str, example: &str) -> Self {
        let examples = vec![Example::new("whole", "As it is sent.", example.into())];
        let schema = json!({ "type": "string" });
        Self { media_type, schema, ..Self::new(StatusCode::OK, about, "", examples) }
    }

    /// A stream of events. The schema is that of each event, whose data is JSON.
    pub fn stream(about: &str, kinds: &[(&str, Value)], example: &str) -> Self {
        let kinds = kinds.iter().map(|(kind, data)| {
            let data = json!({
                "type": "string", "contentMediaType": JSON, "contentSchema": data,
            });
            let properties = json!({
                "event": { "const": kind }, "data": data, "id": { "type": "string" },
            });
            json!({ "type": "object", "properties": properties, "required": ["event", "data"] })
        });
        let schema = json!({ "oneOf": kinds.collect::<Vec<_>>() });
        Self { schema, ..Self::text("text/event-stream", about, example) }
    }

    /// An answer without a body.
    pub fn empty(status: StatusCode, about: &str) -> Self {
        Self::new(status, about, "", vec![])
    }

    #[must_use]
    pub fn with_header(mut self, header: Parameter) -> Self {
        self.headers.push(header);
        self
    }

    /// Answers, one per status.
    pub fn refusals(problems: Vec<Problem>) -> Vec<Self> {
        let mut answers: Vec<Self> = Vec::new();
        for problem in problems {
            let example = Example::of_problem(&problem);
            match answers.iter_mut().find(|answer| answer.status == problem.status()) {
                Some(answer) => {
                    let but_one = format!("{}; or: {}", answer.about, problem.title());
                    answer.about = but_one;
                    answer.examples.push(example);
                    // A header that not every one of them has is not promised.
                    answer.headers.retain(|header| {
                        header.name != RETRY_AFTER || problem.retry_after_s().is_some()
                    });
                }
                None => {
                    let about = problem.title();
                    let new = Self::new(problem.status(), about, "Problem", vec![example]);
                    let new = Self { media_type: PROBLEM, ..new };
                    let retry = problem.retry_after_s().map(retry_after);
                    let challenge = (problem.status() == StatusCode::UNAUTHORIZED).then(challenge);
                    let headers = retry.into_iter().chain(challenge);
                    answers.push(headers.fold(new, Self::with_header));
                }
            }
        }
        answers.sort_by_key(|answer| answer.status);
        answers
    }

    fn json(&self) -> Value {
        let headers: Map<_, _> =
            self.headers.iter().map(|one| (one.name.into(), one.header_json())).collect();
        let mut json = json!({ "description": self.about });
        if !self.examples.is_empty() {
            json["content"] = content(self.media_type, &self.schema, &self.examples);
        }
        if !headers.is_empty() {
            json["headers"] = headers.into();
        }
        if self.links != json!({}) {
            json["links"] = self.links.clone();
        }
        json
    }
}

fn challenge() -> Parameter {
    Parameter {
        place: "header",
        name: "WWW-Authenticate",
        about: "The scheme of a key.".into(),
        schema: json!({ "type": "string" }),
        example: "Bearer realm=\"orders\"".into(),
    }
}

fn retry_after(seconds: u32) -> Parameter {
    Parameter {
        place: "header",
        name: RETRY_AFTER,
        about: "Seconds until it is worth asking again.".into(),
        schema: json!({ "type": "integer", "minimum": 1 }),
        example: seconds.into(),
    }
}

fn content(media_type: &str, schema: &Value, examples: &[Example]) -> Value {
    let is_json = media_type.ends_with("json");
    let examples: Map<_, _> = examples
        .iter()
        .map(|example| {
            let value = if is_json { example.value() } else { example.text.clone().into() };
            (example.name.clone(), json!({ "summary": example.about, "value": value }))
        })
        .collect();
    json!({ media_type: { "schema": schema, "examples": examples } })
}

impl Example {
    pub fn new(name: &str, about: &str, text: String) -> Self {
        Self { name: name.into(), about: about.into(), text }
    }

    pub fn of(name: &str, about: &str, what: &impl Serialize) -> Self {
        let text = serde_json::to_string_pretty(what).expect("an example is plain data");
        Self::new(name, about, text)
    }

    fn of_problem(problem: &Problem) -> Self {
        Self::of(problem.name(), problem.title(), problem)
    }

    pub fn value(&self) -> Value {
        serde_json::from_str(&self.text).expect("the example is JSON")
    }
}
