//! Checks what a new service is to be called, hear and say.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, ensure};
use events::{ADD_ONS, EVENTS, SERVICES, said_by, type_name};

use super::plan::Plan;

#[derive(Clone, Debug)]
pub struct Request {
    pub name: String,
    pub hears: Vec<String>,
    pub says: Vec<String>,
}

/// Words of Rust and of Postgres, Rust's own crates, and logins that exist already.
const TAKEN: [&str; 66] = [
    "abstract", "admin", "alloc", "as", "async", "await", "become", "box", "break", "const",
    "continue", "core", "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn",
    "for", "gen", "guest", "if", "impl", "in", "keda", "let", "loop", "macro", "main", "match",
    "mod", "move", "mut", "none", "operator", "orders", "override", "payments", "postgres", "priv",
    "pub", "public", "ref", "return", "self", "static", "std", "struct", "super", "test", "trait",
    "true", "try", "type", "typeof", "unrouted", "unsafe", "unsized", "use", "virtual", "where",
    "while", "yield",
];
const NAME_MAX: usize = 20;
const EVENTS_SOURCE: &str = "shared/events/src";
/// As of a column's name, which Postgres would cut off.
const EVENT_MAX: usize = 63;
const CONTAINERS: [&str; 3] =
    ["docker-compose.yml", "deploy/docker/cluster.yml", "deploy/docker/tls.yml"];

impl Request {
    pub fn new(name: &str, hears: &[String], says: &[String]) -> Result<Self> {
        check_name(name)?;
        let known = known();
        for event in hears {
            ensure!(
                known.contains(event.as_str()),
                "no service publishes {event:?}; there are {}",
                known.iter().copied().collect::<Vec<_>>().join(", ")
            );
            ensure!(said_by(event) != name, "{name} cannot hear its own {event}");
        }
        for event in says {
            check_event(name, event)?;
        }
        for (list, option) in [(hears, "--hears"), (says, "--says")] {
            let once: BTreeSet<_> = list.iter().collect();
            ensure!(once.len() == list.len(), "{option} names an event twice");
        }
        ensure!(
            says.len() <= hears.len(),
            "each event that it hears has one answer: name as many events after --hears, or more"
        );
        Ok(Self { name: name.to_owned(), hears: hears.to_vec(), says: says.to_vec() })
    }

    /// The events that it hears, each with its answer.
    pub fn steps(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let answers = self.says.iter().map(|event| Some(event.as_str()));
        self.hears.iter().map(String::as_str).zip(answers.chain(std::iter::repeat(None)))
    }

    /// Neither a package of ours, nor a library, nor a container has its name.
    pub fn check_free(&self, plan: &Plan) -> Result<()> {
        let Self { name, .. } = self;
        // A shared crate's library has its short name.
        let packages = ["", "quadrille-"].map(|prefix| format!("name = \"{prefix}{name}\""));
        let lock = plan.read("Cargo.lock")?;
        let is_taken = lock.lines().any(|line| packages.iter().any(|package| line == package));
        ensure!(
            !is_taken,
            "there is a package {name} already: choose another name, or take it back as \
             docs/add-a-service.md says"
        );
        plan.check_free(&format!("services/{name}"))?;
        for event in &self.says {
            let name = type_name(event);
            for file in fs::read_dir(plan.root.join(EVENTS_SOURCE))? {
                let text = fs::read_to_string(file?.path())?;
                let is_taken = text.split(is_no_part_of_a_word).any(|word| word == name);
                ensure!(!is_taken, "{EVENTS_SOURCE} has a {name} already: rename {event}");
            }
        }
        for file in CONTAINERS {
            let is_taken = plan.read(file)?.lines().any(|line| line == format!("  {name}:"));
            ensure!(!is_taken, "{file} has a {name} already: choose another name");
        }
        Ok(())
    }
}

fn is_no_part_of_a_word(c: char) -> bool {
    !c.is_alphanumeric() && c != '_'
}

fn check_name(name: &str) -> Result<()> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_lowercase());
    ensure!(
        is_word && (2..=NAME_MAX).contains(&name.len()),
        "{name:?} cannot be a service's name: it is one word of 2 to {NAME_MAX} letters from a to z"
    );
    ensure!(
        !TAKEN.contains(&name) && !SERVICES.contains(&name),
        "{name} is taken: choose another name"
    );
    Ok(())
}

fn check_event(service: &str, event: &str) -> Result<()> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_fine =
        event.split_once('.').is_some_and(|(by, what)| by == service && what.split('-').all(word));
    ensure!(
        is_fine && event.len() <= EVENT_MAX,
        "{event:?} cannot be an event of {service}: write {service}.<what-has-happened>, \
         in letters from a to z and hyphens, {EVENT_MAX} characters at most"
    );
    Ok(())
}

fn known() -> BTreeSet<&'static str> {
    let of_add_ons = ADD_ONS.iter().flat_map(|step| step.may_say);
    EVENTS.iter().chain(of_add_ons).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn refused(name: &str, hears: &[&str], says: &[&str]) -> String {
        let own = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        Request::new(name, &own(hears), &own(says)).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        let heard = ["payment.approved"];
        for name in ["", "m", "Mail", "e-mail", "mail2", "../mail", "abcdefghijklmnopqrstu"] {
            assert!(refused(name, &heard, &[]).contains("one word"), "{name}");
        }
        for name in ["shipping", "type", "admin", "operator", "public"] {
            assert!(refused(name, &heard, &[]).contains("taken"), "{name}");
        }
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        for name in ["rabbitmq", "collector", "haproxy", "saga"] {
            let request = Request::new(name, &["payment.approved".to_owned()], &[]).unwrap();
            let why = request.check_free(&Plan::of(root)).unwrap_err().to_string();
            assert!(why.contains("choose another name"), "{why}");
        }
        let said = ["product.id".to_owned()];
        let request = Request::new("product", &["payment.approved".to_owned()], &said).unwrap();
        let why = request.check_free(&Plan::of(root)).unwrap_err().to_string();
        assert!(why.contains("ProductId already"), "{why}");
        let unknown = refused("mail", &["payment.sneezed"], &[]);
        assert!(unknown.contains("payment.sneezed") && unknown.contains("payment.approved"));
        let long = format!("mail.{}", "x".repeat(60));
        for event in ["sent", "mail.", "mail.Sent", "mail.a.b", "post.sent", "mail.sent-", &long] {
            assert!(refused("mail", &heard, &[event]).contains("mail.<what"), "{event}");
        }
        let twice = ["payment.approved", "payment.approved"];
        assert!(refused("mail", &twice, &[]).contains("--hears names an event twice"));
        assert!(refused("mail", &heard, &["mail.a", "mail.b"]).contains("one answer"));
    }
}
