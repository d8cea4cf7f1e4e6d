//! Adds the new service's resources of Kubernetes: copies of shipping's.

use anyhow::Result;
use messaging::queue_name;

use super::edits::LIKE;
use super::plan::Plan;
use super::request::Request;

const FOLDER: &str = "deploy/kubernetes";
/// Files with a document for each service, or several.
const DOCUMENTS: [&str; 3] =
    ["operators/certificates.yaml", "operators/network-databases.yaml", "operators/postgres.yaml"];
const SCALING: &str = "scaling/workers.yaml";
const BACKUPS: &str = "backups/schedules.yaml";
/// Of shipping's daily copy; the next one's is an hour later.
const BACKUP_HOUR: usize = 4;
const BETWEEN: &str = "---\n";
const TRIGGER: &str = "    - type:";

/// `others` are beside the saga already.
pub fn add(plan: &mut Plan, request: &Request, others: usize) -> Result<()> {
    let name = request.name.as_str();
    let deployment = plan.read(&format!("{FOLDER}/base/{LIKE}.yaml"))?;
    let deployment = deployment.replace("# Ships. It", "# Stands beside the saga. It");
    plan.add(&format!("{FOLDER}/base/{name}.yaml"), deployment.replace(LIKE, name))?;
    for file in DOCUMENTS {
        plan.edit(&format!("{FOLDER}/{file}"), |text| {
            with_copies(text, |document| Some(document.replace(LIKE, name)))
        })?;
    }
    let schedule = |hour: usize| format!("\"0 0 {} * * *\"", hour % 24);
    let (like, own) = (schedule(BACKUP_HOUR), schedule(BACKUP_HOUR + 1 + others));
    plan.edit(&format!("{FOLDER}/{BACKUPS}"), |text| {
        with_copies(text, |document| {
            document.contains(&like).then(|| document.replace(LIKE, name).replace(&like, &own))
        })
    })?;
    plan.edit(&format!("{FOLDER}/{SCALING}"), |text| {
        with_copies(text, |document| scaled(document, request))
    })
}

/// With a copy of each document about shipping, at the end.
fn with_copies(text: &str, copy: impl Fn(&str) -> Option<String>) -> Option<String> {
    let documents = text.split(BETWEEN).filter(|it| it.contains("\n  name: shipping"));
    let copies: Vec<_> = documents.map(copy).collect::<Option<_>>()?;
    let whole = [text.trim_end().to_owned()].into_iter().chain(copies);
    let whole: Vec<_> = whole.map(|document| document.trim_end().to_owned() + "\n").collect();
    (whole.len() > 1).then(|| whole.join(BETWEEN))
}

/// With a trigger for each queue that it consumes, like shipping's first.
fn scaled(document: &str, request: &Request) -> Option<String> {
    let (head, triggers) = document.split_once(TRIGGER)?;
    let like = triggers.split(TRIGGER).next()?;
    let (like, _) = like.split_once("queueName: ")?;
    let mut scaled = head.replace(LIKE, &request.name);
    for event in &request.hears {
        let queue = queue_name(&request.name, event);
        scaled += &format!("{TRIGGER}{like}queueName: {queue} }}\n");
    }
    Some(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_copied_with_a_trigger_for_each_queue() {
        let like = "kind: A\nmetadata:\n  name: payment\n---\nkind: A\nmetadata:\n  name: shipping\n  triggers:\n    - type: r\n      metadata: { a: b, queueName: shipping.a }\n    - type: r\n      metadata: { a: b, queueName: shipping.b }\n";
        let own = "---\nkind: A\nmetadata:\n  name: mail\n  triggers:\n    - type: r\n      metadata: { a: b, queueName: mail.order-created }\n";
        let hears = vec!["order.created".to_owned()];
        let request = Request::new("mail", &hears, &[]).unwrap();
        let made = with_copies(like, |document| scaled(document, &request)).unwrap();
        assert_eq!(made, format!("{like}{own}"));
        assert_eq!(with_copies("kind: A\n", |it| Some(it.to_owned())), None);
    }
}
