//! Reads rows: those of a transaction by the traits here, others by sqlx's.

use bytes::Bytes;
use chrono::{DateTime, Days, TimeDelta, Utc};
use rust_decimal::Decimal;
use sqlx::{Error, error::BoxDynError};
use std::{ops::Range, sync::Arc};
use uuid::Uuid;

/// A row, in Postgres' binary format.
pub struct Row {
    columns: Arc<[String]>,
    data: Bytes,
    values: Vec<Option<Range<usize>>>,
}

impl Row {
    pub(crate) fn new(
        columns: Arc<[String]>,
        data: Bytes,
        values: Vec<Option<Range<usize>>>,
    ) -> Self {
        Self { columns, data, values }
    }

    /// The value in the column of this name.
    pub fn get<T: Column>(&self, name: &str) -> Result<T, Error> {
        match self.columns.iter().position(|column| column == name) {
            Some(at) => self.at(at),
            None => Err(Error::ColumnNotFound(name.into())),
        }
    }

    fn at<T: Column>(&self, at: usize) -> Result<T, Error> {
        let value = self.values.get(at).ok_or_else(|| Error::ColumnNotFound(at.to_string()))?;
        let raw = value.clone().and_then(|range| self.data.get(range));
        T::read(raw).map_err(|source| Error::ColumnDecode { index: at.to_string(), source })
    }
}

/// What is read from a row.
pub trait FromRow: Sized {
    fn from_row(row: &Row) -> Result<Self, Error>;
}

macro_rules! tuple {
    ($($name:ident $at:literal),+) => {
        impl<$($name: Column),+> FromRow for ($($name,)+) {
            fn from_row(row: &Row) -> Result<Self, Error> {
                Ok(($(row.at::<$name>($at)?,)+))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

/// A value of a row; `None` is NULL.
pub trait Column: Sized {
    fn read(raw: Option<&[u8]>) -> Result<Self, BoxDynError>;
}

impl<T: Column> Column for Option<T> {
    fn read(raw: Option<&[u8]>) -> Result<Self, BoxDynError> {
        raw.map(|raw| T::read(Some(raw))).transpose()
    }
}

macro_rules! column {
    ($($type:ty: |$raw:ident| $read:expr;)+) => {$(
        impl Column for $type {
            fn read(raw: Option<&[u8]>) -> Result<Self, BoxDynError> {
                let $raw = raw.ok_or("it is NULL")?;
                $read
            }
        }
    )+};
}

column! {
    bool: |raw| Ok(raw == [1]);
    i16: |raw| Ok(Self::from_be_bytes(raw.try_into()?));
    i32: |raw| Ok(Self::from_be_bytes(raw.try_into()?));
    i64: |raw| Ok(Self::from_be_bytes(raw.try_into()?));
    String: |raw| Ok(std::str::from_utf8(raw)?.to_owned());
    Vec<u8>: |raw| Ok(raw.to_owned());
    Uuid: |raw| Ok(Self::from_slice(raw)?);
    DateTime<Utc>: |raw| moment(i64::read(Some(raw))?);
    Decimal: |raw| decimal(raw);
}

/// Microseconds since the year 2000.
fn moment(micros: i64) -> Result<DateTime<Utc>, BoxDynError> {
    let epoch = DateTime::UNIX_EPOCH + Days::new(10_957);
    Ok(epoch.checked_add_signed(TimeDelta::microseconds(micros)).ok_or("a time out of range")?)
}

/// Four numbers, and then groups of four digits: how many groups, how many more than one before
/// the point, the sign, the digits after the point.
fn decimal(raw: &[u8]) -> Result<Decimal, BoxDynError> {
    const MINUS: u16 = 0x4000;
    const NOT_A_NUMBER: u16 = 0xC000;
    let numbers: Vec<u16> =
        raw.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
    let [_, weight, sign, scale, groups @ ..] = &numbers[..] else {
        return Err("a number without its head".into());
    };
    if *sign >= NOT_A_NUMBER {
        return Err("not a number".into());
    }
    // The last group ends so many digits after the point.
    let weight = i64::from(weight.cast_signed());
    let after = 4 * (i64::try_from(groups.len())? - 1 - weight);
    let mut digits = 0_i128;
    for group in groups {
        let shifted = digits.checked_mul(10_000).ok_or("a number out of range")?;
        digits = shifted + i128::from(*group);
    }
    for _ in after..0 {
        digits = digits.checked_mul(10).ok_or("a number out of range")?;
    }
    let sign = if *sign == MINUS { -1 } else { 1 };
    let mut number =
        Decimal::try_from_i128_with_scale(sign * digits, u32::try_from(after.max(0))?)?;
    number.rescale(u32::from(*scale));
    Ok(number)
}

/// Defines a struct that is read from a row, each field from the column of its name. (sqlx's derive
/// would compile sqlx and what it stands on a second time, for the compiler.)
#[macro_export]
macro_rules! row {
    (
        $(#[$attribute:meta])*
        $visible:vis struct $name:ident {
            $($(#[$of_field:meta])* $seen:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$attribute])*
        $visible struct $name {
            $($(#[$of_field])* $seen $field: $type,)*
        }

        impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for $name {
            fn from_row(row: &sqlx::postgres::PgRow) -> sqlx::Result<Self> {
                use sqlx::Row as _;
                Ok(Self { $($field: row.try_get(stringify!($field))?,)* })
            }
        }

        impl $crate::FromRow for $name {
            fn from_row(row: &$crate::Row) -> sqlx::Result<Self> {
                Ok(Self { $($field: row.get(stringify!($field))?,)* })
            }
        }
    };
}
