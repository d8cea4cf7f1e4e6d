//! Writes and reads a dead letter as a line of JSON, which can be stored, repaired by hand and
//! imported.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use messaging::{Header, Message};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use dead_letters::Letter;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The queue that it was exported from.
    pub queue: String,
    pub message_id: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub correlation_id: Option<String>,
    pub app_id: Option<String>,
    pub timestamp: Option<u64>,
    pub content_type: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// The digest of the original bytes, so that a change is noticed.
    pub digest: String,
    /// The payload byte for byte, if it is JSON on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    /// The payload, if it is other text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The payload in hexadecimal digits, if it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
}

impl Line {
    pub fn of(letter: &Letter) -> Self {
        let message = &letter.message;
        let text = std::str::from_utf8(&message.body).ok();
        // A raw value that is not kept verbatim would come back as other bytes.
        let raw = |text: &str| RawValue::from_string(text.into()).ok();
        let body = text
            .and_then(raw)
            .filter(|raw| text == Some(raw.get()) && !raw.get().contains(['\n', '\r']));
        let plain = text.filter(|_| body.is_none()).map(Into::into);
        let headers = message.headers.iter().map(|(name, header)| (name.clone(), value(header)));
        Self {
            queue: letter.parked.clone(),
            message_id: message.id.clone(),
            kind: message.kind.clone(),
            correlation_id: message.correlation_id.clone(),
            app_id: message.app_id.clone(),
            timestamp: message.timestamp,
            content_type: message.content_type.clone(),
            headers: headers.collect(),
            digest: hex(&message.digest()),
            hex: text.is_none().then(|| hex(&message.body)),
            text: plain,
            body,
        }
    }

    /// The message as it is now, and the digest of its exported bytes.
    pub fn letter(self) -> Result<(Letter, Vec<u8>)> {
        let old_digest = unhex(&self.digest).context("its digest differs from the exported one")?;
        let body = match (self.body, self.text, self.hex) {
            (Some(raw), None, None) => raw.get().as_bytes().to_vec(),
            (None, Some(text), None) => text.into_bytes(),
            (None, None, Some(digits)) => unhex(&digits)?,
            _ => bail!("give its payload as one of body (JSON), text and hex"),
        };
        let headers = self.headers.into_iter().map(|(name, value)| Ok((name, header(value)?)));
        let message = Self::checked(Message {
            id: self.message_id,
            kind: self.kind,
            correlation_id: self.correlation_id,
            app_id: self.app_id,
            timestamp: self.timestamp,
            content_type: self.content_type,
            headers: headers.collect::<Result<_>>()?,
            body,
        })?;
        Ok((Letter { parked: self.queue, message }, old_digest))
    }

    /// A message that exceeds AMQP's limits cannot be published.
    fn checked(message: Message) -> Result<Message> {
        const SHORT_MAX: usize = 255;
        let Message { id, kind, correlation_id, app_id, content_type, headers, .. } = &message;
        let properties = [id, kind, correlation_id, app_id, content_type].into_iter().flatten();
        let long = properties.chain(headers.keys()).find(|text| text.len() > SHORT_MAX);
        if let Some(text) = long {
            let start: String = text.chars().take(20).collect();
            bail!("{start:?}… is longer than {SHORT_MAX} bytes: AMQP has no room for more");
        }
        Ok(message)
    }
}

pub fn value(header: &Header) -> Value {
    match header {
        Header::Text(text) => text.as_str().into(),
        Header::Number(number) => (*number).into(),
    }
}

fn header(value: Value) -> Result<Header> {
    Ok(match value {
        Value::String(text) => text.into(),
        Value::Number(number) => number.as_i64().context("a header is no whole number")?.into(),
        other => bail!("the header {other} is neither text nor a number"),
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Result<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let is_byte = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|_| is_byte)?, 16).ok()
    });
    pairs.collect::<Option<_>>().context("hex takes pairs of 0 to 9 and a to f")
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use dead_letters::testing::letter;

    fn with_body(body: &[u8]) -> Letter {
        let mut letter = letter(DateTime::from_timestamp(1_767_000_000, 0).unwrap());
        letter.message.body = body.to_vec();
        letter
    }

    #[test]
    fn whatever_it_says_it_comes_back_byte_for_byte() {
        let bodies: [&[u8]; 7] = [
            br#"{"z":1,"a":49.90,"e":1.0e2}"#,
            b" {\"a\":1} ",
            b"{\"a\":\n1}",
            b"{\"broken\":",
            b"",
            b"\xff\x00",
            "\u{1b}[2J é".as_bytes(),
        ];
        for body in bodies {
            let letter = with_body(body);
            let text = serde_json::to_string(&Line::of(&letter)).unwrap();
            assert!(!text.contains('\n'), "{text}");
            let line: Line = serde_json::from_str(&text).unwrap();
            let digest = letter.message.digest();
            assert_eq!(line.letter().unwrap(), (letter, digest), "{text}");
        }
    }

    #[test]
    fn json_can_be_mended_in_place() {
        let text = serde_json::to_string(&Line::of(&with_body(b"{\"quantity\":7}"))).unwrap();
        assert!(text.contains(r#""body":{"quantity":7}"#), "{text}");
        let line: Line = serde_json::from_str(&text.replace(":7}", ":6}")).unwrap();
        let (mended, old) = line.letter().unwrap();
        assert_ne!(mended.message.digest(), old);
    }

    #[test]
    fn what_amqp_has_no_room_for_is_refused() {
        let long = "é".repeat(128);
        let mut id = with_body(b"{}");
        id.message.id = Some(long.clone());
        let mut name = with_body(b"{}");
        name.message.headers.insert(long, 1.into());
        for letter in [id, name] {
            let why = Line::of(&letter).letter().unwrap_err().to_string();
            assert!(why.contains("longer than 255 bytes"), "{why}");
        }
    }

    #[test]
    fn what_is_no_line_is_told() {
        for wrong in ["0", "xy", "+1"] {
            assert!(unhex(wrong).is_err(), "{wrong}");
        }
        let mut two = Line::of(&with_body(b"{}"));
        two.text = Some(String::new());
        assert!(two.letter().unwrap_err().to_string().contains("one of"));
    }
}
