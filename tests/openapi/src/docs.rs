//! Renders `/docs`, the contract for people, from the source of `openapi.json`.

use crate::{
    ABOUT, Build,
    model::{Answer, Operation, Parameter},
    operations::{self, GROUPS},
    schemas::{self, Field, Schema, Shape},
};
use askama::Template;
use serde_json::Value;
use service::http::Problem;
use std::collections::BTreeMap;

#[derive(Template)]
#[template(path = "docs.html")]
pub struct Docs {
    about: &'static str,
    operations: Vec<Operation>,
    schemas: Vec<Schema>,
    problems: Problems,
}

/// Each kind of problem, and the operations that may answer with it.
type Problems = BTreeMap<String, (Value, Vec<&'static str>)>;

pub fn page(build: Build) -> String {
    let operations = operations::all();
    let problems = problems(&operations);
    let page = Docs { about: ABOUT, operations, schemas: schemas::all(build), problems };
    page.render().expect("a page is text")
}

fn problems(operations: &[Operation]) -> Problems {
    let mut problems = Problems::new();
    for anywhere in anywhere() {
        let value = serde_json::to_value(&anywhere).expect("a problem is plain data");
        problems.insert(anywhere.name().to_owned(), (value, vec![]));
    }
    for operation in operations {
        let refusals = operation.answers.iter().filter(|answer| answer.is_refusal());
        for example in refusals.flat_map(|answer| &answer.examples) {
            let known = problems.entry(example.name.clone());
            let (_, asked) = known.or_insert_with(|| (example.value(), vec![]));
            if !asked.contains(&operation.id) {
                asked.push(operation.id);
            }
        }
    }
    problems
}

/// For any request.
fn anywhere() -> [Problem; 3] {
    [Problem::no_such_page(), Problem::wrong_method(), Problem::not_our_host()]
}

/// The `type` of each.
pub fn kinds() -> Vec<Value> {
    let problems = problems(&operations::all());
    problems.into_values().map(|(mut problem, _)| problem["type"].take()).collect()
}

impl Docs {
    fn of(&self, group: &str) -> impl Iterator<Item = &Operation> {
        self.operations.iter().filter(move |operation| operation.group == group)
    }

    fn fields<'s>(&self, schema: &'s Schema) -> &'s [Field] {
        match &schema.shape {
            Shape::Object(fields) => fields,
            Shape::Plain(_) => &[],
        }
    }

    fn draft(&self) -> &str {
        self.operations
            .iter()
            .find_map(|operation| operation.body.first())
            .map_or("", |it| &it.text)
    }
}

impl Operation {
    /// The request as a `curl` command.
    fn curl(&self) -> String {
        let path = self.path.replace("{id}", "$ORDER");
        let asked: Vec<_> = self.parameters.iter().filter_map(Parameter::in_query).collect();
        let query = if asked.is_empty() { String::new() } else { format!("?{}", asked.join("&")) };
        let mut words = vec!["curl".to_owned()];
        words.extend((self.group == "Streams").then(|| "-N".into()));
        words.extend((self.method == "post").then(|| "-i".into()));
        words.extend((self.method == "post" && self.body.is_empty()).then(|| "-X POST".into()));
        words.push(format!("\"$BASE{path}{query}\""));
        let mut lines = vec![words.join(" ")];
        if let Some(body) = self.body.first() {
            lines.push("-H 'Content-Type: application/json'".into());
            let key = self.parameters.iter().find(|parameter| parameter.name == "Idempotency-Key");
            lines.extend(key.map(|key| format!("-H '{}: {}'", key.name, key.example_text())));
            lines.push(format!("-d '{}'", body.text));
        }
        lines.join(" \\\n  ")
    }
}

impl Parameter {
    /// A cursor has no example: it is valid only where it came from.
    fn in_query(&self) -> Option<String> {
        let is_told = self.place == "query" && self.name != "cursor";
        is_told.then(|| format!("{}={}", self.name, self.example_text()))
    }

    fn example_text(&self) -> String {
        match &self.example {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl Answer {
    fn is_refusal(&self) -> bool {
        self.status.is_client_error() || self.status.is_server_error()
    }

    fn class(&self) -> &'static str {
        if self.is_refusal() { "is-failed" } else { "is-confirmed" }
    }
}
