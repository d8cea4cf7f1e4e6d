//! Publishes into one queue, with publisher confirms.

use crate::{Letter, now};
use anyhow::Result;
use messaging::{
    Broker as _, Confirm, Message, Publication, Publisher, RabbitMq, Session, Topology,
};

pub struct Post {
    publisher: Box<dyn Publisher>,
    // The publisher's connection.
    _session: Box<dyn Session>,
}

impl Post {
    /// `name` is what the connection is called in RabbitMQ.
    pub async fn connect(amqp_url: &str, name: &str) -> Result<Self> {
        let rabbit = RabbitMq::new(amqp_url, 1).map_err(anyhow::Error::msg)?;
        // It declares nothing: a missing queue is its service's to create.
        let nothing = Topology { service: name.into(), ..Topology::default() };
        let session = rabbit.connect(&nothing).await?;
        Ok(Self { publisher: session.publisher().await?, _session: session })
    }

    /// Publishes these unchanged to these queues. `Ok` is RabbitMQ's confirm.
    pub async fn send_back(&mut self, letters: &[(&Letter, &str)]) -> Vec<Result<(), String>> {
        let burst: Vec<_> =
            letters.iter().map(|(letter, to)| into(to, letter.for_replay(now()))).collect();
        self.send(&burst).await
    }

    pub async fn send(&mut self, burst: &[Publication]) -> Vec<Result<(), String>> {
        let confirms = match self.publisher.publish(burst).await {
            Ok(confirms) => confirms,
            Err(why) => return vec![Err(why.to_string()); burst.len()],
        };
        let told = burst.iter().zip(confirms).map(|(publication, confirm)| {
            let queue = &publication.routing_key;
            match confirm {
                Confirm::Stored => Ok(()),
                Confirm::Unroutable => {
                    Err(format!("there is no queue {queue}: import what `saga topology` prints"))
                }
                Confirm::Refused => Err(format!("{queue} is full or failing: try again later")),
            }
        });
        told.collect()
    }
}

/// Directly into one queue. The service's exchange would send it to every other consumer again.
pub fn into(queue: &str, message: Message) -> Publication {
    Publication { exchange: String::new(), routing_key: queue.into(), message }
}
