//! Writes schemas, sentences and examples as HTML.

use crate::docs::Docs;
use askama::filters::{Html, escape};
use serde_json::Value;

impl Docs {
    /// A sentence with `code` in it.
    pub fn prose(&self, text: &str) -> String {
        let parts = text.split('`').map(escaped).zip([false, true].into_iter().cycle());
        parts.map(|(part, code)| if code { format!("<code>{part}</code>") } else { part }).collect()
    }

    /// A schema's constraints, in a few words.
    pub fn kind(&self, schema: &Value) -> String {
        let text = |name: &str| schema[name].as_str().unwrap_or_default();
        if let Some(name) = text("$ref").rsplit('/').next().filter(|name| !name.is_empty()) {
            return format!("<a href=\"#{name}\">{name}</a>");
        }
        if let Some(values) = schema["enum"].as_array() {
            return values.iter().map(code).collect::<Vec<_>>().join(" ");
        }
        if !schema["const"].is_null() {
            return code(&schema["const"]);
        }
        let kinds: Vec<_> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        let named = |kind: &&str| match (*kind, text("format")) {
            ("array", _) => format!("list of {}", self.kind(&schema["items"])),
            ("string", "uuid") => "UUID".into(),
            ("string", "date-time") => "time".into(),
            ("string", _) => "text".into(),
            ("integer", _) => "whole number".into(),
            (other, _) => other.into(),
        };
        let kind = kinds.iter().map(named).collect::<Vec<_>>().join(" or ");
        kind + &bounds(schema)
    }

    /// JSON with its names, texts and numbers marked up.
    pub fn json(&self, text: &str) -> String {
        let mut html = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('"') {
            html += &escaped(&rest[..start]);
            let end = rest[start + 1..].find('"').map_or(rest.len(), |end| start + end + 2);
            let is_name = rest[end..].starts_with(':');
            let class = if is_name { "name" } else { "text" };
            html += &format!("<span class=\"{class}\">{}</span>", escaped(&rest[start..end]));
            rest = &rest[end..];
        }
        html + &escaped(rest)
    }
}

fn bounds(schema: &Value) -> String {
    let pairs = [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " of them"),
    ];
    let told = pairs.into_iter().filter_map(|(least, most, what)| {
        let (least, most) = (&schema[least], &schema[most]);
        (!least.is_null() && !most.is_null()).then(|| format!(", {least} to {most}{what}"))
    });
    told.collect()
}

fn code(value: &Value) -> String {
    format!("<code>{}</code>", escaped(value.as_str().unwrap_or_default()))
}

fn escaped(text: &str) -> String {
    escape(text, Html).map_or_else(|_| String::new(), |safe| safe.to_string())
}
