//! Converts messages to and from AMQP.

use crate::{Header, Message};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

/// A message's properties as AMQP has them; persistent.
pub fn properties(message: &Message) -> BasicProperties {
    const PERSISTENT: u8 = 2;
    let headers = message.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let headers = table(headers);
    let mut properties =
        BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    if let Some(id) = &message.id {
        properties = properties.with_message_id(id.as_str().into());
    }
    if let Some(kind) = &message.kind {
        properties = properties.with_type(kind.as_str().into());
    }
    if let Some(id) = &message.correlation_id {
        properties = properties.with_correlation_id(id.as_str().into());
    }
    if let Some(id) = &message.app_id {
        properties = properties.with_app_id(id.as_str().into());
    }
    if let Some(seconds) = message.timestamp {
        properties = properties.with_timestamp(seconds);
    }
    if let Some(kind) = &message.content_type {
        properties = properties.with_content_type(kind.as_str().into());
    }
    properties
}

/// Names and values as AMQP has them.
pub fn table<'a>(entries: impl IntoIterator<Item = (&'a str, Header)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        let value = match value {
            Header::Text(text) => AMQPValue::LongString(text.into()),
            Header::Number(number) => AMQPValue::LongLongInt(number),
        };
        table.insert(name.into(), value);
    }
    table
}

/// A message as AMQP delivers it.
pub fn message(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let text = |short: &Option<ShortString>| short.as_ref().map(ToString::to_string);
    let headers = properties.headers().iter().flat_map(FieldTable::inner);
    Message {
        id: text(properties.message_id()),
        kind: text(properties.kind()),
        correlation_id: text(properties.correlation_id()),
        app_id: text(properties.app_id()),
        timestamp: *properties.timestamp(),
        content_type: text(properties.content_type()),
        headers: headers
            .filter_map(|(name, value)| Some((name.to_string(), header(value)?)))
            .collect(),
        body,
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod fuzz;

/// Tables and arrays are the broker's own headers, and are not carried along.
fn header(value: &AMQPValue) -> Option<Header> {
    Some(match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).as_ref().into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::Boolean(yes) => yes.to_string().into(),
        AMQPValue::ShortShortInt(n) => i64::from(*n).into(),
        AMQPValue::ShortShortUInt(n) => i64::from(*n).into(),
        AMQPValue::ShortInt(n) => i64::from(*n).into(),
        AMQPValue::ShortUInt(n) => i64::from(*n).into(),
        AMQPValue::LongInt(n) => i64::from(*n).into(),
        AMQPValue::LongUInt(n) => i64::from(*n).into(),
        AMQPValue::LongLongInt(n) => (*n).into(),
        _ => return None,
    })
}
