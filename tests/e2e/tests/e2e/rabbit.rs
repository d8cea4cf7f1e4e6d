//! Tests the RabbitMQ adapter against a real RabbitMQ.

use dead_letters::FetchedMessages;
use e2e::{BrokerView, Fleet, given_broker, until};
use messaging::{
    Broker, BrokerError, Confirm, Message, Publication, QueueType, RabbitMq, RetrySchedule,
    Topology,
};
use std::collections::BTreeSet;

fn publication(number: usize, routing_key: &str) -> Publication {
    let message = Message { id: Some(format!("message-{number}")), ..Message::default() };
    Publication { exchange: "customer.exchange".into(), routing_key: routing_key.into(), message }
}

fn topology() -> Topology {
    Topology::of("till", &["customer.paid"], &RetrySchedule::default())
}

#[tokio::test]
async fn in_a_burst_each_message_has_its_own_confirm() {
    let view = given_broker().await;
    let session = RabbitMq::new(&view.amqp_url, 10).unwrap().connect(&topology()).await.unwrap();
    let publisher = session.publisher().await.unwrap();
    let mut heard = 0;
    for round in 0..30 {
        let is_heard = |number: usize| !(number * 7 + round).is_multiple_of(3);
        let burst: Vec<_> = (0..200)
            .map(|n| publication(n, if is_heard(n) { "customer.paid" } else { "customer.sneezed" }))
            .collect();
        let confirms = publisher.publish(&burst).await.unwrap();
        for (number, confirm) in confirms.into_iter().enumerate() {
            let expected = if is_heard(number) { Confirm::Stored } else { Confirm::Unroutable };
            assert_eq!(confirm, expected, "message {number} of round {round}");
            heard += usize::from(is_heard(number));
        }
    }
    session.close().await;
    assert_eq!(view.ready(&["till.customer-paid".into()]).await, [u32::try_from(heard).unwrap()]);
    view.delete().await;
}

#[tokio::test]
async fn what_is_not_settled_comes_again_in_the_next_session() {
    let view = given_broker().await;
    let rabbit = RabbitMq::new(&view.amqp_url, 10).unwrap();
    let session = rabbit.connect(&topology()).await.unwrap();
    let burst: Vec<_> = (0..3).map(|number| publication(number, "customer.paid")).collect();
    session.publisher().await.unwrap().publish(&burst).await.unwrap();
    let mut deliveries = session.consume("till.customer-paid").await.unwrap();
    let first = deliveries.next(1).await.unwrap();
    deliveries.ack(&BTreeSet::new()).await.unwrap();
    assert_eq!(first[0].message.id.as_deref(), Some("message-0"));
    deliveries.next(1).await.unwrap();
    session.close().await;
    drop(deliveries);

    let session = rabbit.connect(&topology()).await.unwrap();
    let mut deliveries = session.consume("till.customer-paid").await.unwrap();
    let mut again = Vec::new();
    while again.len() < 2 {
        again.extend(deliveries.next(10).await.unwrap());
    }
    let ids: Vec<_> = again.iter().filter_map(|delivery| delivery.message.id.as_deref()).collect();
    assert_eq!(ids, ["message-1", "message-2"]);
    assert!(again.iter().all(|delivery| delivery.returns == 1));
    session.close().await;
    view.delete().await;
}

#[tokio::test]
async fn what_is_kept_is_not_acknowledged_with_all_others() {
    let view = given_broker().await;
    let rabbit = RabbitMq::new(&view.amqp_url, 10).unwrap();
    let session = rabbit.connect(&topology()).await.unwrap();
    let burst: Vec<_> = (0..8).map(|number| publication(number, "customer.paid")).collect();
    session.publisher().await.unwrap().publish(&burst).await.unwrap();
    let mut deliveries = session.consume("till.customer-paid").await.unwrap();
    let mut tags = Vec::new();
    while tags.len() < burst.len() {
        tags.extend(deliveries.next(10).await.unwrap().iter().map(|delivery| delivery.tag));
    }
    // One after the other, and again without the first of them.
    for kept in [&[2, 5, 7][..], &[5, 7]] {
        let kept = kept.iter().map(|place: &usize| tags[*place]).collect();
        deliveries.ack(&kept).await.unwrap();
    }
    session.close().await;
    until(|| async {
        let left = view.ready(&["till.customer-paid".into()]).await;
        if left == [2] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let left = view.drain("till.customer-paid").await;
    let ids: Vec<_> = left.iter().filter_map(|message| message.id.as_deref()).collect();
    assert_eq!(ids, ["message-5", "message-7"]);
    view.delete().await;
}

#[tokio::test]
async fn a_publisher_that_was_refused_notices_the_end_of_the_limit() {
    let view = given_broker().await;
    let session = RabbitMq::new(&view.amqp_url, 10).unwrap().connect(&topology()).await.unwrap();
    let publisher = session.publisher().await.unwrap();
    let confirmed = async |wanted: Confirm| {
        until(|| async {
            let confirm = publisher.publish(&[publication(1, "customer.paid")]).await.unwrap()[0];
            if confirm == wanted { Ok(()) } else { Err(format!("{confirm:?}")) }
        })
        .await;
    };
    view.limit("^till[.]customer-paid$", 1).await;
    confirmed(Confirm::Refused).await;
    view.end_limit().await;
    confirmed(Confirm::Stored).await;
    session.close().await;
    view.delete().await;
}

#[tokio::test]
async fn a_second_process_gets_what_the_first_has_no_room_for() {
    const ROOM: u16 = 10;
    let view = given_broker().await;
    let process = async || {
        let rabbit = RabbitMq::new(&view.amqp_url, ROOM).unwrap();
        let session = rabbit.connect(&topology()).await.unwrap();
        let deliveries = session.consume("till.customer-paid").await.unwrap();
        (session, deliveries)
    };
    let ((session, mut one), (other_session, mut other)) = (process().await, process().await);
    let burst: Vec<_> = (0..15).map(|number| publication(number, "customer.paid")).collect();
    session.publisher().await.unwrap().publish(&burst).await.unwrap();
    let mut had = [0, 0];
    while had.iter().sum::<usize>() < burst.len() {
        tokio::select! {
            batch = one.next(1) => had[0] += batch.unwrap().len(),
            batch = other.next(1) => had[1] += batch.unwrap().len(),
        }
    }
    had.sort_unstable();
    assert_eq!(had, [5, ROOM.into()]);
    session.close().await;
    other_session.close().await;
    view.delete().await;
}

#[tokio::test]
async fn a_queue_that_is_not_as_ours_is_named() {
    let view = given_broker().await;
    declare_classic(&view, "till.customer-paid").await;
    let refused = RabbitMq::new(&view.amqp_url, 10).unwrap().connect(&topology()).await;
    let Err(BrokerError::Topology(why)) = refused else { panic!("it must be refused") };
    assert!(why.contains("till.customer-paid"), "{why}");
    view.delete().await;
}

#[tokio::test]
async fn classic_queues_are_made_where_they_are_asked_for() {
    let view = given_broker().await;
    let rabbit = RabbitMq::new(&view.amqp_url, 10).unwrap();
    for _ in 0..2 {
        let classic = rabbit.connect(&topology().with(QueueType::Classic)).await;
        classic.unwrap().close().await;
    }
    let refused = rabbit.connect(&topology()).await;
    let Err(BrokerError::Topology(why)) = refused else { panic!("they are no quorum queues") };
    assert!(why.contains("x-queue-type"), "{why}");
    view.delete().await;
}

/// A declaration counts none of them then.
#[tokio::test]
async fn the_messages_of_a_queue_without_a_leader_are_not_missed() {
    let fleet = Fleet::prepare_on_own_servers(Fleet::given_rabbitmq(), false).await;
    let (rabbit, broker) = (fleet.own_rabbit.as_ref().unwrap(), &fleet.broker);
    broker.fill("heap", 3).await;
    let look = async || {
        let (connection, _channel) = broker.channel().await;
        let held = FetchedMessages::take(&connection, "heap", 10).await;
        held.map(|held| held.messages.len()).map_err(|why| format!("{why:#}"))
    };
    let has = async |what: &str| {
        let name = format!("rabbit_misc:r(<<\"{}\">>, queue, <<\"heap\">>)", broker.vhost);
        let queue = format!("{{ok, Queue}} = rabbit_amqqueue:lookup({name})");
        let member = "amqqueue:get_pid(Queue)";
        rabbit.eval(&format!("{queue}, ra:{what}(quorum_queues, {member}).")).await.unwrap();
    };
    has("stop_server").await;
    assert_eq!(broker.ready(&["heap".into()]).await, [0]);
    let why = look().await.unwrap_err();
    assert!(why.contains("cannot look into heap"), "{why}");
    has("restart_server").await;
    until(|| async {
        let found = look().await?;
        if found == 3 { Ok(()) } else { Err(format!("{found} of 3")) }
    })
    .await;
    fleet.close().await;
}

async fn declare_classic(view: &BrokerView, queue: &str) {
    let (_connection, channel) = view.channel().await;
    channel.queue_declare(queue.into(), Default::default(), Default::default()).await.unwrap();
}
