//! Combines several statements into one round trip.

use crate::PgConnection;
use sqlx::{
    Arguments, AssertSqlSafe, Encode, Error, Postgres, Type, error::BoxDynError,
    postgres::PgArguments,
};
use std::mem::take;

/// Write statements, none of which sees the effects of the others.
#[derive(Default)]
pub struct StatementBatch {
    statements: Vec<String>,
    arguments: PgArguments,
    /// A value that cannot be encoded.
    failure: Option<BoxDynError>,
}

/// The last of them: its values come next.
pub struct Written<'a>(&'a mut StatementBatch);

impl StatementBatch {
    /// Whose values are `$1`, `$2`, and so on, as if it were alone.
    pub fn add(&mut self, statement: &str) -> Written<'_> {
        self.statements.push(renumbered(statement, self.arguments.len()));
        Written(self)
    }

    pub async fn execute(&mut self, connection: &mut PgConnection) -> Result<(), Error> {
        let Self { statements, arguments, failure } = take(self);
        if let Some(failure) = failure {
            return Err(Error::Encode(failure));
        }
        let all = match &statements[..] {
            [] => return Ok(()),
            [only] => only.clone(),
            several => {
                let named = several.iter().enumerate();
                let named: Vec<_> = named.map(|(at, one)| format!("s{at} AS ({one})")).collect();
                format!("WITH {} SELECT", named.join(", "))
            }
        };
        sqlx::query_with(AssertSqlSafe(all), arguments).execute(connection).await?;
        Ok(())
    }
}

impl Written<'_> {
    pub fn bind<'q>(self, value: impl Encode<'q, Postgres> + Type<Postgres>) -> Self {
        if let Err(why) = self.0.arguments.add(value) {
            self.0.failure = Some(why);
        }
        self
    }
}

fn renumbered(statement: &str, before: usize) -> String {
    let mut parts = statement.split('$');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let number: usize = number.parse().expect("after each $ is a number");
        all.push_str(&format!("${}{rest}", number + before));
    }
    all
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::{PgPool, testing::throwaway};

    async fn notes(pool: &PgPool) -> Vec<(i32, String)> {
        sqlx::query_as("SELECT id, text FROM notes ORDER BY id").fetch_all(pool).await.unwrap()
    }

    #[tokio::test]
    async fn each_has_its_own_values() {
        let pool = throwaway().await;
        let mut connection = pool.acquire().await.unwrap();
        let mut together = StatementBatch::default();
        together.execute(&mut connection).await.unwrap();
        together.add("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)");
        together.execute(&mut connection).await.unwrap();
        for before in [0, 10] {
            let insert = "INSERT INTO notes VALUES ($1, $2)";
            together.add(insert).bind(before + 1).bind("a");
            together.add("UPDATE notes SET text = $2 || $2 WHERE id = $1").bind(1).bind("b");
            together.add(insert).bind(before + 2).bind("c");
            together.execute(&mut connection).await.unwrap();
        }
        let found = notes(&pool).await;
        let found: Vec<_> = found.iter().map(|(id, text)| (*id, text.as_str())).collect();
        // The first update did not see the row that was inserted with it.
        assert_eq!(found, [(1, "bb"), (2, "c"), (11, "a"), (12, "c")]);
    }

    #[tokio::test]
    async fn when_one_is_refused_none_is_done() {
        let pool = throwaway().await;
        sqlx::query("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
            .execute(&pool)
            .await
            .unwrap();
        let mut together = StatementBatch::default();
        together.add("INSERT INTO notes VALUES ($1, '')").bind(1);
        together.add("INSERT INTO notes VALUES ($1, $2)").bind(2).bind("not\0text");
        together.execute(&mut pool.acquire().await.unwrap()).await.unwrap_err();
        assert_eq!(notes(&pool).await, []);
    }
}
