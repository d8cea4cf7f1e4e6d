//! Compares what `saga … --json` prints with its schema in docs/json: by what that uses of JSON
//! Schema, and stricter, since a field that it does not name fails too.

use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/json/saga.schema.json");

fn document() -> Value {
    serde_json::from_str(DOCUMENT).expect("it is JSON")
}

/// The commands that have a schema.
pub fn documented_commands() -> Vec<String> {
    document()["$defs"].as_object().expect("they have names").keys().cloned().collect()
}

/// What the command with these arguments printed, or a panic that names the first difference.
pub fn documented(arguments: &[&str], printed: &str) -> Value {
    let found = serde_json::from_str(printed);
    let found = found.unwrap_or_else(|why| panic!("saga {arguments:?}: {why}: {printed}"));
    let document = document();
    let is_it = |command: &String| {
        let (options, words): (Vec<_>, Vec<_>) =
            command.split(' ').skip(1).partition(|word| word.starts_with("--"));
        arguments.starts_with(&words) && options.iter().all(|option| arguments.contains(option))
    };
    let command = documented_commands().into_iter().filter(is_it).max_by_key(String::len);
    let command = command.unwrap_or_else(|| panic!("{arguments:?} has no schema in docs/json"));
    check(&document, &document["$defs"][&command], &found, &command)
        .unwrap_or_else(|why| panic!("{why}"));
    found
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
