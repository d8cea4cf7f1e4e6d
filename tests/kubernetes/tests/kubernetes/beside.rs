//! Runs the tests of the manifests on a copy of them that has two more services of `saga new`.

use crate::{
    backups, broker, certificates, manifests, network, restricted, rollout, scaling, services,
    verify, workflow,
};
use events::{ADD_ONS, Event, PaymentApproved, ShippingScheduled, Step};
use kubernetes::with_steps;
use saga_cli::new::{Request, plan};
use std::{path::Path, process::Command};
use tidy::{root, within};

const COPIED: [&str; 6] =
    [".github", "Cargo.lock", "Makefile", "deploy", "docker-compose.yml", "shared"];

const fn step(service: &'static str, hears: &'static str) -> Step {
    Step { service, hears, may_say: &[], compensates: false }
}

fn add(tree: &Path, there: &[Step], steps: &[Step]) {
    let hears: Vec<_> = steps.iter().map(|step| step.hears.to_owned()).collect();
    let request = Request::new(steps[0].service, &hears, &[]).unwrap();
    plan(tree, &request, there).unwrap().write(&[]).unwrap().keep();
}

#[test]
fn services_that_saga_new_writes_are_deployed_like_the_others() {
    let tree = tempfile::tempdir().unwrap();
    let mut copy = Command::new("cp");
    let copied = copy.arg("-a").args(COPIED.map(|path| root().join(path)));
    assert!(copied.arg(tree.path()).status().unwrap().success());
    let (one, other) = ("testmail", "testpost");
    let mail = [step(one, PaymentApproved::NAME), step(one, ShippingScheduled::NAME)];
    let post = [step(other, ShippingScheduled::NAME)];
    let with_mail = [ADD_ONS, &mail].concat();
    add(tree.path(), ADD_ONS, &mail);
    add(tree.path(), &with_mail, &post);
    with_steps([&with_mail[..], &post].concat(), || within(tree.path(), agree));
}

fn agree() {
    backups::every_database_archives_to_a_store_that_is_there();
    backups::every_database_is_copied_daily_by_the_plugin_that_archives();
    broker::each_service_has_a_user_of_its_own_whose_password_nobody_knows();
    broker::a_service_may_do_what_it_may_elsewhere_admin_all_and_keda_nothing();
    broker::every_service_has_its_database_as_compose_has_it();
    certificates::one_authority_issues_all();
    certificates::rabbitmq_takes_a_certificate_of_the_services_name_and_no_password();
    certificates::postgres_takes_a_certificate_of_the_owners_name_and_no_plain_connection();
    manifests::kubernetes_knows_every_field_of_every_manifest();
    manifests::every_file_is_referred_to_and_every_reference_leads_somewhere();
    network::with_all_components_too();
    network::every_port_that_a_rule_opens_is_one_on_which_a_peer_listens();
    restricted::every_pod_of_ours_meets_restricted();
    rollout::one_of_each_service_at_a_time_leaves_with_its_node_and_they_are_on_several();
    scaling::every_service_is_scaled_by_one_autoscaler();
    scaling::a_worker_is_scaled_by_every_queue_that_it_consumes_and_no_other();
    scaling::unacknowledged_messages_count_and_a_replica_has_as_many_as_it_can_hold();
    scaling::the_fewest_are_as_many_as_without_an_autoscaler();
    services::every_service_has_its_deployment_with_its_image();
    services::whatever_selects_pods_selects_those_of_its_name();
    services::order_alone_has_http_and_a_service();
    services::the_secrets_lie_where_the_service_reads_them();
    services::no_service_is_killed_because_a_server_is_away();
    verify::the_job_has_every_file_that_its_endpoints_name();
    workflow::the_release_is_made_of_scripts_that_exist();
}
