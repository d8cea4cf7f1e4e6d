//! Dead letters are listed, replayed, repaired and purged, each once, whatever happens meanwhile.

use dead_letters::{Done, Outcome};
use e2e::{Fleet, PLENTY, Said, mend, order, refuse};
use messaging::{Message, RetrySchedule, Topology, header};
use saga_cli::dlq::{DeadLetters, Pick};
use serde_json::Value;
use sqlx::PgPool;
use std::collections::BTreeSet;
use uuid::Uuid;

pub const QUEUE: &str = "inventory.payment-approved";
pub const DLQ: &str = "inventory.payment-approved.dlq";
pub const TABLE: &str = "reservation_items";

pub async fn ready(fleet: &Fleet, queue: &str) -> u32 {
    fleet.broker.ready(&[queue.into()]).await[0]
}

pub async fn with_dead_orders(number: u32) -> (Fleet, PgPool, Vec<Uuid>) {
    let fleet = Fleet::start().await;
    let stock = fleet.pool("inventory").await;
    let orders = die(&fleet, &stock, number).await;
    (fleet, stock, orders)
}

/// Orders of seven pieces fail in inventory, until that table of its database is repaired.
pub async fn die(fleet: &Fleet, stock: &PgPool, number: u32) -> Vec<Uuid> {
    refuse(stock, TABLE, "quantity <> 7").await;
    let mut orders = Vec::new();
    for _ in 0..number {
        orders.push(fleet.place(&order("pix", PLENTY, 7)).await);
    }
    fleet.holds(DLQ, number).await;
    orders
}

fn outcomes(done: &[Done]) -> Vec<Outcome> {
    done.iter().map(|done| done.outcome).collect()
}

/// Every outcome that a command has printed.
fn told(said: &Said) -> Vec<String> {
    let all = said.json();
    let all = all.as_array().expect("a list").iter();
    all.map(|done| done["outcome"].as_str().expect("an outcome").to_owned()).collect()
}

async fn handled(pool: &PgPool, id: &str) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM idempotency_keys WHERE event_id = $1::UUID")
        .bind(id)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_dead_letter_is_looked_at_without_disturbing_and_goes_into_its_queue_alone() {
    let (fleet, stock, orders) = with_dead_orders(1).await;
    let id = orders[0].to_string();
    fleet.broker.tap().await;

    let list = fleet.saga(&["dlq", "list", "--json"]).await.json();
    assert_eq!((&list[0]["queue"], &list[0]["count"]), (&DLQ.into(), &1.into()), "{list}");
    assert!(list[0]["oldest"].is_string() && list.as_array().unwrap().len() == 1, "{list}");
    let reasons = list[0]["reasons"].as_object().unwrap();
    assert!(reasons.keys().next().unwrap().contains("fault"), "{list}");

    let shown = fleet.saga(&["dlq", "show", QUEUE, "--order", &id]).await;
    for part in ["PAYMENT_APPROVED", "fault", "attempts    4", "\"quantity\": 7", "traceparent"] {
        assert!(shown.out.contains(part), "{part}: {shown:?}");
    }
    let dry = fleet.saga(&["dlq", "replay", "--all", "--dry-run", "--json"]).await;
    assert_eq!(dry.json()[0]["replay"]["goes"]["to"], QUEUE, "{dry:?}");
    let event = dry.json()[0]["message_id"].as_str().unwrap().to_owned();
    let why = fleet.saga(&["why", &id, "--json"]).await.json();
    let missing = &why["missing"][0];
    assert_eq!(
        (&missing["service"], &missing["place"]["place"]),
        (&"inventory".into(), &"dead_letter".into())
    );
    let asked = fleet.saga(&["dlq", "replay", "--all"]).await;
    assert_eq!(asked.code, Some(1));
    assert!(asked.error.contains("--yes"), "{asked:?}");
    assert_eq!((ready(&fleet, DLQ).await, ready(&fleet, QUEUE).await), (1, 0), "all is as it was");
    assert_eq!(fleet.get(orders[0]).await["status"], "PAYMENT_APPROVED");

    mend(&stock, TABLE).await;
    let replayed = fleet.saga(&["dlq", "replay", "--event", &event, "--json"]).await;
    assert_eq!((replayed.code, told(&replayed)), (Some(0), vec!["replayed".into()]));
    assert_eq!(fleet.ends(orders[0]).await["status"], "CONFIRMED");
    assert_eq!(handled(&stock, &event).await, 1, "it kept its id");
    let said = fleet.broker.untap().await;
    assert!(!said.is_empty(), "what it leads to is said");
    assert!(said.iter().all(|said| said.id.as_ref() != Some(&event)), "nobody else heard it again");
    let again = fleet.saga(&["dlq", "replay", "--event", &event]).await;
    assert!(again.code == Some(1) && again.error.contains("no dead letter matches"), "{again:?}");
    let none = fleet.saga(&["dlq", "replay", "--all", "--yes"]).await;
    assert!(none.code == Some(0) && none.error.contains("no dead letters"), "{none:?}");
    assert_eq!(fleet.saga(&["dlq", "replay"]).await.code, Some(2), "nothing is named");
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_replay_that_dies_before_it_acknowledges_has_one_effect() {
    let (mut fleet, stock, orders) = with_dead_orders(1).await;
    mend(&stock, TABLE).await;
    let mut dying = DeadLetters::connect(&fleet.endpoints()).await.unwrap();
    let hand = dying.take(&Pick::default(), 10).await.unwrap();
    assert_eq!(dying.send_back(&[(&hand.taken[0].letter, QUEUE)]).await, [Ok(())]);
    drop((hand, dying));
    fleet.holds(DLQ, 1).await;
    assert_eq!(fleet.ends(orders[0]).await["status"], "CONFIRMED");
    let states = fleet.tables().await;

    let id = orders[0].to_string();
    let dry = fleet.saga(&["dlq", "replay", "--order", &id, "--dry-run"]).await;
    assert!(dry.out.contains("already handled: no effect"), "{dry:?}");
    let again = fleet.saga(&["dlq", "replay", "--order", &id, "--json"]).await;
    assert_eq!((again.code, told(&again)), (Some(0), vec!["no_effect".into()]));
    fleet.drained().await;
    assert_eq!(fleet.tables().await, states);
    assert_eq!(ready(&fleet, DLQ).await, 0);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn two_people_replay_at_once_and_each_dead_letter_goes_once() {
    let (fleet, stock, orders) = with_dead_orders(20).await;
    mend(&stock, TABLE).await;
    let one_person = || async {
        let mut letters = DeadLetters::connect(&fleet.endpoints()).await.unwrap();
        let hand = letters.take(&Pick::default(), 100).await.unwrap();
        let done = letters.replay(&hand).await.unwrap();
        hand.give_back().await.unwrap();
        done
    };
    let (mut one, other) = tokio::join!(one_person(), one_person());
    one.extend(other);
    assert_eq!(outcomes(&one), [Outcome::Replayed; 20]);
    let ids: BTreeSet<_> = one.iter().map(|done| done.message_id.clone()).collect();
    assert_eq!(ids.len(), 20);
    for id in orders {
        assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    }
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn what_rabbitmq_does_not_take_stays_a_dead_letter() {
    let (mut fleet, stock, orders) = with_dead_orders(1).await;
    let poison = Message {
        id: Some(messaging::Env::new_id(&messaging::SystemEnv).to_string()),
        kind: Some("payment.failed".into()),
        body: b"\xff\x1b[2J".to_vec(),
        ..Message::default()
    };
    fleet.broker.put("order.payment-failed", &poison.with(header::VERSION, 1)).await;
    fleet.holds("order.payment-failed.dlq", 1).await;
    let shown = fleet.saga(&["dlq", "show", "order.payment-failed"]).await;
    assert!(shown.out.contains(r"\xff\x1b[2J"), "{shown:?}");

    fleet.take("inventory").kill();
    fleet.broker.delete_queue(QUEUE).await;
    let partly = fleet.saga(&["dlq", "replay", "--all", "--yes", "--json"]).await;
    assert_eq!((partly.code, told(&partly)), (Some(3), vec!["failed".into(), "replayed".into()]));
    assert!(partly.out.contains("there is no queue inventory.payment-approved"), "{partly:?}");
    assert_eq!(ready(&fleet, DLQ).await, 1);
    fleet.holds("order.payment-failed.dlq", 1).await;
    let again = fleet.saga(&["dlq", "show", "order.payment-failed", "--json"]).await.json();
    assert_eq!(again[0]["headers"]["replayed"], 1, "{again}");

    mend(&stock, TABLE).await;
    let all = Topology::whole(&RetrySchedule::default()).definitions(&fleet.broker.vhost);
    fleet.broker.import(all).await;
    fleet.spawn("inventory");
    fleet.ready().await;
    assert_eq!(fleet.saga(&["dlq", "replay", QUEUE]).await.code, Some(0));
    assert_eq!(fleet.ends(orders[0]).await["status"], "CONFIRMED");
    let purged = fleet.saga(&["dlq", "purge", "order.payment-failed", "--yes"]).await;
    assert_eq!(purged.code, Some(0), "{purged:?}");
    assert_eq!(fleet.verify().await.purged.len(), 1);
    fleet.close().await;
}

#[tokio::test]
async fn what_is_purged_is_accounted_for_and_can_be_brought_back_from_its_export() {
    let (fleet, stock, orders) = with_dead_orders(1).await;
    let id = orders[0].to_string();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let lost = fleet.saga_command(&["dlq", "export"]).stdout(full).status().await.unwrap();
    assert_eq!(lost.code(), Some(1), "a script must not purge after it");
    let export = fleet.file("export").display().to_string();
    assert_eq!(fleet.saga(&["dlq", "export", "--to", &export]).await.code, Some(0));
    let asked = fleet.saga(&["dlq", "purge", "--order", &id]).await;
    assert!(asked.code == Some(1) && asked.error.contains("--yes"), "{asked:?}");
    let charged = format!("order {id} is charged 349.30, and may get nothing then");
    assert!(asked.error.contains(&charged), "{asked:?}");
    assert_eq!(ready(&fleet, DLQ).await, 1);
    refuse(&stock, "dead_letter_actions", "FALSE").await;
    assert_eq!(fleet.saga(&["dlq", "purge", "--order", &id, "--yes"]).await.code, Some(1));
    assert_eq!(ready(&fleet, DLQ).await, 1, "what cannot be noted is not done");
    mend(&stock, "dead_letter_actions").await;
    assert_eq!(fleet.saga(&["dlq", "purge", "--order", &id, "--yes"]).await.code, Some(0));
    assert_eq!(ready(&fleet, DLQ).await, 0);
    let verdict = fleet.verify().await;
    assert_eq!(verdict.purged.iter().map(|it| it.order_id).collect::<Vec<_>>(), [Some(orders[0])]);
    // Its charge is not forgotten with it.
    let [stranded] = &verdict.stranded[..] else { panic!("{verdict:#?}") };
    assert_eq!((stranded.order_id, stranded.status), (orders[0], Some("PAYMENT_APPROVED")));
    for arguments in [&["verify"][..], &["verify", "--since-last"]] {
        let told = fleet.saga(arguments).await;
        let replay = "saga replay --to inventory.payment-approved";
        assert!(told.code == Some(0) && told.out.contains(replay), "{told:?}");
        fleet.saga(&[arguments, &["--json"]].concat()).await.json();
    }
    let why = fleet.saga(&["why", &id]).await;
    assert!(why.out.contains("purged at"), "{why:?}");

    mend(&stock, TABLE).await;
    let back = fleet.saga(&["dlq", "import", &export, "--json"]).await;
    assert_eq!((back.code, told(&back)), (Some(0), vec!["put_back".into()]));
    let twice = fleet.saga(&["dlq", "import", &export, "--json"]).await;
    assert_eq!((twice.code, told(&twice)), (Some(0), vec!["no_effect".into()]));
    assert_eq!(ready(&fleet, DLQ).await, 1);
    assert_eq!(fleet.saga(&["dlq", "replay", "--reason", "fault"]).await.code, Some(0));
    assert_eq!(fleet.ends(orders[0]).await["status"], "CONFIRMED");
    let verdict = fleet.verify().await;
    assert!(verdict.purged.is_empty() && verdict.stranded.is_empty(), "{verdict:#?}");
    fleet.close().await;
}

/// Edits the exported lines: another quantity in the payload.
pub async fn exported(fleet: &Fleet, name: &str, quantity: u32) -> String {
    let lines = fleet.saga(&["dlq", "export", QUEUE]).await.out;
    let path = fleet.file(name);
    let mended = lines.replace("\"quantity\":7", &format!("\"quantity\":{quantity}"));
    assert!(lines.lines().count() == 1 && (quantity == 7 || mended != lines), "{lines}");
    std::fs::write(&path, mended).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_repaired_message_goes_on_once_as_another_event() {
    let (mut fleet, stock, orders) = with_dead_orders(1).await;
    let unchanged = exported(&fleet, "unchanged", 7).await;
    let (six, five) = (exported(&fleet, "six", 6).await, exported(&fleet, "five", 5).await);
    let letters = DeadLetters::connect(&fleet.endpoints()).await.unwrap();
    let hand = letters.take(&Pick::default(), 10).await.unwrap();
    let mut letter = hand.letters()[0].clone();
    hand.give_back().await.unwrap();
    refuse(&stock, "dead_letter_actions", "FALSE").await;
    let unnoted = fleet.saga(&["dlq", "import", &six, "--replay", "--json"]).await;
    assert_eq!((unnoted.code, ready(&fleet, DLQ).await), (Some(1), 1), "{unnoted:?}");
    assert_eq!(fleet.get(orders[0]).await["status"], "PAYMENT_APPROVED");
    mend(&stock, "dead_letter_actions").await;
    let repaired = fleet.saga(&["dlq", "import", &six, "--replay", "--json"]).await;
    assert_eq!((repaired.code, told(&repaired)), (Some(0), vec!["repaired".into()]));
    let old = repaired.json()[0]["message_id"].as_str().unwrap().to_owned();
    assert_eq!(fleet.ends(orders[0]).await["status"], "CONFIRMED");
    assert_eq!((handled(&stock, &old).await, ready(&fleet, DLQ).await), (0, 0));
    let mends = fleet.verify().await.repaired;
    assert_eq!((mends.len(), mends[0].old.to_string()), (1, old));
    let new = mends[0].new.to_string();
    assert_eq!(handled(&stock, &new).await, 1);

    mend(&stock, TABLE).await;
    let states = fleet.tables().await;
    // Replayed by the live page, or by hand in RabbitMQ's own page: neither knows of the repair.
    letter.message = letter.for_replay(dead_letters::now());
    fleet.broker.put(QUEUE, &letter.message).await;
    fleet.holds(DLQ, 1).await;
    let refused = fleet.broker.drain(DLQ).await.pop().unwrap();
    assert!(refused.text(header::REASON).unwrap().contains(&new), "{refused:?}");
    let twice = fleet.saga(&["dlq", "import", &six, "--replay", "--json"]).await;
    assert!(twice.code == Some(0) && twice.out.contains(&new), "the same event: {twice:?}");
    let other = fleet.saga(&["dlq", "import", &five, "--replay", "--json"]).await;
    assert_eq!((other.code, told(&other)), (Some(1), vec!["refused".into()]));
    assert!(other.out.contains(&new), "{other:?}");
    let back = fleet.saga(&["dlq", "import", &unchanged, "--replay", "--json"]).await;
    assert_eq!((back.code, told(&back)), (Some(1), vec!["refused".into()]));
    fleet.drained().await;
    assert_eq!(fleet.tables().await, states);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn what_was_handled_or_is_in_nobodys_hand_is_not_repaired() {
    let (mut fleet, stock, orders) = with_dead_orders(1).await;
    let six = exported(&fleet, "six", 6).await;
    let letters = DeadLetters::connect(&fleet.endpoints()).await.unwrap();
    let hand = letters.take(&Pick::default(), 10).await.unwrap();
    let held = fleet.saga(&["dlq", "import", &six, "--replay", "--json"]).await;
    assert_eq!(told(&held), ["refused"]);
    assert!(held.out.contains("another command has fetched it"), "{held:?}");
    hand.give_back().await.unwrap();

    mend(&stock, TABLE).await;
    assert_eq!(fleet.saga(&["dlq", "replay", "--all", "--yes"]).await.code, Some(0));
    assert_eq!(fleet.ends(orders[0]).await["status"], "CONFIRMED");
    let states = fleet.tables().await;
    let late = fleet.saga(&["dlq", "import", &six, "--replay", "--json"]).await;
    assert_eq!(told(&late), ["refused"]);
    assert!(late.out.contains("handled under its old id"), "{late:?}");
    fleet.drained().await;
    assert_eq!(fleet.tables().await, states);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn what_is_older_than_the_idempotency_keys_goes_on_under_a_new_id_only() {
    let (fleet, stock, orders) = with_dead_orders(1).await;
    mend(&stock, TABLE).await;
    let mut old = fleet.broker.drain(DLQ).await.pop().unwrap();
    const LONG_AGO_MS: u64 = 1_700_000_000_000;
    let id = uuid::Builder::from_unix_timestamp_millis(LONG_AGO_MS, &[1; 10]).into_uuid();
    old.id = Some(id.to_string());
    fleet.broker.put(QUEUE, &old).await;
    fleet.holds(DLQ, 1).await;
    assert_eq!(handled(&stock, &id.to_string()).await, 0);
    let expired = fleet.saga(&["dlq", "list", "--json"]).await;
    assert!(expired.out.contains("expired: published on 2023-11-14"), "{expired:?}");
    let refused = fleet.saga(&["dlq", "replay", "--all", "--yes", "--json"]).await;
    assert_eq!((refused.code, told(&refused)), (Some(1), vec!["refused".into()]));
    assert!(refused.out.contains("2023-11-14") && refused.out.contains("--new-id"), "{refused:?}");

    let export = exported(&fleet, "old", 7).await;
    let same = fleet.saga(&["dlq", "import", &export, "--replay", "--json"]).await;
    assert_eq!((same.code, told(&same)), (Some(1), vec!["refused".into()]));
    let renewed = fleet.saga(&["dlq", "import", &export, "--replay", "--new-id"]).await;
    assert_eq!(renewed.code, Some(0), "{renewed:?}");
    assert_eq!(fleet.ends(orders[0]).await["status"], "CONFIRMED");
    assert_eq!((handled(&stock, &id.to_string()).await, ready(&fleet, DLQ).await), (0, 0));
    fleet.close().await;
}

#[tokio::test]
async fn a_line_that_export_has_not_written_is_refused_before_anything_is_done() {
    let (fleet, _stock, _orders) = with_dead_orders(1).await;
    let path = exported(&fleet, "odd", 7).await;
    let line = std::fs::read_to_string(&path).unwrap();
    let mut elsewhere: Value = serde_json::from_str(&line).unwrap();
    elsewhere["queue"] = "payment.order-created".into();
    std::fs::write(&path, format!("{line}{elsewhere}\n")).unwrap();
    let refused = fleet.saga(&["dlq", "import", &path, "--replay"]).await;
    assert!(
        refused.code == Some(1) && refused.error.contains("not a dead-letter queue"),
        "{refused:?}"
    );
    std::fs::write(&path, format!("{line}nonsense\n")).unwrap();
    let refused = fleet.saga(&["dlq", "import", &path, "--replay"]).await;
    assert!(refused.code == Some(1) && refused.error.contains("line 2"), "{refused:?}");
    assert_eq!(ready(&fleet, DLQ).await, 1);
    fleet.close().await;
}
