//! Formats `application/problem+json` as one line.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Problem {
    pub title: String,
    pub status: u16,
    #[serde(default)]
    pub detail: String,
    /// The error of each field.
    #[serde(default)]
    pub errors: BTreeMap<String, Vec<String>>,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.title, self.status)?;
        let each = self.errors.iter().flat_map(|(field, all)| all.iter().map(move |e| (field, e)));
        let errors: Vec<_> = each.map(|(field, error)| format!("{field} {error}")).collect();
        match (errors.is_empty(), self.detail.is_empty()) {
            (false, _) => write!(out, ": {}", errors.join("; ")),
            (true, false) => write!(out, ": {}", self.detail),
            (true, true) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_told() {
        let text = r#"{"type":"urn:x","title":"Validation failed","status":422,
            "detail":"validation failed; see errors",
            "errors":{"items[0].quantity":["must be at least 1"],"items":["a","b"]}}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        let line =
            "Validation failed (422): items a; items b; items[0].quantity must be at least 1";
        assert_eq!(problem.to_string(), line);
    }

    #[test]
    fn without_fields_its_detail_is_told() {
        let text = r#"{"title":"No such order","status":404,"detail":"there is no order 7"}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert_eq!(problem.to_string(), "No such order (404): there is no order 7");
    }
}
