//! Exact amounts: decimal, two digits after the point, a JSON number on the wire, never a float.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use std::{fmt, str::FromStr};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(Decimal);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotMoney {
    #[error("is not a decimal number")]
    NotANumber,
    #[error("has more than two decimals")]
    TooFine,
    #[error("is larger than {}", Money::MAX)]
    TooLarge,
}

impl Money {
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// What the databases' NUMERIC(16,2) holds, with room for a freight on top.
    pub const MAX: Self = Self(Decimal::from_parts(1_874_919_423, 2_328_306, 0, false, 2));

    pub fn new(amount: Decimal) -> Result<Self, NotMoney> {
        let mut exact = amount.normalize();
        if exact.scale() > 2 {
            return Err(NotMoney::TooFine);
        }
        if exact.abs() > Self::MAX.0 {
            return Err(NotMoney::TooLarge);
        }
        exact.rescale(2);
        Ok(Self(exact))
    }

    pub const fn cents(cents: i64) -> Self {
        let size = cents.unsigned_abs();
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u64")]
        Self(Decimal::from_parts(size as u32, (size >> 32) as u32, 0, cents < 0, 2))
    }

    pub fn times(self, quantity: u32) -> Result<Self, NotMoney> {
        self.0.checked_mul(quantity.into()).ok_or(NotMoney::TooLarge).and_then(Self::new)
    }

    pub fn plus(self, other: Self) -> Result<Self, NotMoney> {
        self.0.checked_add(other.0).ok_or(NotMoney::TooLarge).and_then(Self::new)
    }

    pub fn is_negative(self) -> bool {
        self < Self::ZERO
    }

    pub const fn decimal(self) -> Decimal {
        self.0
    }
}

impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let number = if text.contains(['e', 'E']) {
            Decimal::from_scientific(text)
        } else {
            Decimal::from_str_exact(text)
        };
        number.map_err(|_| why_not(text)).and_then(Self::new)
    }
}

/// Says what is wrong with a number that `Decimal` does not hold.
fn why_not(text: &str) -> NotMoney {
    match text.parse::<f64>() {
        Err(_) => NotMoney::NotANumber,
        Ok(rough) if rough.abs() > 1e14 => NotMoney::TooLarge,
        Ok(_) => NotMoney::TooFine,
    }
}

impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.2}", self.0)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::Number::from_str(&self.to_string())
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

/// No event carries a negative amount, as its schema says.
impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let amount: Self = number.as_str().parse().map_err(D::Error::custom)?;
        if amount.is_negative() { Err(D::Error::custom("is negative")) } else { Ok(amount) }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            // No `multipleOf`: validators that compute with floats find that 0.29 is no multiple
            // of 0.01.
            "description": "An exact amount, with two decimals at most.",
            "type": "number",
            "minimum": 0,
            "maximum": Self::MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_goes_over_the_wire_as_it_was_written() {
        for text in ["49.90", "0.00", "0.01", "99999999999.99"] {
            let money: Money = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&money).unwrap(), text);
        }
        assert_eq!(serde_json::from_str::<Money>("5").unwrap().to_string(), "5.00");
        assert_eq!(serde_json::from_str::<Money>("1e2").unwrap(), Money::cents(10_000));
    }

    #[test]
    fn what_is_not_money_is_refused() {
        assert_eq!("1.999".parse::<Money>(), Err(NotMoney::TooFine));
        assert_eq!("99999999999999999999999999999999".parse::<Money>(), Err(NotMoney::TooLarge));
        assert_eq!("one".parse::<Money>(), Err(NotMoney::NotANumber));
        assert!(serde_json::from_str::<Money>("\"1.00\"").is_err());
        assert!(serde_json::from_str::<Money>("-0.01").is_err());
        assert_eq!(Money::MAX.plus(Money::cents(1)), Err(NotMoney::TooLarge));
        assert_eq!(Money::MAX.times(2), Err(NotMoney::TooLarge));
    }

    #[test]
    fn the_largest_amount_fits_the_column() {
        assert_eq!(Money::MAX.to_string(), "99999999999999.99");
        assert_eq!(Money::cents(-150).to_string(), "-1.50");
    }
}
