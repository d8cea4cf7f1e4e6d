//! Finds known fields that a body gives twice: JSON allows it, and readers disagree which of the
//! two counts.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use service::http::Errors;
use std::{fmt, mem::replace};

const OF_ORDER: [&str; 3] = ["customer_id", "payment_method", "items"];
const OF_ITEM: [&str; 3] = ["product_id", "quantity", "unit_price"];

/// In a body that is JSON.
pub fn find(body: &[u8]) -> Errors {
    let mut errors = Errors::new();
    let mut json = serde_json::Deserializer::from_slice(body);
    let _ = Within { errors: &mut errors, place: Place::Order }.deserialize(&mut json);
    errors
}

#[derive(Clone, Copy)]
enum Place {
    Order,
    Items,
    Item(usize),
}

struct Within<'e> {
    errors: &'e mut Errors,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (known, path) = match self.place {
            Place::Order => (&OF_ORDER[..], String::new()),
            Place::Item(place) => (&OF_ITEM[..], format!("items[{place}].")),
            Place::Items => (&[][..], String::new()),
        };
        let mut seen = [false; 3];
        while let Some(name) = map.next_key::<String>()? {
            let field = known.iter().position(|field| *field == name);
            if field.is_some_and(|field| replace(&mut seen[field], true)) {
                self.errors.insert(format!("{path}{name}"), vec!["given twice".into()]);
            }
            if matches!(self.place, Place::Order) && name == "items" {
                map.next_value_seed(Within { errors: self.errors, place: Place::Items })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let looked_at = if matches!(self.place, Place::Items) { super::ITEMS_MAX } else { 0 };
        for place in 0..looked_at {
            let item = Within { errors: self.errors, place: Place::Item(place) };
            if items.next_element_seed(item)?.is_none() {
                return Ok(());
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    // Of another type than expected, which the reader says. What stands behind it is looked at too.

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
