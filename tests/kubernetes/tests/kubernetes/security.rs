//! A compromised service can do little: it runs unprivileged, cannot write to its root file system
//! and has no Kubernetes API token.

use kubernetes::{
    BASE, Kustomization, OPERATORS, Target, container, document, documents, items, of_kind,
    patch_of_all, text,
};
use serde_json::{Value, json};
use tidy::read;

#[test]
fn every_service_is_nobody_with_no_rights_and_a_root_that_it_cannot_write_to() {
    let patch = patch_of_all();
    let pod = &patch["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let who = &pod["securityContext"];
    assert_eq!(who["runAsNonRoot"], true);
    assert_eq!(who["seccompProfile"], json!({ "type": "RuntimeDefault" }));
    let dockerfile = read("deploy/docker/Dockerfile");
    let user = format!("USER {}:{}", who["runAsUser"], who["runAsGroup"]);
    assert!(dockerfile.contains(&user), "the image says otherwise than {user}");

    let container = container(&patch);
    let rights = &container["securityContext"];
    assert_eq!(rights["allowPrivilegeEscalation"], false);
    assert_eq!(rights["readOnlyRootFilesystem"], true);
    assert_eq!(rights["capabilities"], json!({ "drop": ["ALL"] }));
    for asked in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
        assert!(container["resources"].pointer(asked).is_some(), "{asked} is not said");
    }
    let writable = pod["volumes"].as_array().into_iter().flatten();
    let writable: Vec<_> = writable.filter(|it| it.get("emptyDir").is_some()).collect();
    assert_eq!(writable.len(), 1, "the health file needs one folder that can be written to");
}

/// A patch changes only the container of its name; another container would stay unprotected.
#[test]
fn no_service_gets_round_the_patch() {
    let kustomization = Kustomization::read(BASE);
    let [patch] = kustomization.patches.as_slice() else { panic!("one patch is expected") };
    assert_eq!(patch.path, "every-service.yaml");
    assert_eq!(patch.target, Target { kind: "Deployment".into(), ..Target::default() });
    let patch = patch_of_all();
    for (name, deployment) in of_kind(BASE, "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(container(&deployment)["name"], container(&patch)["name"], "{name}");
        assert_eq!(pod["initContainers"], Value::Null, "{name}");
        let own = [&pod["securityContext"], &container(&deployment)["securityContext"]];
        assert_eq!(own, [&Value::Null; 2], "{name}");
    }
    assert!(of_kind(OPERATORS, "Deployment").is_empty());
    let patches = Kustomization::read(OPERATORS).patches;
    let [databases, links] = patches.as_slice() else { panic!("two patches are expected") };
    assert_eq!(links.target, Target { kind: "Deployment".into(), ..Target::default() });
    let added = document(&format!("{OPERATORS}/{}", links.path));
    let added = container(&added).as_object().expect("a container").keys().collect::<Vec<_>>();
    assert_eq!(added, ["env", "name"], "variables only");
    let clusters =
        Target { group: "postgresql.cnpg.io".into(), kind: "Cluster".into(), ..Target::default() };
    assert_eq!(databases.target, clusters, "{}", databases.path);
}

/// The same for the servers that Compose runs, as far as their images allow.
#[test]
fn no_server_of_compose_can_gain_rights_and_no_service_is_its_databases_superuser() {
    let compose = documents(&read("docker-compose.yml")).remove(0);
    let services = compose["services"].as_object().expect("there are services");
    for (name, service) in services {
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        let Some(owner) = name.strip_suffix("-db") else {
            assert_eq!(service["cap_add"], Value::Null, "{name}");
            continue;
        };
        let told = &service["environment"];
        let address = read(&format!("deploy/docker/secrets/{owner}-database-url"));
        let role = text(&told["SERVICE_DB"]);
        assert!(address.starts_with(&format!("postgres://{role}:")), "{address}");
        assert_ne!(text(&told["POSTGRES_USER"]), role, "{name}");
        assert_eq!(told["POSTGRES_DB"], Value::Null, "{name}: its init script makes it");
        let init = "./deploy/postgres/init.sh:/docker-entrypoint-initdb.d/init.sh:ro";
        assert!(items(&service["volumes"]).contains(&json!(init)), "{name}");
    }
    // What a cluster has beside them; the others extend one of them, or change it.
    let cluster = read("deploy/docker/cluster.yml").replace("!override", "").replace("!reset", "");
    let cluster = documents(&cluster).remove(0);
    for (name, service) in cluster["services"].as_object().expect("there are services") {
        if services.contains_key(name) || service["extends"].is_object() {
            assert!(service["cap_add"].is_null() && service["cap_drop"].is_null(), "{name}");
            continue;
        }
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["read_only"], true, "{name}");
    }
}
