//! Adds the new service to the files that list the services. In those that only list, it stands
//! wherever shipping stands.

use anyhow::{Result, ensure};
use events::{Step, services_in, type_name};
use kit::definitions::{logins_with, topology_with};
use kit::settings::{ADD_ON_DB_PORT, AddOn, Settings, VHOST, add_ons_of, port_of};

use super::TABLE;
use super::kubernetes;
use super::plan::Plan;
use super::request::Request;

/// The service whose entries are copied.
pub const LIKE: &str = "shipping";
/// Lists of the services, each with shipping's entry and what stands before it.
const LISTS: [(&str, &str); 9] = [
    ("Makefile", " -p shipping"),
    ("deploy/dist.sh", " -p shipping"),
    ("deploy/docker/Dockerfile", " -p shipping"),
    ("deploy/systemd/quadrille.target", " quadrille@shipping.service"),
    ("deploy/docker/publish.sh", " shipping"),
    ("deploy/kubernetes/operators/secrets.sh", " shipping"),
    ("deploy/kubernetes/operators/places.sh", " shipping"),
    ("deploy/observability/alerts.yml", "\n            or absent(consuming{service=\"shipping\"})"),
    (
        "deploy/observability/alerts.test.yml",
        "\n      - { series: 'consuming{service=\"shipping\"}', values: 1x40 }",
    ),
];
/// Files of which each line, and each block of Compose, that names shipping is copied.
const ENTRIES: [&str; 5] = [
    "docker-compose.yml",
    "deploy/docker/tls.yml",
    "deploy/kubernetes/base/kustomization.yaml",
    "deploy/kubernetes/verify/job.yaml",
    "deploy/sbom.py",
];
/// In a cluster it has one copy and one database, and knows all nodes of RabbitMQ.
const CLUSTER: [&str; 2] = ["deploy/docker/cluster.yml", "deploy/docker/tls-cluster.yml"];
const CLUSTERS_LINES: [&str; 5] = [
    "  shipping:",
    "    depends_on:",
    "    environment:\n",
    "      AMQP_URL:",
    "  shipping-amqp-url:",
];
const SECRETS: [&str; 3] =
    ["shipping-amqp-url", "shipping-database-url", "cluster/shipping-amqp-url"];
const LIB: &str = "shared/events/src/lib.rs";

pub fn add(plan: &mut Plan, request: &Request, there: &[Step]) -> Result<()> {
    let name = request.name.as_str();
    let known = plan.read(TABLE)?;
    let listed = add_ons_in(&known).map_or(0, |rows| rows.matches("step(").count());
    ensure!(
        listed == there.len(),
        "this `saga` is older than {TABLE}: build it anew, by `make saga`"
    );
    plan.edit(TABLE, |text| with_steps(text, request))?;
    if !request.says.is_empty() {
        plan.edit(LIB, |text| with_module(text, name))?;
    }
    for (path, like) in LISTS {
        let both = like.to_owned() + &like.replace(LIKE, name);
        plan.edit(path, |text| text.contains(like).then(|| text.replace(like, &both)))?;
    }
    let port = usize::from(ADD_ON_DB_PORT) + services_in(there).count();
    for path in ENTRIES {
        plan.edit(path, |text| Some(with_entries(text, (name, port), |_| true)))?;
    }
    for path in CLUSTER {
        let starts = |line: String| CLUSTERS_LINES.iter().any(|start| line.starts_with(start));
        let is_its = |line: &str| starts(format!("{line}\n"));
        plan.edit(path, |text| Some(with_entries(text, (name, port), is_its)))?;
    }
    for secret in SECRETS {
        let path = format!("deploy/docker/secrets/{secret}");
        let like = plan.read(&path)?;
        plan.add(&path.replace(LIKE, name), like.replace(LIKE, name))?;
    }
    kubernetes::add(plan, request, services_in(there).count())?;
    let settings = Settings::from(|_| None)?;
    let mut add_ons = add_ons_of(there);
    add_ons.push((name, request.hears.iter().map(String::as_str).collect()));
    add_definitions(plan, &settings, &add_ons);
    Ok(())
}

/// What RabbitMQ imports in a container.
fn add_definitions(plan: &mut Plan, settings: &Settings, add_ons: &[AddOn<'_>]) {
    let topology = topology_with(settings, add_ons, VHOST);
    plan.replace("deploy/rabbitmq/topology.json", format!("{topology:#}\n"));
    plan.replace("deploy/rabbitmq/users.json", format!("{:#}\n", logins_with(add_ons, VHOST)));
}

const ROWS: &str = "pub const ADD_ONS: &[Step] = &[";
const SCHEMAS: &str = "schemars::Schema)> {\n    vec![";

/// The rows of the services beside the saga, as they are in the text.
fn add_ons_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(ROWS)?;
    rest.split_once("];").map(|(rows, _)| rows)
}

fn with_steps(text: &str, request: &Request) -> Option<String> {
    let rows = add_ons_in(text)?;
    let (before, rest) = text.split_once(ROWS)?;
    let after = rest.strip_prefix(rows)?;
    let steps: String = request
        .steps()
        .map(|(event, answer)| {
            let answer = answer.map(|it| format!("{}::NAME", type_name(it))).unwrap_or_default();
            let heard = type_name(event);
            format!("    step(\"{}\", {heard}::NAME, &[{answer}]),\n", request.name)
        })
        .collect();
    let rows = if rows.is_empty() { "\n" } else { rows };
    let after = request.says.iter().try_fold(after.to_owned(), |after, event| {
        let (before, rest) = after.split_once(SCHEMAS)?;
        let schema = format!("schema_of::<{}>(), ", type_name(event));
        Some(format!("{before}{SCHEMAS}{schema}{rest}"))
    })?;
    Some(format!("{before}{ROWS}{rows}{steps}{after}"))
}

fn with_module(text: &str, name: &str) -> Option<String> {
    let (module, used) = ("mod saga_table;\n", "pub use saga_table::*;\n");
    let is_known = text.contains(module) && text.contains(used);
    is_known.then(|| {
        let text = text.replacen(module, &format!("{module}mod {name};\n"), 1);
        text.replacen(used, &format!("{used}pub use {name}::*;\n"), 1)
    })
}

/// Copies each block of the shipping service and of its database, and each other line that names
/// it; of all these the lines that are its.
fn with_entries(text: &str, (name, port): (&str, usize), is_its: impl Fn(&str) -> bool) -> String {
    let own = |line: &str| {
        let line = line.replace(LIKE, name);
        if line.trim_start() == "- SHIPPING_DB_PORT" {
            return line.replace("SHIPPING_DB_PORT", port_of(name));
        }
        match line.split_once("${SHIPPING_DB_PORT:-") {
            Some((before, rest)) => {
                let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}${{{}:-{port}{after}", port_of(name))
            }
            None => line,
        }
    };
    let mut written = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        written.push(line.to_owned());
        let is_named = line.contains(LIKE) || line.trim_start() == "- SHIPPING_DB_PORT";
        if !is_named || !is_its(line) || line.trim_start().starts_with('#') {
            continue;
        }
        let is_head = line.ends_with(':') && line.starts_with(&format!("  {LIKE}"));
        let mut copy = vec![own(line)];
        while let Some(inner) = lines.next_if(|inner| is_head && inner.starts_with("    ")) {
            written.push(inner.to_owned());
            copy.extend(is_its(inner).then(|| own(inner)));
        }
        if copy.len() > 1 {
            written.push(String::new());
        }
        written.extend(copy);
    }
    written.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_gets_a_copy_of_shippings_entries() {
        let compose = "services:\n  shipping-db:\n    <<: *db\n    ports: [\"${SHIPPING_DB_PORT:-5436}:5432\"]\n\n  shipping:\n    secrets: [shipping-url]\n\nsecrets:\n  shipping-url: { file: shipping-url }\n";
        let wanted = "services:\n  shipping-db:\n    <<: *db\n    ports: [\"${SHIPPING_DB_PORT:-5436}:5432\"]\n\n  mail-db:\n    <<: *db\n    ports: [\"${MAIL_DB_PORT:-5437}:5432\"]\n\n  shipping:\n    secrets: [shipping-url]\n\n  mail:\n    secrets: [mail-url]\n\nsecrets:\n  shipping-url: { file: shipping-url }\n  mail-url: { file: mail-url }\n";
        assert_eq!(with_entries(compose, ("mail", 5437), |_| true), wanted);
    }
}
