//! What a client may run. The engine has no users and no sandbox, so what reaches outside it is refused here.
//!
//! Two rules keep this sound. Names are judged *wherever* they are called (`name (`), not only where a table may stand,
//! so no grammar is needed. And the forbidden names are the engine's own lists less the allowed ones, so what a new
//! engine brings is refused until someone has looked at it.

use std::collections::HashSet;

use crate::error::QueryError;
use crate::lexer::{Kind, Lexer, Token};

/// Table functions that stay inside the process (`cluster` reaches only configured clusters).
const INNER_FUNCTIONS: &[&str] = &[
    "numbers",
    "numbers_mt",
    "zeros",
    "zeros_mt",
    "primes",
    "generateRandom",
    "generateSeries",
    "generate_series",
    "values",
    "SQLStandardValues",
    "view",
    "viewIfPermitted",
    "viewExplain",
    "null",
    "format",
    "merge",
    "input",
    "dictionary",
    "loop",
    "cluster",
    "clusterAllReplicas",
    "mergeTreeIndex",
    "mergeTreeProjection",
    "mergeTreeTextIndex",
    "mergeTreeAnalyzeIndexes",
    "mergeTreeAnalyzeIndexesUUID",
    "timeSeriesData",
    "timeSeriesTags",
    "timeSeriesMetrics",
    "timeSeriesSamples",
    "timeSeriesSelector",
];
/// Ordinary functions and clauses that reach outside although they are no table functions.
const OUTER_FUNCTIONS: &[&str] = &["file", "catboostEvaluate", "disk", "python", "eval"];
const INNER_ENGINES: &[&str] = &[
    "Atomic",
    "Memory",
    "Null",
    "Log",
    "TinyLog",
    "StripeLog",
    "Set",
    "Join",
    "Buffer",
    "Merge",
    "Distributed",
    "View",
    "MaterializedView",
    "Dictionary",
    "GenerateRandom",
    "Alias",
    "TimeSeries",
];
const STATEMENTS: &[&str] = &[
    "SELECT", "WITH", "FROM", "EXPLAIN", "SHOW", "DESCRIBE", "DESC", "EXISTS", "CHECK", "INSERT", "CREATE", "ALTER",
    "DROP", "TRUNCATE", "RENAME", "EXCHANGE", "DELETE", "UPDATE", "OPTIMIZE", "KILL", "SET", "USE", "SYSTEM", "ATTACH",
    "DETACH", "UNDROP", "REPLACE",
];
const SYSTEM_COMMANDS: &[&str] = &["FLUSH", "START", "STOP", "SYNC", "RELOAD", "DROP", "CLEAR", "WAIT"];
const CREATE_REFUSED: &[&str] = &["TEMPORARY", "TEMP", "USER", "ROLE", "QUOTA", "PROFILE", "NAMED"];

/// The names this process refuses.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    functions: HashSet<String>,
    engines: HashSet<String>,
}

impl Guard {
    /// From all table functions and engines that the engine knows, less the inner ones and `allowed`.
    pub(crate) fn new(functions: &[String], engines: &[String], allowed: &[String]) -> Self {
        let lower = |names: &[&str]| names.iter().map(|n| n.to_lowercase()).collect::<HashSet<_>>();
        let allowed: HashSet<String> = allowed.iter().map(|n| n.to_lowercase()).collect();
        let (inner_functions, inner_engines) = (lower(INNER_FUNCTIONS), lower(INNER_ENGINES));
        let all = |names: &[String]| names.iter().map(|n| n.to_lowercase()).collect::<Vec<_>>();
        let functions =
            all(functions).into_iter().filter(|n| !inner_functions.contains(n)).chain(lower(OUTER_FUNCTIONS));
        let engines = all(engines).into_iter().filter(|n| !inner_engines.contains(n) && !n.ends_with("mergetree"));
        Self {
            functions: functions.filter(|n| !allowed.contains(n)).collect(),
            engines: engines.filter(|n| !allowed.contains(n)).collect(),
        }
    }

    /// Whether `sql` (an insert's head, without its data) may run; else what is wrong with it and where.
    pub(crate) fn check(&self, sql: &str) -> Result<(), QueryError> {
        let tokens: Vec<_> = Lexer::new(sql).collect();
        let opening = tokens.iter().find(|t| !t.is_punctuation(b'('));
        let Some(first) = opening else { return Ok(()) };
        if first.kind == Kind::Broken {
            return Ok(()); // The engine says what is wrong with it, and runs nothing.
        }
        if first.is("BACKUP") || first.is("RESTORE") {
            return check_backup(&tokens);
        }
        if !STATEMENTS.iter().any(|s| first.is(s)) {
            return refuse(first, "this kind of statement is not allowed here");
        }
        self.check_opening(&tokens)?;
        let define = ["CREATE", "ATTACH", "REPLACE", "ALTER", "EXPLAIN"].iter().any(|s| first.is(s));
        for at in 0..tokens.len() {
            let (token, next) = (&tokens[at], tokens.get(at + 1));
            self.check_call(token, next)?;
            check_clause(token, next)?;
            if define {
                self.check_definition(token, &tokens[at + 1..])?;
            }
        }
        Ok(())
    }

    fn check_opening(&self, tokens: &[Token<'_>]) -> Result<(), QueryError> {
        let (first, rest) = (&tokens[0], &tokens[1..]);
        let Some(second) = rest.first() else { return Ok(()) };
        if first.is("SYSTEM") && !SYSTEM_COMMANDS.iter().any(|s| second.is(s)) {
            return refuse(second, "this SYSTEM command is not allowed here");
        }
        let refused = rest.iter().take(4).find(|t| CREATE_REFUSED.iter().any(|s| t.is(s)));
        if first.is("CREATE")
            && let Some(refused) = refused
        {
            if refused.is("TEMPORARY") || refused.is("TEMP") {
                return Err(QueryError::not_implemented("Temporary tables are not kept between HTTP requests here."));
            }
            return refuse(refused, "there are no users, quotas or named collections here");
        }
        if first.is("ATTACH")
            && let Some(path) = rest.windows(2).find(|w| w[0].is("FROM") && w[1].kind == Kind::String)
        {
            return refuse(&path[0], "attaching from a path is not allowed here");
        }
        Ok(())
    }

    fn check_call(&self, token: &Token<'_>, next: Option<&Token<'_>>) -> Result<(), QueryError> {
        if !next.is_some_and(|n| n.is_punctuation(b'(')) {
            return Ok(());
        }
        if token.is_punctuation(b'}') {
            return refuse(token, "a parameter can't name a function");
        }
        match token.name() {
            Some(name) if self.functions.contains(&name.to_lowercase()) => {
                refuse(token, "this function reaches outside the database, which is not allowed here")
            }
            _ => Ok(()),
        }
    }

    /// Engines and dictionary sources, where a statement defines something.
    fn check_definition(&self, token: &Token<'_>, rest: &[Token<'_>]) -> Result<(), QueryError> {
        if token.is("ENGINE") {
            let rest = if rest.first().is_some_and(|t| t.is_punctuation(b'=')) { &rest[1..] } else { rest };
            let engine = rest.first().and_then(Token::name);
            if engine.is_some_and(|name| self.engines.contains(&name.to_lowercase())) {
                return refuse(&rest[0], "this engine reaches outside the database, which is not allowed here");
            }
        }
        if token.is("SOURCE") && rest.first().is_some_and(|t| t.is_punctuation(b'(')) {
            let inner = rest.get(1).is_some_and(|t| t.is("NULL") || t.is("CLICKHOUSE"));
            let host = rest.iter().find(|t| t.is("HOST") || t.is("PORT"));
            if !inner || host.is_some() {
                return refuse(host.unwrap_or(token), "this dictionary source reaches outside the database");
            }
        }
        Ok(())
    }
}

/// A whole database, to the disk that is for it and from there: `BACKUP DATABASE name TO Disk('backups', 'name') ASYNC`, `RESTORE DATABASE
/// name FROM Disk('backups', 'name')`, with `SETTINGS id = 'name'` or without.
fn check_backup(tokens: &[Token<'_>]) -> Result<(), QueryError> {
    let plain = |token: &Token<'_>| {
        let inner = token.text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        token.kind == Kind::String
            && inner.is_some_and(|inner| inner.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
    };
    let to = if tokens[0].is("BACKUP") { "TO" } else { "FROM" };
    let wanted: [&dyn Fn(&Token<'_>) -> bool; 9] = [
        &|token| token.is("DATABASE"),
        &|token| token.kind == Kind::Word,
        &|token| token.is(to),
        &|token| token.is("Disk"),
        &|token| token.is_punctuation(b'('),
        &|token| token.kind == Kind::String && token.text == "'backups'",
        &|token| token.is_punctuation(b','),
        &plain,
        &|token| token.is_punctuation(b')'),
    ];
    let rest = &tokens[1..];
    let wrong = wanted.iter().enumerate().find(|(at, fits)| !rest.get(*at).is_some_and(fits));
    let outside = "a backup is of a database, and goes to Disk('backups', 'name')";
    if let Some((at, _)) = wrong {
        return refuse(rest.get(at).unwrap_or(&tokens[0]), outside);
    }
    match &rest[wanted.len()..] {
        [] => Ok(()),
        [last] if last.is("ASYNC") => Ok(()),
        [settings, id, equals, name] | [settings, id, equals, name, _]
            if settings.is("SETTINGS") && id.is("id") && equals.is_punctuation(b'=') && plain(name) =>
        {
            match rest.get(wanted.len() + 4) {
                Some(last) if !last.is("ASYNC") => refuse(last, outside),
                _ => Ok(()),
            }
        }
        [other, ..] => refuse(other, outside),
    }
}

/// Clauses that read or write files, and settings that are ours.
fn check_clause(token: &Token<'_>, next: Option<&Token<'_>>) -> Result<(), QueryError> {
    let Some(next) = next else { return Ok(()) };
    if token.is("INTO") && next.is("OUTFILE") || token.is("FROM") && next.is("INFILE") {
        return refuse(next, "reading and writing the server's files is not allowed here");
    }
    match token.name() {
        Some(name) if next.is_punctuation(b'=') => check_setting(&name),
        _ => Ok(()),
    }
}

/// Whether a client may set `name`, in a statement or by a URL parameter.
pub(crate) fn check_setting(name: &str) -> Result<(), QueryError> {
    let reason = match name.to_ascii_lowercase().as_str() {
        "log_comment" => "it carries the query id; as a URL parameter it is kept in the query log",
        "dialect" => "statements are checked as ClickHouse's SQL",
        _ => return Ok(()),
    };
    Err(QueryError::setting_constraint(format!("Setting {name} can't be set here: {reason}.")))
}

fn refuse(token: &Token<'_>, reason: &str) -> Result<(), QueryError> {
    Err(QueryError::access_denied(format!("`{}` at position {}: {reason}.", token.text, token.start + 1)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        Guard::new(
            &names(&["numbers", "file", "url", "remote", "s3", "executable", "view"]),
            &names(&["MergeTree", "File", "URL", "Memory", "Kafka"]),
            &names(&["s3"]),
        )
    }

    #[test]
    fn what_stays_inside_runs() {
        for sql in [
            "SELECT * FROM numbers(3)",
            "(SELECT 1) UNION ALL (SELECT 2)",
            "SELECT 'file(1)', `file` FROM t -- url(1)",
            "SELECT file FROM t WHERE url = 1 /* remote( */",
            "CREATE TABLE t (engine String, file UInt8) ENGINE = ReplacingMergeTree ORDER BY file",
            "CREATE DICTIONARY d (a UInt8) PRIMARY KEY a SOURCE(CLICKHOUSE(TABLE 't')) LAYOUT(FLAT()) LIFETIME(0)",
            "SELECT * FROM s3('x')",
            "INSERT INTO t (a) SETTINGS insert_deduplication_token = 'x'",
            "SELECT {a:Array(UInt8)} IN ({b:UInt8})",
            "SYSTEM FLUSH LOGS",
            "BACKUP DATABASE penstock TO Disk('backups', 'b-1')",
            "BACKUP DATABASE penstock TO Disk('backups', 'b-1') SETTINGS id = 'b-1' ASYNC",
            "RESTORE DATABASE penstock FROM Disk('backups', 'b-1')",
        ] {
            assert_eq!(guard().check(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn what_reaches_outside_is_refused() {
        for sql in [
            "SELECT * FROM file('/etc/passwd')",
            "SELECT FiLe('/etc/passwd')",
            "SELECT * FROM `f\\x69le`('x')",
            "SELECT * FROM \"url\" /* ( */ -- x\n ('x')",
            "SELECT * FROM “remote”('x')",
            "WITH x AS (SELECT * FROM\u{a0}remote\u{3000}('x')) SELECT * FROM x",
            "SELECT * FROM {f:Identifier}('x')",
            "INSERT INTO FUNCTION file('x') SELECT 1",
            "INSERT INTO TABLE FUNCTION url('x')",
            "CREATE TABLE t ENGINE = File(TSV, 'x') AS SELECT 1",
            "CREATE TABLE t (a UInt8) engine/**/`URL`('x')",
            "CREATE DICTIONARY d (a UInt8) PRIMARY KEY a SOURCE(EXECUTABLE(COMMAND 'x')) LAYOUT(FLAT())",
            "CREATE DICTIONARY d (a UInt8) PRIMARY KEY a SOURCE(CLICKHOUSE(HOST 'x')) LAYOUT(FLAT())",
            "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = 'local', path = '/')",
            "SELECT 1 INTO OUTFILE 'x'",
            "INSERT INTO t FROM INFILE 'x' FORMAT CSV",
            "ATTACH TABLE t FROM '/x' (a UInt8) ENGINE = MergeTree ORDER BY a",
            "BACKUP TABLE t TO File('x')",
            "BACKUP DATABASE d TO File('x')",
            "BACKUP DATABASE d TO Disk('default', 'x')",
            "BACKUP DATABASE d TO Disk('backups', '../x')",
            "BACKUP DATABASE d TO Disk('backups', 'x') SETTINGS base_backup = File('x')",
            "BACKUP DATABASE d TO Disk('backups', 'x') SETTINGS id = 'x', base_backup = File('x')",
            "RESTORE DATABASE d AS e FROM Disk('backups', 'x')",
            "RESTORE DATABASE d FROM S3('http://x')",
            "RESTORE",
            "SYSTEM SHUTDOWN",
            "CREATE OR REPLACE USER x",
            "CREATE NAMED COLLECTION c AS a = 1",
            "EXECUTE AS x SELECT 1",
            "BEGIN TRANSACTION",
        ] {
            let code = guard().check(sql).unwrap_err().code;
            assert_eq!(code, 497, "{sql}");
        }
        assert_eq!(guard().check("CREATE TEMPORARY TABLE t (a UInt8)").unwrap_err().code, 48);
        assert_eq!(guard().check("SELECT 1 SETTINGS `log_comment` = 'x'").unwrap_err().code, 452);
    }
}
