//! Every database has its write-ahead log archived, and a copy a day.

use kubernetes::{
    BACKUPS, Kustomization, Target, databases, document, items, of_kind, resources, text,
};
use std::collections::BTreeSet;
use tidy::read;

#[test]
pub fn every_database_archives_to_a_store_that_is_there() {
    let [patch] = &Kustomization::read(BACKUPS).patches[..] else { panic!("one patch") };
    let clusters =
        Target { group: "postgresql.cnpg.io".into(), kind: "Cluster".into(), ..Target::default() };
    assert_eq!(patch.target, clusters);
    let archive = document(&format!("{BACKUPS}/{}", patch.path));
    let [plugin] = items(&archive["spec"]["plugins"]) else { panic!("one plugin") };
    assert_eq!(plugin["isWALArchiver"], true);
    let stores = of_kind(BACKUPS, "ObjectStore");
    let [(store, _)] = stores.as_slice() else { panic!("one store is expected") };
    assert_eq!(text(&plugin["parameters"]["barmanObjectName"]), store);
}

#[test]
pub fn every_database_is_copied_daily_by_the_plugin_that_archives() {
    let archive = document(&format!("{BACKUPS}/archive.yaml"));
    let plugin = &archive["spec"]["plugins"][0]["name"];
    let schedules = of_kind(BACKUPS, "ScheduledBackup");
    let copied: Vec<_> =
        schedules.iter().map(|(_, it)| text(&it["spec"]["cluster"]["name"]).to_owned()).collect();
    assert_eq!(copied, databases());
    let mut times = BTreeSet::new();
    for (name, schedule) in &schedules {
        assert_eq!(schedule["spec"]["pluginConfiguration"]["name"], *plugin, "{name}");
        let schedule = text(&schedule["spec"]["schedule"]);
        let fields: Vec<_> = schedule.split(' ').collect();
        assert!(fields.len() == 6 && fields[3..] == ["*"; 3], "{schedule} is not daily");
        assert!(fields[..3].iter().all(|it| it.parse::<u8>().is_ok()), "{schedule}");
        assert!(times.insert(schedule.to_owned()), "two at {schedule}");
    }
}

#[test]
fn the_stores_keys_are_those_that_the_readme_creates() {
    let readme = read("deploy/kubernetes/README.md");
    for (_, resource) in resources(BACKUPS) {
        let keys = resource["spec"]["configuration"]["s3Credentials"].as_object();
        for key in keys.into_iter().flatten().map(|(_, key)| key) {
            let secret = format!("create secret generic -n quadrille {} ", text(&key["name"]));
            let literal = format!("--from-literal={}=", text(&key["key"]));
            assert!(readme.contains(&secret) && readme.contains(&literal), "{secret}{literal}");
        }
    }
}
