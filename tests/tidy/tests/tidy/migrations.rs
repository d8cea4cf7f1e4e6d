//! Migrations only add, so that the previous release still runs on the next one's schema.

use tidy::{list, read};

/// Were applied before the rule was made.
const INDEXED_IN_PLACE: [&str; 1] = ["services/order/migrations/V3__keys.sql"];

fn migrations() -> Vec<String> {
    let services = list("services").into_iter().map(|service| format!("{service}/migrations"));
    let folders = services.chain(["shared/messaging/migrations".into()]);
    folders.flat_map(|folder| list(&folder)).collect()
}

/// The first migration of each history creates the tables; the others run beside older releases.
#[test]
fn after_the_first_migrations_only_add() {
    let files = migrations();
    assert!(files.len() > 5, "{files:?}");
    let later = files.iter().filter(|file| !file.contains("/V1__"));
    let broken: Vec<_> = later
        .flat_map(|file| taken_away(&read(file)).into_iter().map(move |what| (file, what)))
        .collect();
    assert!(
        broken.is_empty(),
        "the release before this one runs on this schema too (docs/operations.md#upgrades): \
         {broken:#?}"
    );
}

#[test]
fn an_index_on_a_table_with_rows_may_be_there_already() {
    let files = migrations().into_iter().filter(|file| !INDEXED_IN_PLACE.contains(&file.as_str()));
    let broken: Vec<_> = files
        .flat_map(|file| {
            indexed_in_place(&read(&file)).into_iter().map(move |it| (file.clone(), it))
        })
        .collect();
    assert!(
        broken.is_empty(),
        "nothing is written to a table while a migration builds its index: say IF NOT EXISTS, so \
         that it can be built CONCURRENTLY before (docs/operations.md#upgrades): {broken:#?}"
    );
}

/// Indexes of older tables that an operator cannot create before the migration.
fn indexed_in_place(sql: &str) -> Vec<String> {
    let clauses = clauses(&code(sql));
    let clauses: Vec<Vec<&str>> =
        clauses.iter().map(|clause| clause.split_whitespace().collect()).collect();
    let is_new = |table| clauses.iter().any(|clause| contains(clause, &["CREATE", "TABLE", table]));
    let bad = clauses.iter().filter(|clause| {
        let creates = contains(clause, &["CREATE", "INDEX"])
            || contains(clause, &["CREATE", "UNIQUE", "INDEX"]);
        creates
            && !contains(clause, &["IF", "NOT", "EXISTS"])
            && !index_table(clause).is_some_and(is_new)
    });
    bad.map(|clause| clause.join(" ")).collect()
}

/// Without comments.
fn code(sql: &str) -> String {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join(" ").to_uppercase()
}

/// The clauses that may break an older release.
fn taken_away(sql: &str) -> Vec<String> {
    let clauses = clauses(&code(sql));
    let clauses: Vec<Vec<&str>> =
        clauses.iter().map(|clause| clause.split_whitespace().collect()).collect();
    let has = |words: &[&str]| clauses.iter().any(|clause| contains(clause, words));
    let bad = clauses.iter().filter(|clause| {
        let finds = |words: &[&str]| contains(clause, words);
        let drops = clause.windows(2).any(|pair| {
            pair[0] == "DROP" && !["CONSTRAINT", "DEFAULT", "NOT", "INDEX"].contains(&pair[1])
        });
        let constrains = ["CONSTRAINT", "CHECK", "UNIQUE", "FOREIGN", "PRIMARY", "EXCLUDE"]
            .into_iter()
            .any(|kind| finds(&["ADD", kind]));
        // A wider one in the place of another.
        let widens = named(clause).is_some_and(|name| has(&["DROP", "CONSTRAINT", name]));
        let adds = finds(&["ADD", "COLUMN"]) && finds(&["NOT", "NULL"]) && !finds(&["DEFAULT"]);
        let indexes = finds(&["UNIQUE", "INDEX"])
            && !index_table(clause).is_some_and(|table| has(&["CREATE", "TABLE", table]));
        drops
            || constrains && !widens
            || adds
            || indexes
            || finds(&["RENAME"])
            || finds(&["TRUNCATE"])
            || finds(&["ALTER", "COLUMN"]) && finds(&["TYPE"])
            || finds(&["SET", "NOT", "NULL"])
    });
    bad.map(|clause| clause.join(" ")).collect()
}

/// Statements, and what commas divide in them.
fn clauses(code: &str) -> Vec<String> {
    let (mut all, mut clause, mut depth) = (Vec::new(), String::new(), 0);
    for letter in code.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if letter == ';' || letter == ',' && depth == 0 {
            all.push(std::mem::take(&mut clause));
        } else if "()".contains(letter) {
            clause.extend([' ', letter, ' ']);
        } else {
            clause.push(letter);
        }
    }
    all.push(clause);
    all
}

fn contains(clause: &[&str], words: &[&str]) -> bool {
    clause.windows(words.len()).any(|window| window == words)
}

fn named<'a>(clause: &[&'a str]) -> Option<&'a str> {
    let at = clause.windows(2).position(|pair| pair == ["ADD", "CONSTRAINT"])?;
    clause.get(at + 2).copied()
}

fn index_table<'a>(clause: &[&'a str]) -> Option<&'a str> {
    let at = clause.iter().position(|word| *word == "ON")?;
    clause.get(at + 1).copied()
}

#[test]
fn what_an_older_release_stumbles_over_is_found() {
    let stumbles = [
        "DROP TABLE orders;",
        "ALTER TABLE orders DROP COLUMN trace;",
        "ALTER TABLE orders RENAME COLUMN trace TO traceparent;",
        "ALTER TABLE orders ALTER COLUMN trace TYPE BYTEA;",
        "ALTER TABLE orders ALTER COLUMN trace SET NOT NULL;",
        "ALTER TABLE orders ADD COLUMN size INTEGER NOT NULL;",
        "ALTER TABLE orders ADD COLUMN a TEXT NOT NULL DEFAULT '', ADD COLUMN b TEXT NOT NULL;",
        "ALTER TABLE orders ADD CONSTRAINT small CHECK (total_amount < 9);",
        "ALTER TABLE orders ADD CHECK (total_amount < 9);",
        "CREATE UNIQUE INDEX once ON orders (customer_id);",
    ];
    for sql in stumbles {
        assert_eq!(taken_away(sql).len(), 1, "{sql}");
    }
    let adds = "
        -- DROP TABLE orders;
        CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
        CREATE UNIQUE INDEX notes_text ON notes (text);
        CREATE INDEX orders_size ON orders (size);
        ALTER TABLE orders ADD COLUMN size INTEGER, ADD COLUMN tag TEXT NOT NULL DEFAULT '',
            ALTER COLUMN trace DROP NOT NULL,
            DROP CONSTRAINT orders_status_check,
            ADD CONSTRAINT orders_status_check CHECK (status IN ('PENDING', 'NEW'));";
    assert_eq!(taken_away(adds), Vec::<String>::new());
}

#[test]
fn an_index_that_nobody_can_build_before_is_found() {
    let adds = "
        CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
        CREATE INDEX notes_text ON notes (text);
        CREATE INDEX IF NOT EXISTS orders_size ON orders (size);";
    assert_eq!(indexed_in_place(adds), Vec::<String>::new());
    let plain = "CREATE INDEX orders_size ON orders (size);";
    assert_eq!(indexed_in_place(&format!("{adds}{plain}")).len(), 1);
    for file in INDEXED_IN_PLACE {
        assert_eq!(indexed_in_place(&read(file)).len(), 1, "{file} is no exception any more");
    }
}
