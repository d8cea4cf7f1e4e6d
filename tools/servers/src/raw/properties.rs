//! Encodes a message's properties as in its content header: flags, then the values that the flags
//! announce. Only AMQP's own limits are checked.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{long, short};

/// A property by its flag. Headers, octets and the timestamp have methods of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    ContentType = 15,
    ContentEncoding = 14,
    CorrelationId = 10,
    ReplyTo = 9,
    Expiration = 8,
    MessageId = 7,
    Type = 5,
    /// The broker refuses any user but that of the connection.
    UserId = 4,
    AppId = 3,
    ClusterId = 2,
}

const HEADERS: u8 = 13;
const DELIVERY_MODE: u8 = 12;
const PRIORITY: u8 = 11;
const TIMESTAMP: u8 = 6;
const PERSISTENT: u8 = 2;

/// In the order of the flags, from the highest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawProperties(BTreeMap<Reverse<u8>, Vec<u8>>);

impl RawProperties {
    /// The properties of a service's event, even if the name is not one.
    pub fn of(event: &str, message_id: &str, order_id: &str) -> Self {
        let service = event.split('.').next().unwrap_or_default();
        Self::default()
            .octet(DELIVERY_MODE, PERSISTENT)
            .with(Property::ContentType, b"application/json")
            .with(Property::MessageId, message_id.as_bytes())
            .with(Property::Type, event.as_bytes())
            .with(Property::CorrelationId, order_id.as_bytes())
            .with(Property::AppId, service.as_bytes())
            .headers(&RawTable::versioned())
    }

    #[must_use]
    pub fn with(self, property: Property, text: &[u8]) -> Self {
        self.put(property as u8, short(text))
    }

    #[must_use]
    pub fn without(mut self, property: Property) -> Self {
        self.0.remove(&Reverse(property as u8));
        self
    }

    #[must_use]
    pub fn headers(self, table: &RawTable) -> Self {
        self.put(HEADERS, long(&table.0))
    }

    #[must_use]
    pub fn priority(self, priority: u8) -> Self {
        self.octet(PRIORITY, priority)
    }

    #[must_use]
    pub fn timestamp(self, seconds: u64) -> Self {
        self.put(TIMESTAMP, seconds.to_be_bytes().into())
    }

    fn octet(self, flag: u8, octet: u8) -> Self {
        self.put(flag, vec![octet])
    }

    fn put(mut self, flag: u8, bytes: Vec<u8>) -> Self {
        self.0.insert(Reverse(flag), bytes);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let flags = self.0.keys().fold(0_u16, |flags, Reverse(flag)| flags | 1 << flag);
        let mut bytes = flags.to_be_bytes().to_vec();
        self.0.values().for_each(|field| bytes.extend(field));
        bytes
    }
}

/// The headers, or a table within them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawTable(Vec<u8>);

impl RawTable {
    /// The headers that every event has.
    pub fn versioned() -> Self {
        Self::default().with(b"schema-version", &RawValue::number(1))
    }

    /// The same name may come again.
    #[must_use]
    pub fn with(mut self, name: &[u8], value: &RawValue) -> Self {
        self.0.extend(short(name));
        self.0.extend(&value.0);
        self
    }
}

/// A value with the letter of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawValue(Vec<u8>);

impl RawValue {
    /// RabbitMQ's letters are `t b B s u I i l f d D S A T F V x`.
    pub fn tagged(letter: u8, bytes: &[u8]) -> Self {
        Self([&[letter], bytes].concat())
    }

    pub fn text(text: &[u8]) -> Self {
        Self::tagged(b'S', &long(text))
    }

    pub fn number(number: i64) -> Self {
        Self::tagged(b'l', &number.to_be_bytes())
    }

    pub fn table(table: &RawTable) -> Self {
        Self::tagged(b'F', &long(&table.0))
    }

    pub fn array(values: &[Self]) -> Self {
        let values: Vec<u8> = values.iter().flat_map(|value| value.0.clone()).collect();
        Self::tagged(b'A', &long(&values))
    }

    /// Tables within tables.
    pub fn nested_tables(depth: usize) -> Self {
        // From the innermost outwards, written backwards: otherwise each level copies all below it.
        nested(depth, b'F', b"\x01n")
    }

    /// Arrays within arrays.
    pub fn nested_arrays(depth: usize) -> Self {
        nested(depth, b'A', b"")
    }
}

fn nested(depth: usize, letter: u8, name: &[u8]) -> RawValue {
    let level = 5 + name.len();
    let mut bytes = Vec::with_capacity(depth * level + 5);
    for left in (0..=depth).rev() {
        let length = u32::try_from(left * level).expect("it fits a frame");
        bytes.push(letter);
        bytes.extend(length.to_be_bytes());
        if left > 0 {
            bytes.extend(name);
        }
    }
    RawValue(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_name_the_fields_that_follow_in_their_order() {
        let raw = RawProperties::default()
            .with(Property::Type, b"t\xff")
            .with(Property::MessageId, b"")
            .headers(&RawTable::default().with(b"n", &RawValue::number(-1)));
        let flags = (1_u16 << 13 | 1 << 7 | 1 << 5).to_be_bytes();
        let table = b"\x00\x00\x00\x0b\x01nl\xff\xff\xff\xff\xff\xff\xff\xff";
        let fields: [&[u8]; 4] = [&flags, table, b"\x00", b"\x02t\xff"];
        assert_eq!(raw.bytes(), fields.concat());
        assert_eq!(raw.without(Property::Type).bytes().last(), Some(&0));
    }

    #[test]
    fn a_nested_table_is_what_its_levels_are() {
        let none = RawValue::table(&RawTable::default());
        let one = RawValue::table(&RawTable::default().with(b"n", &none));
        let two = RawValue::table(&RawTable::default().with(b"n", &one));
        assert_eq!(RawValue::nested_tables(2), two);
        let arrays = RawValue::array(&[RawValue::array(&[])]);
        assert_eq!(RawValue::nested_arrays(1), arrays);
    }
}
