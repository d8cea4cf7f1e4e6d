//! RabbitMQ's users and addresses, as the script prints them, agree with each other and with the
//! manifests.

use kubernetes::{
    Kustomization, OPERATORS, Whole, complaints, container, documents, items, of_kind, services,
    sorted, text,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path, process::Command};
use tidy::{read, root};

/// The script's output, by the names of the Secrets.
pub fn secrets() -> BTreeMap<String, Value> {
    secrets_with(&mut Command::new("sh"))
}

fn secrets_with(shell: &mut Command) -> BTreeMap<String, Value> {
    let script = root().join(OPERATORS).join("secrets.sh");
    let run = shell.arg(script).output().expect("there is a shell");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = String::from_utf8(run.stdout).expect("it prints text");
    let secrets = documents(&printed).into_iter();
    let named = secrets.map(|secret| {
        let found = complaints(&secret, Whole::Yes);
        assert!(found.is_empty(), "{found:#?}");
        (text(&secret["metadata"]["name"]).to_owned(), secret["stringData"].clone())
    });
    named.collect()
}

/// A file that RabbitMQ imports.
pub fn imported(secrets: &BTreeMap<String, Value>, file: &str) -> Value {
    serde_json::from_str(text(&secrets["rabbitmq-users"][file])).expect("it is JSON")
}

#[test]
pub fn each_service_has_a_user_of_its_own_whose_password_nobody_knows() {
    let secrets = secrets();
    let users = imported(&secrets, "users.json")["users"].take();
    assert_eq!(sorted(items(&users).iter().map(|user| text(&user["name"]))), services());
    let passwords: Vec<_> = items(&users).iter().map(|user| text(&user["password"])).collect();
    for (at, password) in passwords.iter().enumerate() {
        assert!(password.len() >= 32 && !passwords[..at].contains(password), "{passwords:?}");
    }
    for service in services() {
        let address = text(&secrets[&format!("{service}-amqp")]["uri"]);
        assert!(passwords.iter().all(|password| !address.contains(password)), "{address}");
    }
}

#[test]
pub fn a_service_may_do_what_it_may_elsewhere_admin_all_and_keda_nothing() {
    let secrets = secrets();
    let without_passwords = |mut users: Value| {
        for user in users["users"].as_array_mut().expect("there are users") {
            user["password"].take();
        }
        users
    };
    let elsewhere = serde_json::from_str(&read("deploy/rabbitmq/users.json")).expect("JSON");
    let services = imported(&secrets, "users.json");
    assert_eq!(without_passwords(services), without_passwords(elsewhere));

    let admin = imported(&secrets, "admin.json");
    assert_eq!(admin["vhosts"], json!([{ "name": "/" }]));
    let user = &items(&admin["users"])[0];
    assert_eq!(user["password"], secrets["rabbitmq-admin"]["password"]);
    assert_eq!(user["tags"], json!(["administrator"]));
    let all = json!({
        "user": user["name"], "vhost": "/", "configure": ".*", "write": ".*", "read": ".*",
    });
    let keda = json!({
        "user": "keda", "vhost": "/", "configure": "^$", "write": "^$", "read": "^$",
    });
    assert_eq!(admin["permissions"], json!([all, keda]));
}

#[test]
fn the_broker_imports_the_users_and_the_topology() {
    let secrets = secrets();
    let (_, broker) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    let pod = &broker["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"];
    let folder = "/etc/rabbitmq/definitions";
    let told = format!("definitions.local.path = {folder}\n");
    assert!(text(&broker["spec"]["rabbitmq"]["additionalConfig"]).contains(&told));

    let [users, topology] = items(&pod["volumes"]) else { panic!("two volumes are expected") };
    let mounts = items(&container(&broker["spec"]["override"]["statefulSet"])["volumeMounts"]);
    // The vhost first, then its content.
    let order = [(users, "1-", "admin.json"), (topology, "2-", "topology.json")];
    let order = order.into_iter().chain([(users, "3-", "users.json")]);
    let wanted: Vec<_> = order
        .map(|(volume, place, file)| {
            let path = format!("{folder}/{place}{file}");
            json!({ "name": volume["name"], "mountPath": path, "subPath": file })
        })
        .collect();
    assert_eq!(mounts, wanted);
    let keys = &secrets[text(&users["secret"]["secretName"])];
    assert!(keys.get("admin.json").is_some() && keys.get("users.json").is_some());
    let generated = Kustomization::read("deploy/rabbitmq").config_map_generator;
    assert_eq!(generated[0].name, text(&topology["configMap"]["name"]));
    assert_eq!(generated[0].files, ["topology.json"]);
}

/// Compose's file suits RabbitMQ of any version; this one suits the named version.
#[test]
fn the_broker_bounds_messages_and_its_log_as_compose_does() {
    let (_, broker) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    let here = text(&broker["spec"]["rabbitmq"]["additionalConfig"]);
    let largest = "max_message_size = 1048576\n";
    assert!(here.contains(largest) && read("deploy/rabbitmq/rabbitmq.conf").contains(largest));
    assert!(here.contains("quorum_queue.wal_max_size_bytes = 64000000\n"), "{here}");
    let advanced = read("deploy/rabbitmq/advanced.config");
    for setting in ["{ra, [{wal_max_size_bytes,", "{rabbit, [{quorum_wal_max_size_bytes,"] {
        assert!(advanced.contains(&format!("{setting} 64000000}}]}}")), "{setting}");
    }
}

#[test]
fn no_password_is_an_argument_of_a_program() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recorded");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let record = folder.join("arguments");
    std::fs::write(&record, "").expect("it can be written");
    // Every program that the script may start: it can find no other.
    for program in ["cat", "dirname", "od", "sed", "tr"] {
        let shim = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$0 $*\" >>'{}'\nexec /usr/bin/{program} \"$@\"\n",
            record.display()
        );
        let file = folder.join(program);
        std::fs::write(&file, shim).expect("it can be written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("it is ours");
    }
    let secrets = secrets_with(Command::new("/bin/sh").env("PATH", &folder));
    let recorded = std::fs::read_to_string(&record).expect("it can be read");
    assert!(recorded.contains("/od "), "programs are recorded: {recorded}");
    for file in ["admin.json", "users.json"] {
        for user in items(&imported(&secrets, file)["users"]) {
            assert!(!recorded.contains(text(&user["password"])), "{recorded}");
        }
    }
}

#[test]
fn the_brokers_nodes_are_kept_apart() {
    let (name, broker) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    let pod = &broker["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"];
    let constraints = items(&pod["topologySpreadConstraints"]);
    for constraint in constraints {
        let labels = &constraint["labelSelector"]["matchLabels"];
        assert_eq!(*labels, json!({ "app.kubernetes.io/name": name }));
    }
    let keys: Vec<_> = constraints.iter().map(|it| text(&it["topologyKey"])).collect();
    assert_eq!(keys, ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]);
}

#[test]
fn every_queue_is_on_all_three_nodes_and_one_node_at_a_time_may_leave() {
    let (name, broker) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    assert_eq!(broker["spec"]["replicas"], 3);
    let told = text(&broker["spec"]["rabbitmq"]["additionalConfig"]);
    for setting in ["enabled = true\n", "target_group_size = 3\n"] {
        let setting = format!("quorum_queue.continuous_membership_reconciliation.{setting}");
        assert!(told.contains(&setting), "{told}");
    }
    let topology: Value =
        serde_json::from_str(&read("deploy/rabbitmq/topology.json")).expect("JSON");
    for queue in items(&topology["queues"]) {
        assert_eq!(queue["arguments"]["x-queue-type"], "quorum", "{queue}");
    }
    let budgets = of_kind(OPERATORS, "PodDisruptionBudget");
    let (_, budget) = budgets.iter().find(|(budget, _)| *budget == name).expect("it is there");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
}

#[test]
fn servers_are_of_the_version_that_compose_has() {
    let compose = read("docker-compose.yml");
    let (_, broker) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    let image = text(&broker["spec"]["image"]);
    let used = format!("    image: ${{RABBITMQ_IMAGE:-{image}}}\n");
    assert!(compose.contains(&used), "docker-compose.yml has no{used}");
    // A newer minor version may refuse data that an older one left on the disk.
    let (_, tag) = image.rsplit_once(':').expect("a tag");
    let version: Vec<_> = tag.trim_end_matches("-management").split('.').collect();
    assert!(version.len() == 2 && version.iter().all(|it| it.parse::<u32>().is_ok()), "{tag}");

    let common = documents(&read(&format!("{OPERATORS}/every-database.yaml"))).remove(0);
    let (_, version) = text(&common["spec"]["imageName"]).rsplit_once(':').expect("a version");
    assert!(compose.contains(&format!("  image: postgres:{version}\n")), "not {version}");
}

#[test]
pub fn every_service_has_its_database_as_compose_has_it() {
    let clusters = of_kind(OPERATORS, "Cluster");
    let names = sorted(clusters.iter().map(|(name, _)| name));
    assert_eq!(names, services().iter().map(|it| format!("{it}-db")).collect::<Vec<_>>());
    let compose = read("docker-compose.yml");
    let init = read("deploy/postgres/init.sh");
    assert!(init.contains(r#"CREATE DATABASE :"name" OWNER :"name""#), "{init}");
    for (name, cluster) in clusters {
        let made = &cluster["spec"]["bootstrap"]["initdb"];
        assert_eq!(made["database"], made["owner"]);
        let told = format!("SERVICE_DB: {} }}\n", text(&made["database"]));
        assert!(compose.contains(&told), "docker-compose.yml has no {told}");
        let address = format!("@{name}:5432/{}\n", text(&made["database"]));
        let service = name.trim_end_matches("-db");
        let secret = read(&format!("deploy/docker/secrets/{service}-database-url"));
        assert!(secret.ends_with(&address), "{secret} does not end in {address}");
    }
}

/// An acknowledged write is committed: no failover may lose it.
#[test]
fn only_an_instance_that_has_every_commit_is_promoted() {
    let common = documents(&read(&format!("{OPERATORS}/every-database.yaml"))).remove(0);
    let synchronous = &common["spec"]["postgresql"]["synchronous"];
    let safe = json!({
        "method": "any", "number": 1, "dataDurability": "required", "failoverQuorum": true,
    });
    assert_eq!(*synchronous, safe);
    assert_eq!(common["spec"]["instances"], 3, "one may be lost");
}
