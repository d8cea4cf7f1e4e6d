//! Checks a pod against the Pod Security Standard `restricted`:
//! kubernetes.io/docs/concepts/security/pod-security-standards.

use serde_json::{Value, json};

const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// The fields of a pod's specification that violate the standard.
pub fn violations(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut demand = |met: bool, what: String| {
        if !met {
            found.push(what);
        }
    };
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        demand(pod[shared] != true, shared.into());
    }
    demand(pod["securityContext"].get("sysctls").is_none(), "sysctls".into());
    for volume in list(&pod["volumes"]) {
        let mut kinds = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        let allowed = kinds.all(|kind| kind == "name" || VOLUMES.contains(&kind));
        demand(allowed, format!("volume {}", volume["name"]));
    }
    let containers = list(&pod["containers"]).iter().chain(list(&pod["initContainers"]));
    for container in containers.chain(list(&pod["ephemeralContainers"])) {
        for what in of_container(&pod["securityContext"], container) {
            demand(false, format!("{} of {}", what, container["name"]));
        }
    }
    found
}

fn of_container(pod: &Value, container: &Value) -> Vec<&'static str> {
    let own = &container["securityContext"];
    // A container's own value counts, else its pod's.
    let either = |field: &str| own.get(field).or_else(|| pod.get(field)).unwrap_or(&Value::Null);
    let ports = list(&container["ports"]);
    let added = list(&own["capabilities"]["add"]);
    let seccomp = &either("seccompProfile")["type"];
    let rules = [
        (own["privileged"] != true, "privileged"),
        (own["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation"),
        (either("runAsNonRoot") == true, "runAsNonRoot"),
        (either("runAsUser") != 0, "runAsUser"),
        (seccomp == "RuntimeDefault" || seccomp == "Localhost", "seccompProfile"),
        (list(&own["capabilities"]["drop"]).contains(&json!("ALL")), "capabilities.drop"),
        (added.iter().all(|it| it == "NET_BIND_SERVICE"), "capabilities.add"),
        (own.get("procMount").is_none_or(|it| it == "Default"), "procMount"),
        (either("seLinuxOptions").is_null(), "seLinuxOptions"),
        (either("appArmorProfile")["type"] != "Unconfined", "appArmorProfile"),
        (ports.iter().all(|port| port.get("hostPort").is_none()), "hostPort"),
    ];
    rules.into_iter().filter(|(met, _)| !met).map(|(_, what)| what).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
