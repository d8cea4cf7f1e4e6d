//! A service's line to the broker: one session, rebuilt from nothing whenever any part of it fails.

use crate::{
    Broker, BrokerError, Consumer, Ledger, Progress, Relay, Retry, Session, Store, Topology, World,
};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub struct Line<S: Store, L: Ledger<Tx = S::Tx>> {
    pub broker: Arc<dyn Broker>,
    pub topology: Topology,
    pub consumer: Arc<Consumer<S, L>>,
    pub relay: Arc<Relay<L>>,
    pub world: Arc<dyn World>,
    /// The consumer's too.
    pub progress: Arc<Progress>,
}

impl<S: Store, L: Ledger<Tx = S::Tx>> Line<S, L> {
    /// Keeps the line open until told to stop; then finishes what is in hand. A refusal that
    /// waiting cannot mend ends it, but only if there never was a session.
    pub async fn run(&self, stop: &CancellationToken) -> Result<(), BrokerError> {
        let deaf = CancellationToken::new();
        self.run_to_the_last_word(stop, &deaf, &deaf).await
    }

    /// The same, where others say something too: tells by `deaf` that no message is handled any
    /// more, and publishes until all is said.
    pub async fn run_to_the_last_word(
        &self,
        stop: &CancellationToken,
        deaf: &CancellationToken,
        said: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let _deaf = deaf.clone().drop_guard();
        let mut retry = Retry::new(self.world.clone());
        let mut opened = false;
        while !stop.is_cancelled() {
            let connected = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                connected = self.broker.connect(&self.topology) => connected,
            };
            let broken = match connected {
                Ok(session) => {
                    opened = true;
                    retry.succeeded("the broker is there: consuming");
                    self.serve(Arc::from(session), stop, deaf, said).await
                }
                Err(why) => Err(why),
            };
            match broken {
                Ok(()) => return Ok(()),
                Err(why) if !opened && !why.is_transient() => return Err(why),
                Err(why) => retry.failed(&why.to_string()),
            }
            retry.wait(stop).await;
        }
        Ok(())
    }

    /// One session, to its end. The relay ends last, so that it still publishes what was said.
    async fn serve(
        &self,
        session: Arc<dyn Session>,
        stop: &CancellationToken,
        deaf: &CancellationToken,
        said: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let (consuming, relaying) = (stop.child_token(), CancellationToken::new());
        self.progress.consumes(self.consumer.queues.iter().map(|queue| queue.name.clone()));
        // Sets, which take their tasks with them where this is dropped.
        let (mut consumer, mut relay) = (JoinSet::new(), JoinSet::new());
        consumer.spawn({
            let (consumer, session, stop) =
                (self.consumer.clone(), session.clone(), consuming.clone());
            async move { consumer.run(&*session, &stop).await }
        });
        relay.spawn({
            let (relay, session, stop) = (self.relay.clone(), session.clone(), relaying.clone());
            async move { relay.run(&*session, &stop).await }
        });
        let mut first = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            Some(ended) = consumer.join_next() => outcome(ended),
            Some(ended) = relay.join_next() => outcome(ended),
        };
        self.progress.away();
        consuming.cancel();
        while consumer.join_next().await.is_some() {}
        if stop.is_cancelled() && first.is_ok() {
            deaf.cancel();
            tokio::select! {
                biased;
                () = said.cancelled() => {}
                Some(ended) = relay.join_next() => first = outcome(ended),
            }
        }
        relaying.cancel();
        while relay.join_next().await.is_some() {}
        session.close().await;
        first
    }
}

fn outcome(
    ended: Result<Result<(), BrokerError>, tokio::task::JoinError>,
) -> Result<(), BrokerError> {
    ended.unwrap_or_else(|panic| Err(BrokerError::away(panic)))
}
