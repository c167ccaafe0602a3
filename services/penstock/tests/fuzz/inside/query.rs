//! Questions and formulas: a verified statement, or a fault with its place.

use formula::{Context, parse_sql, validate_formula, verify};
use model::{AppId, AppSchema, AppSet, Error, Permission, Priority, Property, PropertyKind, Scope, Slot, TenantId};

use super::{Outcome, refusal};
use crate::{mutate::samples::NOW_MS, report::Verdict};

pub fn check(text: &str) -> Outcome {
    let property = |name: &str, kind, slot| Property { name: name.into(), kind, slot };
    let schema = AppSchema::new([
        property("amount", PropertyKind::Number, Slot::Number(0)),
        property("status", PropertyKind::String, Slot::Text(0)),
        property("code", PropertyKind::Number, Slot::NumberMap),
    ]);
    let scope = Scope::new(
        TenantId::new("acme").unwrap(),
        AppSet::All,
        [Permission::Query].into_iter().collect(),
        Priority::Interactive,
    );
    let app = AppId::new("xyz123").unwrap();
    let context = Context { schema: &schema, app, now_ms: NOW_MS, time_zone: "America/New_York" };
    if let Err(error) = validate_formula(text, &[], &context) {
        fault(&error, text)?;
    }
    let compiled = parse_sql(text)
        .and_then(|query| query.plan(&context))
        .and_then(|plan| plan.seal(&scope, &schema))
        .and_then(|sealed| sealed.compile());
    match compiled {
        Ok(statement) => verify(statement.text(), statement.params(), &scope)
            .map(|()| Verdict::Accepted)
            .map_err(|error| format!("{error:?}: {}", statement.text())),
        Err(error) => fault(&error, text),
    }
}

fn fault(error: &Error, text: &str) -> Outcome {
    for violation in &error.violations {
        let place = violation.span.filter(|(start, end)| text.get(*start..*end).is_some());
        place.ok_or_else(|| format!("no place in the text: {error:?}"))?;
    }
    refusal(error)
}
