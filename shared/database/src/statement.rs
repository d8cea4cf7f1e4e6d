//! A statement with its values, as Postgres reads them.

use sqlx::{
    Encode, Error, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, types::Oid},
};
use std::borrow::Cow;

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

/// The length of a value that is none.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();
