//! Interprets the provider's HTTP answers. Pure; texts are bounded and cleaned here, so that they
//! can always be stored and sent.
//!
//! | it answers | that means |
//! | --- | --- |
//! | 200, and JSON with `status` | what it says: `approved`, `declined`, `voided`, `refunded` |
//! | 202; 200, and `pending` | it decides later: asked again until then |
//! | 422 to a charge | declined for good |
//! | 410 to a charge, and `voided` | voided before |
//! | 404 to a look-up | nothing charged so far |
//! | 401, 403 | it does not let us in, says it or a proxy: looked up, once it does |
//! | 503, 429 | not now, says it or a proxy, who cannot know: looked up, not before `Retry-After` |
//! | another 4xx | our request is wrong: looked up, slowly |
//! | (no connection could be made) | nothing was sent |
//! | (nothing in time; a broken, endless or unreadable answer) | unknown: looked up |
//! | a word about another order or amount | the same |
//! | all else: another 2xx, a redirection, another 5xx, a 200 without such a word | the same |

use super::Request;
use crate::verdict::Verdict;
use events::Money;
use serde_json::Value;
use std::time::Duration;

/// The kind of call: some answers are valid for one kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Charge,
    LookUp,
    Void,
    Refund,
}

#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: &'a [u8],
}

pub fn read(asked: Asked, answer: Answer<'_>) -> Verdict {
    let body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
    let reason = || format!("{}: {}", answer.status, text(&body["reason"]).unwrap_or_default());
    match (answer.status, asked) {
        (200, _) => said(asked, &body)
            .unwrap_or_else(|| Verdict::Unknown { reason: "200 with an unknown body".into() }),
        (202, _) => Verdict::Pending { reason: "202: the provider has not decided yet".into() },
        (422, Asked::Charge) => Verdict::Declined { reason: reason() },
        (410, Asked::Charge) if body["status"] == "voided" => Verdict::Voided,
        (404, Asked::LookUp) => Verdict::NotCharged,
        (429 | 503, _) => {
            Verdict::Unavailable { reason: reason(), retry_after: answer.retry_after }
        }
        (401 | 403, _) => Verdict::Unauthorised { reason: reason() },
        (408 | 409, _) => Verdict::Unknown { reason: reason() },
        (300..400, _) => {
            Verdict::Unknown { reason: format!("{}: redirect not followed", answer.status) }
        }
        (400..500, _) => Verdict::Refused { reason: reason() },
        _ => Verdict::Unknown { reason: reason() },
    }
}

/// A status counts only as the answer to its own question.
fn said(asked: Asked, body: &Value) -> Option<Verdict> {
    let reference = || text(&body["reference"]).unwrap_or_else(|| "(no reference)".into());
    Some(match (body["status"].as_str()?, asked) {
        ("pending", _) => {
            Verdict::Pending { reason: "pending: the provider has not decided yet".into() }
        }
        ("refunded", Asked::Refund) => Verdict::Done { reference: reference() },
        (_, Asked::Refund) => return None,
        ("approved", _) => Verdict::Done { reference: reference() },
        ("declined", Asked::LookUp | Asked::Void) => {
            let reason = text(&body["reason"]).unwrap_or_default();
            Verdict::Declined { reason: format!("422: {reason}") }
        }
        ("voided", Asked::LookUp | Asked::Void) => Verdict::Voided,
        _ => return None,
    })
}

/// What an answer says of the order or the amount that was not asked. What it does not say is not
/// compared.
pub fn mismatch(request: &Request, body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let (order, amount) = (&body["order_id"], &body["amount"]);
    let said = |value| text(value).unwrap_or_else(|| "something unreadable".into());
    let is_order = order.is_null()
        || order.as_str().and_then(|order| order.parse().ok()) == Some(request.order_id);
    let is_amount = amount.is_null()
        || text(amount).and_then(|amount| amount.parse::<Money>().ok()) == Some(request.amount);
    match (is_order, is_amount) {
        (false, _) => Some(format!("it is for the order {}", said(order))),
        (_, false) => Some(format!("it is for the amount {}", said(amount))),
        (true, true) => None,
    }
}

/// Of a text or a number.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => clean(text),
        Value::Number(number) => clean(&number.to_string()),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// Characters of a text of the provider's.
pub(super) const TEXT_MAX: usize = 200;

/// Removes characters that Postgres, a log line or a page cannot take.
pub(super) fn clean(text: &str) -> String {
    let mut characters = text.chars();
    let mut clean: String = characters
        .by_ref()
        .take(TEXT_MAX)
        .map(|it| if is_plain(it) { it } else { char::REPLACEMENT_CHARACTER })
        .collect();
    if characters.next().is_some() {
        clean.pop();
        clean.push('…');
    }
    clean
}

/// No control character, and none that breaks a line or turns its direction.
const fn is_plain(character: char) -> bool {
    !matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests;
