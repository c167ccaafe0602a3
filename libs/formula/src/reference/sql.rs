//! The reference of SQL for people, `docs/reference/sql.md`. Every example is compiled, and what is said of one that is refused is what the compiler says.

use std::fmt::Write as _;

use super::written;
use crate::{
    fixture::compile,
    parse::{MAX_DEPTH, MAX_NODES, MAX_QUERIES, RESERVED},
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/sql.md");

/// A form, what it does, and an example.
type Form = (&'static str, &'static str, &'static str);

const CLAUSES: &[Form] = &[
    (
        "SELECT expression [AS name], ...",
        "The columns of the answer. A column without a name is called by its expression. `*` stands for the fields that every event has.",
        "SELECT event_type, COUNT(*) AS events FROM events GROUP BY event_type",
    ),
    ("SELECT DISTINCT", "Each row once.", "SELECT DISTINCT status, country FROM events"),
    (
        "FROM events | users | (SELECT ...) [AS name]",
        "The app's events, its users as they are known now, or another query. An app is named by the call, or by `WHERE app_id = '...'`.",
        "SELECT AVG(n) FROM (SELECT user_id, COUNT(*) AS n FROM events GROUP BY user_id) AS each_user",
    ),
    (
        "[INNER] JOIN | LEFT [OUTER] JOIN | CROSS JOIN ... ON ... | USING (...)",
        "By equality of columns, with any other condition beside it.",
        "SELECT u.plan, COUNT(*) AS events FROM events AS e JOIN users AS u ON e.user_id = u.user_id GROUP BY u.plan",
    ),
    (
        "WITH name AS (SELECT ...), ...",
        "Names queries, for those behind them and for the last one.",
        "WITH buyers AS (SELECT user_id, SUM(purchase_amount) AS paid FROM events GROUP BY user_id) \
         SELECT COUNT(*) FROM buyers WHERE paid > 100",
    ),
    (
        "WHERE condition",
        "Which rows count. Bounds on `timestamp` decide how much is read.",
        "SELECT COUNT(*) FROM events WHERE status = 'completed' AND timestamp >= now() - INTERVAL 7 DAY",
    ),
    (
        "GROUP BY expression | name | position, ...",
        "A group for each combination.",
        "SELECT DATE_TRUNC('day', timestamp) AS day, COUNT(DISTINCT user_id) AS users FROM events GROUP BY day",
    ),
    (
        "HAVING condition",
        "Which groups are in the answer.",
        "SELECT country, COUNT(*) AS n FROM events GROUP BY country HAVING COUNT(*) >= 10",
    ),
    (
        "ORDER BY expression | name | position [ASC | DESC] [NULLS FIRST | LAST], ...",
        "NULLs come last, and first with DESC, as in PostgreSQL, unless it is said.",
        "SELECT country, COUNT(*) AS n FROM events GROUP BY country ORDER BY n DESC, 1 NULLS LAST",
    ),
    (
        "LIMIT n [OFFSET m]",
        "So many rows, after so many.",
        "SELECT timestamp, event_type FROM events ORDER BY timestamp DESC LIMIT 20 OFFSET 40",
    ),
    (
        "SELECT ... UNION [ALL] SELECT ...",
        "The rows of both, each once without ALL.",
        "SELECT 'new' AS who, COUNT(*) AS n FROM events WHERE is_new UNION ALL SELECT 'known', COUNT(*) FROM events WHERE NOT is_new",
    ),
];

const EXPRESSIONS: &[Form] = &[
    (
        "name | \"name\" | table.name",
        "A field or a property. In double quotes any characters, capitals as they are; a name of several types takes the one that the place wants, or is cast.",
        "SELECT e.status, \"page.url\", code::number FROM events AS e",
    ),
    (
        "1 | 1.5 | 'text' | TRUE | FALSE | NULL",
        "A quote in a text is doubled.",
        "SELECT COUNT(*) FROM events WHERE status = 'it''s done' AND load_time > 1.5",
    ),
    (
        "TIMESTAMP '...' | DATE '...'",
        "An instant, in the query's zone unless it has its own. Where a time is compared with a text, the text is read as one.",
        "SELECT COUNT(*) FROM events WHERE timestamp >= TIMESTAMP '2024-05-01 00:00:00' AND timestamp < '2024-06-01T00:00:00+02:00'",
    ),
    (
        "INTERVAL 30 DAY | INTERVAL '1 month 12 hours' | '7 days'::interval",
        "A length of time, from `millisecond` to `year`; days and months are those of the zone's calendar.",
        "SELECT COUNT(*) FROM events WHERE timestamp > now() - '7 days'::interval",
    ),
    (
        "CASE WHEN condition THEN value ... [ELSE value] END | CASE value WHEN ...",
        "The first that holds.",
        "SELECT CASE WHEN load_time < 1 THEN 'fast' WHEN load_time < 3 THEN 'fair' ELSE 'slow' END AS speed, COUNT(*) FROM events GROUP BY speed",
    ),
    (
        "CAST(value AS type) | value::type",
        "Into `number`, `integer`, `string`, `bool` or `time`; PostgreSQL's names of these are known. NULL of what can't be one.",
        "SELECT SUM(CAST(tag AS integer)), AVG(code::double precision) FROM events",
    ),
    (
        "value IN (value, ...) | value IN (SELECT ...)",
        "One of these.",
        "SELECT COUNT(*) FROM events WHERE user_id IN (SELECT user_id FROM users WHERE plan = 'pro')",
    ),
    (
        "(SELECT ...)",
        "The one value of a query of one column without groups.",
        "SELECT COUNT(*) FROM events WHERE load_time > (SELECT AVG(load_time) FROM events)",
    ),
    (
        "time AT TIME ZONE 'zone'",
        "What clocks show there.",
        "SELECT EXTRACT(hour FROM timestamp AT TIME ZONE 'Europe/Berlin') AS hour, COUNT(*) FROM events GROUP BY hour",
    ),
    (
        "aggregate(...) FILTER (WHERE condition)",
        "Of the rows that meet the condition.",
        "SELECT COUNT(*) FILTER (WHERE status = 'completed') / COUNT(*) AS share FROM events",
    ),
    (
        "function(...) OVER ([PARTITION BY ...] [ORDER BY ...] [ROWS BETWEEN ... AND ...])",
        "Over rows around a row.",
        "SELECT day, SUM(n) OVER (ORDER BY day ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) AS week \
         FROM (SELECT DATE_TRUNC('day', timestamp) AS day, COUNT(*) AS n FROM events GROUP BY day) AS days",
    ),
];

/// From those that bind least, as in PostgreSQL, each with an expression and where brackets would stand.
const OPERATORS: &[(&str, &str, &str)] = &[
    ("`OR`", "is_new OR is_new AND is_new", "is_new OR (is_new AND is_new)"),
    ("`AND`", "NOT is_new AND is_new", "(NOT is_new) AND is_new"),
    ("`NOT`", "NOT load_time IS NULL", "NOT (load_time IS NULL)"),
    ("`IS [NOT] NULL`, `TRUE`, `FALSE`, `DISTINCT FROM`", "load_time > 1 IS TRUE", "(load_time > 1) IS TRUE"),
    ("`=`, `<>`, `!=`, `<`, `<=`, `>`, `>=`", "is_new = status LIKE 'a%'", "is_new = (status LIKE 'a%')"),
    (
        "`[NOT] IN`, `BETWEEN ... AND`, `LIKE`, `ILIKE`",
        "1 + load_time BETWEEN 1 AND 2",
        "(1 + load_time) BETWEEN 1 AND 2",
    ),
    ("`||`, which joins texts", "status || (1 + 2)::string", "status || ((1 + 2)::string)"),
    ("`+`, `-`", "1 + load_time * 2", "1 + (load_time * 2)"),
    ("`*`, `/`, `%`", "-load_time * 2", "(-load_time) * 2"),
    ("`AT TIME ZONE`", "timestamp = timestamp AT TIME ZONE 'UTC'", "timestamp = (timestamp AT TIME ZONE 'UTC')"),
    ("`-`, `+` before a value", "- load_time::number", "- (load_time::number)"),
    ("`::`", "", ""),
];

/// What others have, and this language doesn't.
const REFUSED: &[&str] = &[
    "INSERT INTO events VALUES (1)",
    "SELECT COUNT(*) FROM events; SELECT 1",
    "SELECT COUNT(*) FROM system.tables",
    "SELECT * FROM generate_series(1, 10)",
    "SELECT COUNT(*) FROM events, users",
    "SELECT COUNT(*) FROM events RIGHT JOIN users USING (user_id)",
    "SELECT COUNT(*) FROM events FULL JOIN users USING (user_id)",
    "WITH RECURSIVE a AS (SELECT 1 FROM events) SELECT COUNT(*) FROM a",
    "SELECT DISTINCT ON (user_id) user_id FROM events",
    "SELECT COUNT(*) FROM events WHERE EXISTS (SELECT user_id FROM users)",
    "SELECT user_id FROM events EXCEPT SELECT user_id FROM users",
    "SELECT country, COUNT(*) FROM events GROUP BY ALL",
    "SELECT country, COUNT(*) FROM events GROUP BY ROLLUP (country)",
    "SELECT event_type FROM events LIMIT 10, 20",
    "SELECT event_type FROM events FETCH FIRST 3 ROWS ONLY",
    "SELECT event_type FROM events FINAL",
    "SELECT COUNT(*) FROM events SETTINGS max_threads = 1",
    "SELECT COUNT(*) FROM events FORMAT JSON",
    "SELECT country, COUNT(*) FROM events GROUP BY 1 QUALIFY COUNT(*) > 1",
    "SELECT SUM(purchase_amunt) FROM events",
    "SELECT STRING_AGG(status, ',') FROM events",
    "SELECT COUNT(*) FROM events WHERE status ~ '^a'",
    "SELECT page->>'url' FROM events",
];

fn page() -> String {
    let mut page = String::from(
        "# SQL\n\nWhat a SELECT may be made of; [Functions](functions.md) has what it may call. Words may be written in capitals or not. A test compiles each example of this page, and \
         what is said of one that is refused is what the compiler says.\n\nThe examples are about an app whose events have `session_duration`, `load_time`, `purchase_amount` (numbers), `status`, `tag`, \
         `page.url` (texts), `is_new` (a bool), and `code`, which is a number in some and a text in others.\n",
    );
    for (title, forms) in [("Clauses", CLAUSES), ("Expressions", EXPRESSIONS)] {
        let _ = write!(page, "\n## {title}\n");
        for (form, meaning, example) in forms {
            let _ = write!(page, "\n**`{form}`** {meaning}\n\n```sql\n{example}\n```\n");
        }
    }
    page.push_str("\n## Operators\n\nFrom those that bind least, as in PostgreSQL.\n\n");
    for (operators, bare, bracketed) in OPERATORS {
        let _ = match bare.is_empty() {
            true => writeln!(page, "1. {operators}"),
            false => writeln!(page, "1. {operators}: `{bare}` is `{bracketed}`"),
        };
    }
    page.push_str(
        "\nA comparison with NULL is NULL, and a row counts where the condition is true. Division by zero is NULL. Integers within 2^53 are exact; all other numbers are 64-bit floats.\n\
         \n## What is refused\n\nWith the position, and what to write instead. The code is INVALID_QUERY.\n\n| | |\n|---|---|\n",
    );
    for sql in REFUSED {
        let error = compile(sql).expect_err(sql);
        let said = error.violations.first().map_or(&error.message, |violation| &violation.description);
        let _ = writeln!(page, "| `{sql}` | {} |", said.replace('|', "\\|"));
    }
    let reserved: Vec<_> = RESERVED.iter().map(|word| format!("`{word}`")).collect();
    let _ = write!(
        page,
        "\n## Limits\n\nA text may have {MAX_NODES} parts, expressions may stand {MAX_DEPTH} deep in one another, queries {MAX_QUERIES}. What is larger is refused; the answer has its own [limits](../limits.md).\n\
         \nThese words are names only in double quotes: {}.\n",
        reserved.join(", ")
    );
    page
}

#[test]
fn the_page_of_sql_says_what_the_compiler_does() {
    written(PAGE, &page());
}

#[test]
fn every_example_of_sql_is_compiled() {
    for (form, _, example) in CLAUSES.iter().chain(EXPRESSIONS) {
        compile(example).unwrap_or_else(|error| panic!("{form}: {example}: {error:?}"));
    }
}

/// With its brackets an expression is the same.
#[test]
fn operators_bind_as_the_page_says() {
    for (operators, bare, bracketed) in OPERATORS.iter().filter(|(_, bare, _)| !bare.is_empty()) {
        let plan = |expression: &str| {
            let sql = format!("SELECT {expression} AS x FROM events");
            compile(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).text().to_owned()
        };
        assert_eq!(plan(bare), plan(bracketed), "{operators}: {bare}");
    }
}
