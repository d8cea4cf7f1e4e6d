//! Looks for the host that takes writes. A try is not given up because it is slow: begun anew each
//! time, TLS and a login would never end on a busy machine. Since the server may have gone, or have
//! moved, a host that is silent is tried anew all the same, beside its first try.

use super::{Connect, Hosts, Refused};
use crate::Limits;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::pin::pin;
use tokio::time::{sleep, timeout};

struct Look<'h, C> {
    hosts: &'h Hosts,
    limits: Limits,
    asked: FuturesUnordered<BoxFuture<'h, Answer<C>>>,
    each: Vec<Asked<C>>,
}

struct Answer<C> {
    at: usize,
    is_first: bool,
    opened: Result<(C, i32), Refused>,
}

/// What is known of a host.
struct Asked<C> {
    /// Its first try has not ended.
    is_waited_for: bool,
    opened: Option<(C, i32)>,
    refused: Option<Refused>,
}

impl Hosts {
    /// Connects to the chosen host; if that fails, looks at all of them.
    pub async fn connect<C: Connect>(&self, limits: Limits) -> Result<C, Refused> {
        let (chosen, newest) = {
            let chosen = self.lock();
            (chosen.host, chosen.timeline)
        };
        let mut look = Look::new(self, limits);
        if let Some(at) = chosen {
            look.ask(at);
            if let Ok(Some(answer)) = timeout(limits.ping(), look.asked.next()).await {
                look.note(answer);
            }
        }
        let silent = || Refused::silent(limits.ping());
        let is_found = look.each.iter().any(|host| host.opened.is_some());
        while !is_found && !look.round(newest).await {
            let refusals = look.each.iter_mut().map(|host| host.refused.take());
            self.say(refusals.map(|refused| refused.unwrap_or_else(silent)));
        }
        let answers = look.each.into_iter().map(|host| match host {
            Asked { opened: Some(opened), .. } => Ok(opened),
            Asked { refused, .. } => Err(refused.unwrap_or_else(silent)),
        });
        self.choose(answers.collect())
    }
}

impl<'h, C: Connect + 'h> Look<'h, C> {
    fn new(hosts: &'h Hosts, limits: Limits) -> Self {
        let unknown = |_| Asked { is_waited_for: false, opened: None, refused: None };
        let each = hosts.all.iter().map(unknown).collect();
        Self { hosts, limits, asked: FuturesUnordered::new(), each }
    }

    fn ask(&mut self, at: usize) {
        let (hosts, host) = (self.hosts, &mut self.each[at]);
        let is_first = !std::mem::replace(&mut host.is_waited_for, true);
        // So there are three tries at most.
        let limit = if is_first { self.limits.login() } else { self.limits.ping() * 2 };
        let opening = hosts.open_in_time(at, limit);
        let answer = async move { Answer { at, is_first, opened: opening.await } };
        self.asked.push(answer.boxed());
    }

    fn note(&mut self, Answer { at, is_first, opened }: Answer<C>) {
        let host = &mut self.each[at];
        host.is_waited_for &= !is_first;
        match opened {
            Ok(opened) => host.opened = Some(opened),
            Err(why) => host.refused = Some(why),
        }
    }

    /// Asks all of which nothing is known. True where the look is over: all have answered; or one
    /// takes writes, and the others have had their time or it was promoted.
    async fn round(&mut self, newest: i32) -> bool {
        for at in 0..self.each.len() {
            if self.each[at].refused.is_none() {
                self.ask(at);
            }
        }
        let mut time = pin!(sleep(self.limits.ping()));
        loop {
            let answer = tokio::select! {
                biased;
                Some(answer) = self.asked.next() => answer,
                () = &mut time => return self.each.iter().any(|host| host.opened.is_some()),
            };
            self.note(answer);
            let is_promoted = |host: &Asked<C>| {
                newest > 0 && host.opened.as_ref().is_some_and(|(_, its)| *its > newest)
            };
            let has_answered = |host: &Asked<C>| !host.is_waited_for || host.opened.is_some();
            if self.each.iter().any(is_promoted) || self.each.iter().all(has_answered) {
                return true;
            }
        }
    }
}
