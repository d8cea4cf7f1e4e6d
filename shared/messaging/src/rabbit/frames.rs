//! Rewrites the broker's frames into frames that lapin and the link can read. Their parser fails on
//! a short string that is not UTF-8, and overflows the stack on tables that are nested too deep;
//! lapin also fails on a header frame above the negotiated size. The broker redelivers such a
//! message for ever. Here two headers replace its properties and say so. Where bodies are limited,
//! a larger one is left out, so that the memory for waiting messages is bounded. Pure.

use super::properties;
use crate::{header, message::too_large};
use std::collections::HashMap;

/// Properties larger than this are replaced: with the headers that a failure adds, a message must
/// still fit in one frame of ours.
pub const PROPERTIES_MAX: usize = 16 * 1024;
/// So many of the replaced bytes are kept with the message, for an operator. The broker keeps all
/// of them.
const SHOWN_MAX: usize = 4 * 1024;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Type, channel, size.
const HEAD: usize = 7;
/// Class, weight, size of the body.
const CONTENT: usize = 12;
const END: u8 = 0xCE;
const BASIC: u16 = 60;

#[derive(Default)]
pub struct Frames {
    body_max: Option<u64>,
    /// The remaining bytes of a body that is left out, by channel.
    left_out: HashMap<[u8; 2], u64>,
    /// The part of an incomplete frame that has arrived; of one that is too large, its beginning.
    begun: Vec<u8>,
    /// The remaining bytes of a frame that is not parsed: passed through or dropped.
    passing: usize,
    skipping: usize,
    /// The bytes are not AMQP, so the parser reports what is wrong.
    is_foreign: bool,
}

impl Frames {
    pub fn new(body_max: Option<usize>) -> Self {
        Self { body_max: body_max.map(|max| max as u64), ..Self::default() }
    }

    /// Appends to `readable` what the parser may read of it.
    pub fn push(&mut self, mut raw: &[u8], readable: &mut Vec<u8>) {
        while !raw.is_empty() {
            if self.is_foreign {
                readable.extend(raw);
                return;
            }
            if self.passing > 0 {
                let (through, rest) = raw.split_at(self.passing.min(raw.len()));
                readable.extend(through);
                self.passing -= through.len();
                raw = rest;
            } else if self.skipping > 0 {
                let (skipped, rest) = raw.split_at(self.skipping.min(raw.len()));
                self.skipping -= skipped.len();
                raw = rest;
                if self.skipping == 0 {
                    self.end(readable);
                }
            } else {
                raw = self.begin(raw, readable);
            }
        }
    }

    /// Continues a frame that is parsed; returns the rest.
    fn begin<'a>(&mut self, raw: &'a [u8], readable: &mut Vec<u8>) -> &'a [u8] {
        let wanted = if self.begun.len() < HEAD { HEAD } else { self.parsed_bytes() };
        let (taken, rest) = raw.split_at((wanted - self.begun.len()).min(raw.len()));
        self.begun.extend(taken);
        if self.begun.len() < wanted {
            return rest;
        }
        if wanted > HEAD {
            self.skipping = HEAD + self.size() + 1 - wanted;
            if self.skipping == 0 {
                self.end(readable);
            }
            return rest;
        }
        let kind = self.begun[0];
        match kind {
            METHOD | HEADER => {}
            BODY if self.is_left_out() => {
                self.skipping = self.size() + 1;
                self.begun.clear();
            }
            BODY | HEARTBEAT => {
                self.passing = self.size() + 1;
                readable.append(&mut self.begun);
            }
            _ => {
                self.is_foreign = true;
                readable.append(&mut self.begun);
            }
        }
        rest
    }

    fn channel(&self) -> [u8; 2] {
        [self.begun[1], self.begun[2]]
    }

    /// Whether a body's frame belongs to a body that is left out.
    fn is_left_out(&mut self) -> bool {
        let (channel, size) = (self.channel(), self.size() as u64);
        let Some(left) = self.left_out.get_mut(&channel) else { return false };
        *left = left.saturating_sub(size);
        if *left == 0 {
            self.left_out.remove(&channel);
        }
        true
    }

    fn size(&self) -> usize {
        u32::from_be_bytes([self.begun[3], self.begun[4], self.begun[5], self.begun[6]]) as usize
    }

    /// How much of the frame is parsed.
    fn parsed_bytes(&self) -> usize {
        let whole = HEAD + self.size() + 1;
        match self.begun[0] {
            // With the end of a frame that is as large as it may be.
            HEADER => whole.min(HEAD + CONTENT + PROPERTIES_MAX + 1),
            _ => whole,
        }
    }

    /// The frame is complete.
    fn end(&mut self, readable: &mut Vec<u8>) {
        if self.begun.is_empty() {
            return;
        }
        let size = self.size();
        if self.begun[0] == METHOD {
            properties::clean_routing(&mut self.begun[HEAD..HEAD + size]);
            readable.append(&mut self.begun);
            return;
        }
        let is_basic = size >= CONTENT && self.begun[HEAD..HEAD + 2] == BASIC.to_be_bytes();
        let flaw = if !is_basic {
            None
        } else if let Some(body) = self.leave_out() {
            Some(too_large(body))
        } else if size > CONTENT + PROPERTIES_MAX {
            let (kib, max) = ((size - CONTENT) / 1024, PROPERTIES_MAX / 1024);
            Some(format!("its properties take {kib} KiB; {max} KiB are read"))
        } else {
            properties::flaw(self.begun.get(HEAD + CONTENT..HEAD + size).unwrap_or_default())
        };
        match flaw {
            None => readable.append(&mut self.begun),
            Some(flaw) => {
                let shown = &self.begun[HEAD + CONTENT..(HEAD + size).min(self.begun.len())];
                let shown = &shown[..shown.len().min(SHOWN_MAX)];
                readable.extend(replaced(&self.begun[..HEAD + CONTENT], &flaw, shown));
                self.begun.clear();
            }
        }
    }

    /// The size of a body above the limit: none of it is passed on.
    fn leave_out(&mut self) -> Option<u64> {
        let size = &mut self.begun[HEAD + 4..HEAD + CONTENT];
        let body = u64::from_be_bytes(size.try_into().expect("it has eight bytes"));
        self.body_max.filter(|max| body > *max)?;
        size.fill(0);
        self.left_out.insert(self.channel(), body);
        Some(body)
    }
}

/// The frame of the same message, whose only properties are two headers.
fn replaced(head: &[u8], flaw: &str, shown: &[u8]) -> Vec<u8> {
    const HEADERS: u16 = 1 << 13;
    let mut table = Vec::new();
    let shown = shown.escape_ascii().to_string();
    for (name, text) in [(header::UNREADABLE, flaw), (header::UNREADABLE_BYTES, &shown)] {
        table.push(u8::try_from(name.len()).expect("a name of ours is short"));
        table.extend(name.as_bytes());
        table.push(b'S');
        table.extend(length(text.as_bytes()));
        table.extend(text.as_bytes());
    }
    let mut payload = head[HEAD..].to_vec();
    payload.extend(HEADERS.to_be_bytes());
    payload.extend(length(&table));
    payload.extend(table);
    let mut frame = head[..3].to_vec();
    frame.extend(length(&payload));
    frame.extend(payload);
    frame.push(END);
    frame
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("what is kept is bounded").to_be_bytes()
}

#[cfg(test)]
mod tests;
