//! Parses the body of `POST /orders`, and lists all its errors at once.

mod twice;

use super::problem::{self, cut};
use crate::placing::Draft;
use events::{Item, Money, PaymentMethod};
use rust_decimal::Decimal;
use serde_json::{Map, Number, Value};
use service::http::{Errors, Problem};
use uuid::Uuid;

pub const ITEMS_MAX: usize = 100;
pub const QUANTITY_MAX: u32 = 1_000_000;

pub fn read(body: &[u8]) -> Result<Draft, Problem> {
    if is_marked_or_utf_16(body) {
        let detail = "the body must be UTF-8 without a byte order mark";
        return Err(Problem::malformed(detail, Errors::new()));
    }
    let json: Value = serde_json::from_slice(body).map_err(|why| Problem::no_json(&why))?;
    let Value::Object(order) = json else {
        return Err(Problem::malformed("the body must be a JSON object", Errors::new()));
    };
    let mut reader = Reader { misshapen: twice::find(body), ..Reader::default() };
    let draft = reader.draft(&order);
    let Reader { mut misshapen, impossible } = reader;
    match draft {
        Some(draft) if misshapen.is_empty() && impossible.is_empty() => Ok(draft),
        _ if misshapen.is_empty() => Err(problem::impossible(impossible)),
        _ => {
            misshapen.extend(impossible);
            let detail = "some fields are missing, given twice or of another type; see errors";
            Err(Problem::malformed(detail, misshapen))
        }
    }
}

/// Reads what can be read. `None` always means that an error has been noted.
#[derive(Default)]
struct Reader {
    misshapen: Errors,
    impossible: Errors,
}

impl Reader {
    fn draft(&mut self, order: &Map<String, Value>) -> Option<Draft> {
        let customer_id = self.uuid(order, "", "customer_id");
        let payment_method = self.payment_method(order);
        let items = self.items(order);
        let total_amount = items.as_ref().and_then(|items| self.total(items));
        Some(Draft {
            customer_id: customer_id?,
            payment_method: payment_method?,
            items: items?,
            total_amount: total_amount?,
        })
    }

    fn payment_method(&mut self, order: &Map<String, Value>) -> Option<PaymentMethod> {
        let field = "payment_method";
        let Some(text) = self.required(order, "", field)?.as_str() else {
            return self.misshapen(field, "must be a string");
        };
        match cut(text).parse::<PaymentMethod>() {
            Ok(method) => Some(method),
            Err(why) => self.impossible(field, &why),
        }
    }

    fn items(&mut self, order: &Map<String, Value>) -> Option<Vec<Item>> {
        let field = "items";
        let Some(items) = self.required(order, "", field)?.as_array() else {
            return self.misshapen(field, "must be an array");
        };
        if items.is_empty() {
            return self.impossible(field, "must have one item at least");
        }
        if items.len() > ITEMS_MAX {
            let what = format!("must have {ITEMS_MAX} items at most");
            return self.impossible(field, &what);
        }
        // Not stopped by the first bad one.
        let read: Vec<Option<Item>> =
            items.iter().enumerate().map(|(place, item)| self.item(place, item)).collect();
        read.into_iter().collect()
    }

    fn item(&mut self, place: usize, item: &Value) -> Option<Item> {
        let path = format!("items[{place}]");
        let Some(item) = item.as_object() else {
            return self.misshapen(path, "must be an object");
        };
        let product_id = self.uuid(item, &path, "product_id");
        let quantity = self.quantity(item, &path);
        let unit_price = self.unit_price(item, &path);
        Some(Item { product_id: product_id?, quantity: quantity?, unit_price: unit_price? })
    }

    fn quantity(&mut self, item: &Map<String, Value>, path: &str) -> Option<u32> {
        let number = self.number(item, path, "quantity")?.as_str().to_owned();
        let field = format!("{path}.quantity");
        match whole(&number) {
            None => self.misshapen(field, "must be a whole number"),
            Some(number) if number < Decimal::ONE => self.impossible(field, "must be at least 1"),
            Some(number) => match u32::try_from(number) {
                Ok(quantity @ 1..=QUANTITY_MAX) => Some(quantity),
                _ => self.impossible(field, &format!("must be at most {QUANTITY_MAX}")),
            },
        }
    }

    fn unit_price(&mut self, item: &Map<String, Value>, path: &str) -> Option<Money> {
        let number = self.number(item, path, "unit_price")?.as_str().to_owned();
        let field = format!("{path}.unit_price");
        match number.parse::<Money>() {
            Ok(price) if price.is_negative() => self.impossible(field, "must not be negative"),
            // A minus before a zero is lost here.
            Ok(price) if price == Money::ZERO => Some(Money::ZERO),
            Ok(price) => Some(price),
            Err(why) => self.impossible(field, &why.to_string()),
        }
    }

    fn total(&mut self, items: &[Item]) -> Option<Money> {
        let total = items.iter().try_fold(Money::ZERO, |total, item| {
            item.unit_price.times(item.quantity).and_then(|price| total.plus(price))
        });
        match total {
            Ok(total) => Some(total),
            Err(why) => self.impossible("items", &format!("the total {why}")),
        }
    }

    fn uuid(&mut self, from: &Map<String, Value>, path: &str, name: &str) -> Option<Uuid> {
        let value = self.required(from, path, name)?;
        let id = value.as_str().and_then(|text| Uuid::try_parse(text).ok());
        if id.is_some() { id } else { self.misshapen(join(path, name), "must be a UUID") }
    }

    fn number<'a>(
        &mut self,
        from: &'a Map<String, Value>,
        path: &str,
        name: &str,
    ) -> Option<&'a Number> {
        match self.required(from, path, name)? {
            Value::Number(number) => Some(number),
            _ => self.misshapen(join(path, name), "must be a number"),
        }
    }

    fn required<'a>(
        &mut self,
        from: &'a Map<String, Value>,
        path: &str,
        name: &str,
    ) -> Option<&'a Value> {
        let value = from.get(name);
        if value.is_some() { value } else { self.misshapen(join(path, name), "is missing") }
    }

    fn misshapen<T>(&mut self, field: impl Into<String>, what: &str) -> Option<T> {
        self.misshapen.entry(field.into()).or_default().push(what.into());
        None
    }

    fn impossible<T>(&mut self, field: impl Into<String>, what: &str) -> Option<T> {
        self.impossible.entry(field.into()).or_default().push(what.into());
        None
    }
}

/// JSON begins with two ASCII characters, unless it is a single digit.
fn is_marked_or_utf_16(body: &[u8]) -> bool {
    matches!(body, [0xef, 0xbb, 0xbf, ..] | [0xfe, 0xff, ..] | [0xff, 0xfe, ..])
        || matches!(body, [0, _, ..] | [_, 0, ..])
}

/// 2, 2.0 and 0.2e1 are the same number. What no Decimal holds is too large, or too fine.
fn whole(number: &str) -> Option<Decimal> {
    let is_scientific = number.contains(['e', 'E']);
    let parse = if is_scientific { Decimal::from_scientific } else { Decimal::from_str_exact };
    match (parse(number), number.parse::<f64>()) {
        (Ok(exact), _) => exact.is_integer().then_some(exact),
        (Err(_), Ok(rough)) if rough < -1e9 => Some(Decimal::MIN),
        (Err(_), Ok(rough)) if rough > 1e9 => Some(Decimal::MAX),
        _ => None,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}
