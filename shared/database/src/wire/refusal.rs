//! An error that the server has answered.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorResponseBody;
use sqlx::{
    Error,
    error::{DatabaseError, ErrorKind},
};
use std::{borrow::Cow, error, fmt};

#[derive(Debug, Default)]
struct Refusal {
    code: String,
    message: String,
    detail: Option<String>,
    constraint: Option<String>,
    table: Option<String>,
}

pub fn refusal(body: &ErrorResponseBody) -> Error {
    let mut refusal = Refusal::default();
    let read = body.fields().for_each(|field| {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => refusal.code = value,
            b'M' => refusal.message = value,
            b'D' => refusal.detail = Some(value),
            b'n' => refusal.constraint = Some(value),
            b't' => refusal.table = Some(value),
            _ => {}
        }
        Ok(())
    });
    match read {
        Ok(()) => Error::Database(Box::new(refusal)),
        Err(why) => Error::Io(why),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        self.detail.iter().try_for_each(|detail| write!(out, " ({detail})"))
    }
}

impl error::Error for Refusal {}

impl DatabaseError for Refusal {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.code))
    }

    fn as_error(&self) -> &(dyn error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn error::Error + Send + Sync + 'static> {
        self
    }

    /// It is starting, or has no connection left: as sqlx sees it.
    fn is_transient_in_connect_phase(&self) -> bool {
        matches!(&*self.code, "53300" | "57P03")
    }

    fn constraint(&self) -> Option<&str> {
        self.constraint.as_deref()
    }

    fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }

    fn kind(&self) -> ErrorKind {
        match &*self.code {
            "23505" => ErrorKind::UniqueViolation,
            "23503" => ErrorKind::ForeignKeyViolation,
            "23502" => ErrorKind::NotNullViolation,
            "23514" => ErrorKind::CheckViolation,
            _ => ErrorKind::Other,
        }
    }
}
