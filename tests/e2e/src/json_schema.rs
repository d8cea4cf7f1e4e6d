//! Compares JSON with the schemas in docs/json: by what they use of JSON Schema, and stricter,
//! since a field that they do not name fails too.

use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/json/saga.schema.json");

/// The first difference of the output of this command.
pub fn differs(command: &str, found: &Value) -> Result<(), String> {
    let document: Value = serde_json::from_str(DOCUMENT).expect("it is JSON");
    let schema = &document["$defs"][command];
    assert!(schema.is_object(), "docs/json/saga.schema.json has no {command}");
    check(&document, schema, found, command)
}

fn check(document: &Value, schema: &Value, found: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return target.map_or(Ok(()), |schema| check(document, schema, found, at));
    }
    let types = &schema["type"];
    let fits = |name: &Value| match name.as_str() {
        Some("object") => found.is_object(),
        Some("array") => found.is_array(),
        Some("string") => found.is_string(),
        Some("integer") => found.is_i64() || found.is_u64(),
        Some("number") => found.is_number(),
        Some("boolean") => found.is_boolean(),
        Some("null") => found.is_null(),
        _ => panic!("{at}: a type that this cannot check: {name}"),
    };
    let is_any = types.is_null();
    let is_fit = || types.as_array().map_or_else(|| fits(types), |all| all.iter().any(fits));
    if !is_any && !is_fit() {
        return Err(format!("{at} is no {types}: {found}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(found)
    {
        return Err(format!("{at} is none of {words:?}: {found}"));
    }
    for (at_item, item) in found.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{at}[{at_item}]"))?;
    }
    let (Some(fields), true) = (found.as_object(), types == "object") else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        fields.get(name).ok_or_else(|| format!("{at} has no {name}: {found}"))?;
    }
    for (name, value) in fields {
        let (known, others) = (&schema["properties"][name], &schema["additionalProperties"]);
        match (known.is_null(), others) {
            (false, _) => check(document, known, value, &format!("{at}.{name}"))?,
            (true, Value::Object(_)) => check(document, others, value, &format!("{at}.{name}"))?,
            (true, Value::Bool(true)) => {}
            _ if !schema["properties"].is_object() => {}
            _ => return Err(format!("{at}.{name} is not documented: {value}")),
        }
    }
    Ok(())
}
