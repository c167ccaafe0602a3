//! The second pair of eyes: reads a finished text with an independent parser and knows nothing of how it came to be.
//!
//! It refuses whatever it doesn't know. Allowed are one SELECT, derived tables and queries in expressions, the tables `events`, `users`,
//! `daily_users` and `bucket_states`, each with both predicates of the scope in the very same WHERE, the scope's locks where events are read,
//! and the predicate of the shape for the last, their columns, positional aliases, the functions on a list of its own, and bound values whose types are on a list. States are read from the
//! table of states alone.

mod allowed;
mod expr;
mod placeholders;
mod query;
mod states;

use model::{AppId, Scope};
use sqlparser::{ast::Statement, dialect::ClickHouseDialect, parser::Parser};

use crate::seal::Param;

/// No text of the compiler is longer, in bytes.
const MAX_SQL: usize = 80 * 1024;
/// Deeper than any plan that the parser of the language lets through.
const MAX_DEPTH: usize = 2_048;

/// Why a text may not run. It holds none of the caller's values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text holds a byte that compiled SQL never does.
    #[error("{0} has no place in compiled SQL")]
    Foreign(&'static str),
    /// The text can't be parsed.
    #[error("the text can't be read: {0}")]
    Unreadable(String),
    /// The text is not exactly one query.
    #[error("the text is not one query")]
    NotOneQuery,
    /// A construct that compiled SQL never uses.
    #[error("{0} is not allowed")]
    Construct(&'static str),
    /// A table other than those of the tenants.
    #[error("only the tables of events and users may be read")]
    Table,
    /// A SELECT from a table that is not bound to the scope.
    #[error("a read of a table lacks the predicate on `{0}`")]
    MissingPredicate(&'static str),
    /// A name that is no column and no positional alias.
    #[error("the name `{0}` is not allowed")]
    Name(String),
    /// A function that is not on the list.
    #[error("the function `{0}` is not allowed")]
    Function(String),
    /// A literal text, type or operator that is not on the list.
    #[error("the {0} is not allowed")]
    Value(&'static str),
    /// A placeholder without a bound value, bound twice, or of another type.
    #[error("the parameter `{0}` is not bound as the text says")]
    Parameter(String),
    /// A bound predicate value outside the scope.
    #[error("the value bound to `{0}` is outside the scope")]
    OutOfScope(&'static str),
}

/// Checks that a text reads only what the scope reaches.
pub fn verify(text: &str, params: &[Param], scope: &Scope) -> Result<(), Refusal> {
    bound_to(params, scope)?;
    if text.len() > MAX_SQL {
        return Err(Refusal::Foreign("so long a text"));
    }
    let rewritten = states::rewrite(&placeholders::rewrite(text, params)?)?;
    let mut statements = Parser::new(&ClickHouseDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .try_with_sql(&rewritten)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| Refusal::Unreadable(error.to_string()))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => query::check(&query, scope.filters.len()),
        _ => Err(Refusal::NotOneQuery),
    }
}

/// The values of the predicates are the scope's tenant and an app within its reach.
fn bound_to(params: &[Param], scope: &Scope) -> Result<(), Refusal> {
    let value = |name: &'static str| {
        let mut found = params.iter().filter(|param| param.name == name);
        match (found.next(), found.next()) {
            (Some(param), None) if param.kind == "String" => Ok(param.value.as_str()),
            _ => Err(Refusal::Parameter(name.to_owned())),
        }
    };
    if value("tenant")? != scope.tenant.as_str() {
        return Err(Refusal::OutOfScope("tenant"));
    }
    match AppId::new(value("app")?) {
        Ok(app) if scope.reaches(&app) => {}
        _ => return Err(Refusal::OutOfScope("app")),
    }
    for (i, filter) in scope.filters.iter().enumerate() {
        let name = format!("lock{i}");
        match params.iter().filter(|param| param.name == name).collect::<Vec<_>>().as_slice() {
            [param] if param.kind == "Array(String)" => {
                if param.value != array_of(&filter.values) {
                    return Err(Refusal::OutOfScope("lock"));
                }
            }
            _ => return Err(Refusal::Parameter(name)),
        }
    }
    Ok(())
}

/// The texts as the warehouse reads an array of them; nothing of it is the emitter's.
fn array_of(texts: &[String]) -> String {
    let escaped = |text: &String| {
        text.chars().fold(String::new(), |mut out, c| {
            match c {
                '\'' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\0' => out.push_str("\\0"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                c => out.push(c),
            }
            out
        })
    };
    format!("[{}]", texts.iter().map(|text| format!("'{}'", escaped(text))).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests;
