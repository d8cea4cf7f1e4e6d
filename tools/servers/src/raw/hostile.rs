//! A catalogue of messages that no service would publish, each hostile in another place. Each must
//! become a dead letter: none of their bodies is an event.

use super::{Property, RawProperties, RawTable, RawValue};

/// Invalid UTF-8, wherever a text should be.
const NO_TEXT: &[u8] = b"\xff\xfe";
const KIB: usize = 1024;

pub struct Hostile {
    pub name: &'static str,
    /// None where the message has no id, or an unreadable one.
    pub message_id: Option<String>,
    pub properties: RawProperties,
    pub body: Vec<u8>,
}

/// One message of each kind, for a queue of this event; `new_id` returns a new UUID of version 7 at
/// each call. The bodies all differ.
pub fn hostile(event: &str, mut new_id: impl FnMut() -> String) -> Vec<Hostile> {
    let mut all = Vec::new();
    let mut add = |name, change: &dyn Fn(Hostile) -> Hostile| {
        let id = new_id();
        let properties = RawProperties::of(event, &id, &new_id());
        let body = format!(r#"{{"hostile":"{name} {}"}}"#, new_id()).into_bytes();
        all.push(change(Hostile { name, message_id: Some(id), properties, body }));
    };
    in_properties(&mut add);
    in_headers(&mut add);
    in_types(&mut add);
    in_bodies(&mut add);
    all
}

type Add<'a> = dyn FnMut(&'static str, &dyn Fn(Hostile) -> Hostile) + 'a;

impl Hostile {
    fn property(mut self, property: Property, text: &[u8]) -> Self {
        if property == Property::MessageId {
            self.message_id = String::from_utf8(text.to_vec()).ok();
        }
        self.properties = self.properties.with(property, text);
        self
    }

    fn header(mut self, name: &[u8], value: &RawValue) -> Self {
        self.properties = self.properties.headers(&RawTable::versioned().with(name, value));
        self
    }

    /// The original body with more around it, so that all bodies stay different.
    fn wrapped(mut self, before: &[u8], after: &[u8]) -> Self {
        self.body = [before, &self.body, after].concat();
        self
    }
}

fn in_properties(add: &mut Add<'_>) {
    add("message_id is no UTF-8", &|it| it.property(Property::MessageId, NO_TEXT));
    add("type is no UTF-8", &|it| it.property(Property::Type, NO_TEXT));
    add("correlation_id is no UTF-8", &|it| it.property(Property::CorrelationId, NO_TEXT));
    add("app_id is no UTF-8", &|it| it.property(Property::AppId, NO_TEXT));
    add("content_type is no UTF-8", &|it| it.property(Property::ContentType, NO_TEXT));
    add("content_encoding is no UTF-8", &|it| it.property(Property::ContentEncoding, NO_TEXT));
    add("reply_to is no UTF-8", &|it| it.property(Property::ReplyTo, NO_TEXT));
    add("cluster_id is no UTF-8", &|it| it.property(Property::ClusterId, NO_TEXT));
    add("message_id holds a NUL", &|it| it.property(Property::MessageId, b"a\0b"));
    add("correlation_id holds a NUL", &|it| it.property(Property::CorrelationId, b"a\0b"));
    add("type is long", &|it| it.property(Property::Type, &[b'x'; 255]));
    add("it expires at once", &|it| it.property(Property::Expiration, b"0"));
    add("its priority is the highest", &|mut it| {
        it.properties = it.properties.priority(u8::MAX);
        it
    });
    add("no properties at all", &|mut it| {
        (it.message_id, it.properties) = (None, RawProperties::default());
        it
    });
    add("the timestamp is beyond time", &|mut it| {
        it.properties = it.properties.timestamp(u64::MAX);
        it
    });
}

fn in_headers(add: &mut Add<'_>) {
    add("a header's name is no UTF-8", &|it| it.header(NO_TEXT, &RawValue::number(1)));
    add("a header is no UTF-8", &|it| it.header(b"causation-id", &RawValue::text(NO_TEXT)));
    add("a header holds a NUL", &|it| it.header(b"causation-id", &RawValue::text(b"a\0b")));
    add("traceparent has 32 KiB", &|it| {
        it.header(b"traceparent", &RawValue::text(&vec![b'0'; 32 * KIB]))
    });
    add("a header has 120 KiB", &|it| it.header(b"note", &RawValue::text(&vec![b'n'; 120 * KIB])));
    add("there are 4,000 headers", &|mut it| {
        let headers = (0..4000).fold(RawTable::versioned(), |table, number| {
            table.with(format!("h{number}").as_bytes(), &RawValue::number(number))
        });
        it.properties = it.properties.headers(&headers);
        it
    });
    add("a header comes twice", &|mut it| {
        let headers = RawTable::versioned().with(b"schema-version", &RawValue::text(b"one"));
        it.properties = it.properties.headers(&headers);
        it
    });
    add("tables are nested 50 deep", &|it| it.header(b"n", &RawValue::nested_tables(50)));
    add("tables are nested 15,000 deep", &|it| it.header(b"n", &RawValue::nested_tables(15_000)));
    add("arrays are nested 15,000 deep", &|it| it.header(b"n", &RawValue::nested_arrays(15_000)));
    add("x-death is forged", &|it| {
        let death = RawTable::default().with(b"count", &RawValue::number(i64::MAX));
        it.header(b"x-death", &RawValue::array(&[RawValue::table(&death)]))
    });
    add("x-delivery-count is forged", &|it| {
        it.header(b"x-delivery-count", &RawValue::number(i64::MAX))
    });
    add("x-first-death-queue is forged", &|it| {
        it.header(b"x-first-death-queue", &RawValue::text(b"order.payment-failed"))
    });
}

fn in_types(add: &mut Add<'_>) {
    add("schema-version is a table", &|mut it| {
        let version = RawValue::table(&RawTable::default());
        it.properties =
            it.properties.headers(&RawTable::default().with(b"schema-version", &version));
        it
    });
    add("attempt is a text", &|it| it.header(b"attempt", &RawValue::text(b"often")));
    add("attempt is the largest number", &|it| it.header(b"attempt", &RawValue::number(i64::MAX)));
    add("attempt is the smallest number", &|it| it.header(b"attempt", &RawValue::number(i64::MIN)));
    add("replayed is the largest number", &|it| {
        it.header(b"replayed", &RawValue::number(i64::MAX))
    });
    add("reason is a table", &|it| it.header(b"reason", &RawValue::nested_tables(1)));
    add("causation-id is nothing", &|it| it.header(b"causation-id", &RawValue::tagged(b'V', b"")));
    add("traceparent is bytes", &|it| {
        it.header(b"traceparent", &RawValue::tagged(b'x', b"\x00\x00\x00\x02\xff\xfe"))
    });
    add("headers of every type", &|mut it| {
        // The broker refuses bit patterns that are no number.
        let eight = [1; 8];
        let values: [(u8, &[u8]); 12] = [
            (b't', &eight[..1]),
            (b'b', &eight[..1]),
            (b'B', &eight[..1]),
            (b's', &eight[..2]),
            (b'u', &eight[..2]),
            (b'I', &eight[..4]),
            (b'i', &eight[..4]),
            (b'f', &eight[..4]),
            (b'd', &eight),
            (b'D', &eight[..5]),
            (b'T', &eight),
            (b'V', b""),
        ];
        let headers = values.into_iter().fold(RawTable::versioned(), |table, (letter, bytes)| {
            table.with(&[letter], &RawValue::tagged(letter, bytes))
        });
        it.properties = it.properties.headers(&headers);
        it
    });
}

fn in_bodies(add: &mut Add<'_>) {
    // The reason for its rejection would repeat it, unless the reason's length is limited.
    add("the body is a JSON string of 40 KiB", &|mut it| {
        let own = String::from_utf8_lossy(&it.body).replace('"', "'");
        it.body = format!("\"{own}{}\"", "s".repeat(40 * KIB)).into_bytes();
        it
    });
    add("the body names a field of 40 KiB", &|it| {
        let name = "f".repeat(40 * KIB);
        it.wrapped(format!(r#"{{"order_id":"{name}","rest":"#).as_bytes(), b"}")
    });
    add("the body is no UTF-8", &|it| it.wrapped(NO_TEXT, NO_TEXT));
    add("the body begins with a byte order mark", &|it| it.wrapped(b"\xef\xbb\xbf", b""));
    add("the body is nested 20,000 deep", &|it| it.wrapped(&[b'['; 20_000], &[b']'; 20_000]));
    add("the body holds a number beyond all", &|it| {
        it.wrapped(br#"{"total_amount":1e999999999,"it":"#, b"}")
    });
    add("the body is 1,000 KiB of one text", &|it| {
        it.wrapped(
            &[&b"{\"order_id\":\""[..], &vec![b'a'; 1000 * KIB], b"\",\"it\":"].concat(),
            b"}",
        )
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_is_told_from_the_others_by_its_name_and_by_its_body() {
        let mut number = 0;
        let all = hostile("order.created", || {
            number += 1;
            format!("id-{number}")
        });
        let names: BTreeSet<_> = all.iter().map(|one| one.name).collect();
        let bodies: BTreeSet<_> = all.iter().map(|one| &one.body).collect();
        assert_eq!((names.len(), bodies.len()), (all.len(), all.len()));
        let unreadable = all.iter().filter(|one| one.message_id.is_none()).count();
        assert_eq!(unreadable, 2, "without an id, and with one that is no text");
        // Otherwise they do not fit into a frame.
        assert!(all.iter().all(|one| one.properties.bytes().len() < 128 * KIB));
    }
}
