//! Dead letters that another operator holds for now.

use crate::dead_letters::{DLQ, with_dead_orders};
use dead_letters::FetchedMessages;
use e2e::{given_broker, until};

#[tokio::test]
async fn dead_letters_that_another_command_holds_are_not_called_none() {
    let (fleet, _stock, _orders) = with_dead_orders(1).await;
    let (connection, _channel) = fleet.broker.channel().await;
    let held = FetchedMessages::take(&connection, DLQ, 10).await.unwrap();
    // Once RabbitMQ has counted.
    until(|| async {
        let list = fleet.saga(&["dlq", "list"]).await;
        let tells = list.error.contains(&format!("holds dead letters (1 of {DLQ})"));
        if list.code == Some(1) && tells { Ok(()) } else { Err(format!("{list:?}")) }
    })
    .await;
    held.give_back().await.unwrap();
    assert_eq!(fleet.saga(&["dlq", "list", "--json"]).await.json()[0]["count"], 1);
    fleet.close().await;
}

/// RabbitMQ hands out 2,000 at once; some are another operator's for now.
#[tokio::test]
async fn a_large_heap_is_taken_whole_and_given_back() {
    let broker = given_broker().await;
    let (connection, _channel) = broker.channel().await;
    broker.fill("heap", 4_100).await;
    let counts = async |wanted| {
        until(|| async {
            let there = broker.ready(&["heap".into()]).await[0];
            if there == wanted { Ok(()) } else { Err(format!("{there}")) }
        })
        .await;
    };
    counts(4_100).await;
    let others = FetchedMessages::take(&connection, "heap", 40).await.unwrap();
    let rest = FetchedMessages::take(&connection, "heap", usize::MAX).await.unwrap();
    let taken = others.messages.iter().chain(&rest.messages);
    let bodies: Vec<_> = taken.map(|(_, message)| message.body.clone()).collect();
    let expected: Vec<_> = (0..4_100).map(|number| number.to_string().into_bytes()).collect();
    assert!(bodies == expected, "{} of 4,100, or in another order", bodies.len());
    assert_eq!((others.left, rest.left), (4_060, 0));
    others.give_back().await.unwrap();
    rest.give_back().await.unwrap();
    counts(4_100).await;
    broker.delete().await;
}
