//! Streams an order's steps as server-sent events, to the end, and reconnects where needed.

use std::collections::HashSet;

use events::{EventId, OrderId};
use serde::Deserialize;

use super::{Api, ApiError, Step, stream::Stream};

#[derive(Clone, Debug)]
pub enum Happened {
    Step(Step),
    End { status: String },
}

pub struct Steps {
    stream: Stream,
    seen: HashSet<EventId>,
    ended: bool,
}

#[derive(Deserialize)]
struct End {
    status: String,
}

impl Steps {
    pub(super) async fn open(api: Api, order: OrderId) -> Result<Self, ApiError> {
        let stream = Stream::open(api, format!("/orders/{order}/events")).await?;
        Ok(Self { stream, seen: HashSet::new(), ended: false })
    }

    /// The next step, each once; `None` after the end.
    pub async fn next(&mut self) -> Result<Option<Happened>, ApiError> {
        while !self.ended {
            let (kind, data) = self.stream.next().await?;
            match kind.as_str() {
                "step" => {
                    let step: Step = self.stream.read(&data)?;
                    if self.seen.insert(step.event_id) {
                        return Ok(Some(Happened::Step(step)));
                    }
                }
                "end" => {
                    self.ended = true;
                    let End { status } = self.stream.read(&data)?;
                    return Ok(Some(Happened::End { status }));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}
