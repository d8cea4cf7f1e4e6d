//! Counts the bytes of requests and answers in memory, and reads a request's body whole before the
//! request takes a slot.

use super::{BODY_MAX, problem::Problem};
use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use futures::StreamExt;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

pub const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Time for an evicted request to end.
const ROOM_WITHIN: Duration = Duration::from_millis(200);
const SMALLEST: usize = 1024;

pub struct Memory {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    answer_bytes: usize,
    arriving: Mutex<Arriving>,
}

/// The bodies still arriving, the oldest first.
#[derive(Default)]
struct Arriving {
    bodies: BTreeMap<u64, Arc<Arrival>>,
    next: u64,
}

#[derive(Default)]
struct Arrival {
    held: AtomicUsize,
    give_way: Notify,
}

/// One of them, until it is dropped.
struct Arrives<'a> {
    memory: &'a Memory,
    number: u64,
    arrival: Arc<Arrival>,
}

impl Memory {
    pub fn new(request_bytes: usize, answer_bytes: usize) -> Self {
        let room = |bytes| Arc::new(Semaphore::new(bytes));
        let (requests, answers) = (room(request_bytes), room(answer_bytes));
        Self { requests, answers, answer_bytes, arriving: Mutex::default() }
    }

    /// The whole body, with its share of the memory.
    pub async fn receive(
        &self,
        body: Body,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
        if body.is_end_stream() {
            return Ok((Bytes::new(), None));
        }
        if body.size_hint().lower() > BODY_MAX as u64 {
            return Err(Problem::too_large());
        }
        let arrives = self.arrives();
        tokio::select! {
            biased;
            read = timeout(BODY_WITHIN, arrives.read(body)) => {
                read.unwrap_or_else(|_| Err(Problem::too_slow()))
            }
            () = arrives.arrival.give_way.notified() => Err(Problem::gave_way()),
        }
    }

    fn arrives(&self) -> Arrives<'_> {
        let mut arriving = self.arriving();
        let (number, arrival) = (arriving.next, Arc::<Arrival>::default());
        arriving.next += 1;
        arriving.bodies.insert(number, arrival.clone());
        drop(arriving);
        Arrives { memory: self, number, arrival }
    }

    /// Evicts the requests whose bodies have been arriving longest.
    fn make_room(&self, bytes: usize) {
        let mut freed = 0;
        for arrival in self.arriving().bodies.values() {
            // Each makes room for one only.
            let held = arrival.held.swap(0, Ordering::Relaxed);
            if held > 0 {
                arrival.give_way.notify_one();
            }
            freed += held;
            if freed >= bytes {
                return;
            }
        }
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer until it is sent. The answer to a counted request has its room already, so
    /// that no completed work goes without an answer.
    pub async fn weigh(
        &self,
        answer: Response,
        held: Option<OwnedSemaphorePermit>,
    ) -> Result<Response, Problem> {
        // A stream: its parts are counted in its feed.
        let Some(bytes) = answer.body().size_hint().exact() else { return Ok(answer) };
        let room = match held {
            Some(room) => room,
            None => {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.answer_bytes);
                room(&self.answers, bytes).ok_or_else(Problem::overloaded)?
            }
        };
        let (parts, body) = answer.into_parts();
        let whole = axum::body::to_bytes(body, usize::MAX).await;
        let whole = whole.map_err(|_| Problem::internal())?;
        let counted = Bytes::from_owner(Counted { whole, _room: room });
        Ok(Response::from_parts(parts, Body::from(counted)))
    }
}

impl Arrives<'_> {
    async fn read(&self, body: Body) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
        let (mut chunks, mut whole) = (body.into_data_stream(), Vec::new());
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::broken_off())?;
            let length = whole.len() + chunk.len();
            if length > BODY_MAX {
                return Err(Problem::too_large());
            }
            if length > whole.capacity() {
                // Copied, since a chunk keeps its whole buffer alive.
                let capacity = length.next_power_of_two().clamp(SMALLEST, BODY_MAX);
                let more = self.room(capacity - whole.capacity()).await?;
                whole.reserve_exact(capacity - whole.len());
                match &mut held {
                    Some(held) => held.merge(more),
                    None => held = Some(more),
                }
                self.arrival.held.store(whole.capacity(), Ordering::Relaxed);
            }
            whole.extend_from_slice(&chunk);
        }
        Ok((whole.into(), held))
    }

    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        if let Some(room) = room(&self.memory.requests, bytes) {
            return Ok(room);
        }
        self.memory.make_room(bytes);
        let count = u32::try_from(bytes).map_err(|_| Problem::overloaded())?;
        let room = self.memory.requests.clone().acquire_many_owned(count);
        let room = timeout(ROOM_WITHIN, room).await.ok().and_then(Result::ok);
        room.ok_or_else(Problem::overloaded)
    }
}

impl Drop for Arrives<'_> {
    fn drop(&mut self) {
        self.memory.arriving().bodies.remove(&self.number);
    }
}

fn room(of: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    of.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
}

/// Returns its share when its last part is sent.
struct Counted {
    whole: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.whole
    }
}
