//! Supervises a service's broker session: when any part of it fails, builds a new one from nothing.

use crate::{Broker, BrokerError, Env, Progress, Retry, Session, Topology};
use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// A session that ends sooner is a failure like one that does not begin: the pauses grow.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// The consumer's or the relay's work on a session.
#[async_trait]
pub trait SessionTask: Send + Sync + 'static {
    /// Works until the service stops (`Ok`) or the session breaks.
    async fn run(&self, session: &dyn Session, stop: &CancellationToken)
    -> Result<(), BrokerError>;
}

pub struct SessionSupervisor {
    pub broker: Arc<dyn Broker>,
    pub topology: Topology,
    pub consumer: Arc<dyn SessionTask>,
    pub relay: Arc<dyn SessionTask>,
    pub env: Arc<dyn Env>,
    /// Shared with the consumer.
    pub progress: Arc<Progress>,
}

impl SessionSupervisor {
    /// Keeps a session until the service stops; then finishes the messages in hand, cancels
    /// `consumers_stopped`, and publishes until `said` is cancelled. A permanent refusal ends it,
    /// but only if there never was a session.
    pub fn run<'a>(
        &'a self,
        stop: &'a CancellationToken,
        consumers_stopped: &'a CancellationToken,
        said: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.supervise(stop, consumers_stopped, said).boxed()
    }

    async fn supervise(
        &self,
        stop: &CancellationToken,
        consumers_stopped: &CancellationToken,
        said: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let _consumers_stopped = consumers_stopped.clone().drop_guard();
        let mut retry = Retry::new(self.env.clone());
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
                    retry.goes_on("broker connected; consuming");
                    let began = Instant::now();
                    let ended = self.serve(Arc::from(session), stop, consumers_stopped, said).await;
                    if began.elapsed() >= STEADY_AFTER {
                        retry.steady();
                    }
                    ended
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

    /// Runs one session to its end. The relay ends last, so that it still publishes all events.
    async fn serve(
        &self,
        session: Arc<dyn Session>,
        stop: &CancellationToken,
        consumers_stopped: &CancellationToken,
        said: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let (consuming, relaying) = (stop.child_token(), CancellationToken::new());
        // Sets, which abort their tasks when this is dropped.
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
        // Again, since it may have begun only meanwhile.
        self.progress.away();
        if stop.is_cancelled() && first.is_ok() {
            consumers_stopped.cancel();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryBroker, RetrySchedule, SystemEnv};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Fails as soon as it begins.
    #[derive(Default)]
    struct Failing(AtomicU32);

    #[async_trait]
    impl SessionTask for Failing {
        async fn run(&self, _: &dyn Session, _: &CancellationToken) -> Result<(), BrokerError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(BrokerError::away("it always fails"))
        }
    }

    struct Idle;

    #[async_trait]
    impl SessionTask for Idle {
        async fn run(&self, _: &dyn Session, stop: &CancellationToken) -> Result<(), BrokerError> {
            stop.cancelled().await;
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_that_fail_at_once_are_built_ever_more_slowly() {
        let consumer = Arc::new(Failing::default());
        let supervisor = SessionSupervisor {
            broker: Arc::new(MemoryBroker::default()),
            topology: Topology::of("till", &[], &RetrySchedule::default()),
            consumer: consumer.clone(),
            relay: Arc::new(Idle),
            env: SystemEnv::shared(),
            progress: Progress::new(),
        };
        let (stop, consumers_stopped) = (CancellationToken::new(), CancellationToken::new());
        tokio::select! {
            _ = supervisor.run(&stop, &consumers_stopped, &stop) => unreachable!("it goes on"),
            () = tokio::time::sleep(Duration::from_mins(2)) => {}
        }
        let sessions = consumer.0.load(Ordering::Relaxed);
        assert!((20..100).contains(&sessions), "{sessions} in two minutes");
    }
}
