//! Tests the RabbitMQ adapter against a real RabbitMQ.

use e2e::{BrokerView, given_broker};
use messaging::{
    Broker, BrokerError, Confirm, Message, Publication, QueueType, RabbitMq, RetrySchedule,
    Topology,
};

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
    deliveries.ack().await.unwrap();
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

async fn declare_classic(view: &BrokerView, queue: &str) {
    let (_connection, channel) = view.channel().await;
    channel.queue_declare(queue.into(), Default::default(), Default::default()).await.unwrap();
}
