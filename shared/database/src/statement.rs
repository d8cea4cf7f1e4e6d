//! A statement with its values, as Postgres reads them.

use sqlx::{
    Encode, Error, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, types::Oid},
};
use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

/// Static SQL is prepared once per connection; SQL that is made for the occasion, each time.
pub struct Statement {
    pub sql: Cow<'static, str>,
    types: Vec<u32>,
    /// Each with its length.
    values: PgArgumentBuffer,
    /// A value that cannot be encoded.
    failure: Option<BoxDynError>,
}

impl Statement {
    pub fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        let (types, values) = Default::default();
        Self { sql: sql.into(), types, values, failure: None }
    }

    pub fn bind<'q, T: Encode<'q, Postgres> + Type<Postgres>>(&mut self, value: T) {
        let of_value = value.produces().unwrap_or_else(T::type_info);
        self.types.push(of_value.oid().map_or(0, |Oid(oid)| oid));
        let start = self.values.len();
        self.values.extend_from_slice(&NULL);
        match value.encode(&mut self.values) {
            Ok(IsNull::Yes) => self.values.truncate(start + NULL.len()),
            Ok(IsNull::No) => match i32::try_from(self.values.len() - start - NULL.len()) {
                Ok(length) => {
                    self.values[start..start + NULL.len()].copy_from_slice(&length.to_be_bytes());
                }
                Err(too_long) => self.failure = Some(too_long.into()),
            },
            Err(why) => self.failure = Some(why),
        }
    }

    pub fn types(&self) -> &[u32] {
        &self.types
    }

    pub fn values(&self) -> &[u8] {
        &self.values
    }

    pub fn check(&mut self) -> Result<(), Error> {
        self.failure.take().map_or(Ok(()), |why| Err(Error::Encode(why)))
    }
}

/// Identifies static SQL by where it is, which is faster than by its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place(usize, usize);

impl Place {
    pub fn of(sql: &'static str) -> Self {
        Self(sql.as_ptr().addr(), sql.len())
    }
}

/// So many rows are written as `VALUES`: a function scan of twenty arrays costs more to begin than
/// a few rows cost to write.
pub const FEW: usize = 4;

/// The statement with `VALUES` of so many rows for its `UNNEST`. The values of a column are
/// numbered one after another.
pub fn few_rows(sql: &'static str, rows: usize) -> &'static str {
    type Made = Mutex<HashMap<(Place, usize), &'static str>>;
    static MADE: LazyLock<Made> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    // As many as there are statements in the source.
    made.entry((Place::of(sql), rows))
        .or_insert_with(|| Box::leak(with_values(sql, rows).into_boxed_str()))
}

fn with_values(sql: &str, rows: usize) -> String {
    let (before, rest) = sql.split_once("UNNEST(").expect("a batch is of arrays");
    let (columns, after) = rest.split_once(')').expect("a parenthesis is closed");
    let types: Vec<_> = columns
        .split(',')
        .map(|column| {
            let array = column.trim().split_once("::").map(|(_, array)| array);
            array.and_then(|array| array.strip_suffix("[]")).expect("an array has a type")
        })
        .collect();
    let values = (1..=rows).map(|row| {
        let row = (0..).zip(&types).map(|(at, of)| format!("${}::{of}", at * rows + row));
        format!("({})", row.collect::<Vec<_>>().join(", "))
    });
    let values = values.collect::<Vec<_>>().join(", ");
    let alias = if after.trim_start().starts_with("AS ") { "" } else { " AS given" };
    format!("{before}(VALUES {values}){alias}{after}")
}

/// The length of a value that is none.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_are_values() {
        let sql =
            "INSERT INTO t SELECT * FROM UNNEST($1::UUID[],\n $2::TEXT[]) ON CONFLICT DO NOTHING";
        let expected = "INSERT INTO t SELECT * FROM (VALUES ($1::UUID, $3::TEXT), \
            ($2::UUID, $4::TEXT)) AS given ON CONFLICT DO NOTHING";
        assert_eq!(few_rows(sql, 2), expected);
        assert_eq!(few_rows(sql, 2).as_ptr(), few_rows(sql, 2).as_ptr());
        let named = "UPDATE t SET a = x.a FROM UNNEST($1::INTEGER[]) AS x (a)";
        let expected = "UPDATE t SET a = x.a FROM (VALUES ($1::INTEGER)) AS x (a)";
        assert_eq!(few_rows(named, 1), expected);
    }
}
