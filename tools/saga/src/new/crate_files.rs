//! Fills in the files of the new service's crate, and its events.

use std::iter::once;

use anyhow::{Context, Result};
use events::{EVENTS, type_name};
use serde_json::Value;

use super::plan::Plan;
use super::request::Request;

const MANIFEST: &str = include_str!("template/Cargo.toml.txt");
const MIGRATION: &str = include_str!("template/migration.sql.txt");
const MAIN: &str = include_str!("template/main.rs.txt");
const LIB: &str = include_str!("template/lib.rs.txt");
const STATE: &str = include_str!("template/state.rs.txt");
const STORE: &str = include_str!("template/store.rs.txt");
const ON: &str = include_str!("template/on.rs.txt");
const REACTION: &str = include_str!("template/reaction.rs.txt");
const TEST: &str = include_str!("template/test.rs.txt");
const EVENT_FILE: &str = include_str!("template/event.rs.txt");
const EVENT: &str = include_str!("template/event_type.rs.txt");

/// In the examples of events that have no fixture.
const ORDER: &str = "019b8e07-467b-7000-8000-000000000001";

/// Of the lines of our sources.
const COLUMNS_MAX: usize = 100;

pub fn add(plan: &mut Plan, request: &Request) -> Result<()> {
    let Request { name, hears, says } = request;
    let fields: Vec<_> = hears.iter().map(|event| field(event)).collect();
    let each =
        |text: &dyn Fn(&str) -> String| fields.iter().map(|field| text(field)).collect::<Vec<_>>();
    let types: Vec<_> = hears.iter().map(|event| type_name(event)).collect();
    let registrations: String = types.iter().map(|it| format!("\n        .on::<{it}>()")).collect();
    let all = once("order_id".to_owned()).chain(fields.iter().cloned());
    let arrays = (2..2 + fields.len()).map(|at| format!("${at}::BOOL[]"));
    let arrays = once("$1::UUID[]".to_owned()).chain(arrays);

    let folder = format!("services/{name}");
    let mut file = |path: &str, template: &str, values: &[(&str, &str)]| {
        let text = filled(template, &[&[("@name", name.as_str())], values].concat());
        plan.add(&format!("{folder}/{path}"), text)
    };
    file("Cargo.toml", MANIFEST, &[])?;
    let columns = each(&|it| format!("    {it} BOOLEAN NOT NULL DEFAULT FALSE,\n")).concat();
    file(&format!("migrations/V1__{name}.sql"), MIGRATION, &[("@columns", &columns)])?;
    file("src/main.rs", MAIN, &[])?;
    let use_events = format!("use events::{};", imports(types.clone()));
    let lib = [("@use_events", use_events.as_str()), ("@registrations", &registrations)];
    file("src/lib.rs", LIB, &lib)?;
    let of_state = each(&|it| format!("    pub {it}: bool,\n")).concat();
    file("src/state.rs", STATE, &[("@fields", &of_state)])?;
    let modules = each(&|it| format!("mod {it};\n")).concat();
    file("src/on.rs", &filled(ON, &[("@modules\n", &modules)]), &[])?;
    let selected = wrapped(all.clone(), 20);
    let store = [
        ("@selected", selected.as_str()),
        ("@inserted", &wrapped(all, 18)),
        ("@columns", &each(&|it| format!("        {it}: bool,\n")).concat()),
        ("@from_row", &each(&|it| format!("{it}: row.{it}")).join(", ")),
        ("@arrays", &wrapped(arrays, 17)),
        ("@excluded", &each(&|it| format!("{it} = EXCLUDED.{it}")).join(",\n                 ")),
        (
            "@each",
            &each(&|it| format!("        .each(changed.iter().map(|(_, state)| state.{it}))\n"))
                .concat(),
        ),
    ];
    file("src/store.rs", STORE, &store)?;
    for (event, answer) in request.steps() {
        let others = if fields.len() > 1 { ", ..self" } else { "" };
        let path = format!("src/on/{}.rs", field(event));
        file(&path, &reaction(event, answer), &[("@others", others)])?;
    }
    file(&format!("tests/{name}.rs"), &test(request), &[])?;
    for event in hears {
        let example = example(plan, event)?;
        plan.add(&format!("{folder}/tests/{event}.json"), example)?;
    }
    if !says.is_empty() {
        let said = says.iter().map(|event| {
            let (type_name, event) = (type_name(event), event.as_str());
            filled(EVENT, &[("@type", &type_name), ("@event", event), ("@name", name)])
        });
        let text = filled(EVENT_FILE, &[("@name", name.as_str())]) + &said.collect::<String>();
        plan.add(&format!("shared/events/src/{name}.rs"), text)?;
    }
    Ok(())
}

/// The longer names come first, since some begin like others.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut values = values.to_vec();
    values.sort_by_key(|(name, _)| usize::MAX - name.len());
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// A list in SQL, which begins at this column, and whose lines fit the screen.
fn wrapped(items: impl Iterator<Item = String>, column: usize) -> String {
    let mut lines = Vec::<String>::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if column + line.len() + item.len() < COLUMNS_MAX - 3 => {
                *line += &format!(", {item}");
            }
            _ => lines.push(item),
        }
    }
    lines.join(&format!(",\n{:column$}", ""))
}

fn field(event: &str) -> String {
    event.replace(['.', '-'], "_")
}

fn imports(mut types: Vec<String>) -> String {
    types.sort();
    match types.as_slice() {
        [one] => one.clone(),
        all => format!("{{{}}}", all.join(", ")),
    }
}

fn reaction(event: &str, answer: Option<&str>) -> String {
    let heard = type_name(event);
    let said = answer.map(type_name);
    let value = said.as_ref().map(|it| format!("{it} {{ order_id: event.order_id }}"));
    let say = value.as_ref().map(|it| format!("\n            .and_say(&{it})"));
    let then = match &value {
        Some(it) => format!(".then_says(&{it})"),
        None => ".then_says_nothing()".to_owned(),
    };
    let values = [
        ("@heard", heard.as_str()),
        ("@hears", event),
        ("@answers", said.as_deref().unwrap_or("(nothing)")),
        ("@imports", &imports([&heard].into_iter().chain(&said).cloned().collect())),
        ("@event", if said.is_some() { "event" } else { "_event" }),
        ("@field", &field(event)),
        ("@say", &say.unwrap_or_default()),
        ("@then", &then),
    ];
    filled(REACTION, &values)
}

fn test(request: &Request) -> String {
    let (event, answer) = request.steps().next().expect("it hears something");
    let heard = type_name(event);
    let said = answer.map(type_name);
    let mut queues = format!("({}::NAME, {heard}::NAME)", request.name);
    let mut check = String::new();
    if let Some(said) = &said {
        queues += &format!(", (\"listener\", {said}::NAME)");
        check = format!(
            "\n        let answers = queue_name(\"listener\", {said}::NAME);\n        \
             until(\"it is answered once\", async || broker.messages(&answers).len() == 1).await;"
        );
    }
    let used = ["Event".to_owned(), heard.clone()].into_iter().chain(said);
    let used = imports(used.collect());
    let values = [
        ("{@imports}", used.as_str()),
        ("@queues", &queues),
        ("@hears", event),
        ("@heard_answer", &check),
        ("@heard", &heard),
        ("@fn", &field(event)),
        ("@field", &field(event)),
    ];
    filled(TEST, &values)
}

/// A body of the event: that of the fixture, where it is one of the saga's.
fn example(plan: &Plan, event: &str) -> Result<String> {
    if !EVENTS.contains(&event) {
        return Ok(format!("{{ \"order_id\": \"{ORDER}\" }}\n"));
    }
    let path = format!("shared/events/fixtures/{event}.1.json");
    let fixture: Value = serde_json::from_str(&plan.read(&path)?).context(path)?;
    Ok(format!("{:#}\n", fixture["body"]))
}
