//! What the tests read against: one app's schema, one scope, one moment.
#![allow(clippy::unwrap_used)]

use model::{
    AppId, AppSchema, AppSet, Error, Permission, Permissions, Priority, Property, PropertyKind, Scope, Slot, TenantId,
};

use crate::{Context, Plan, Statement, parse_sql};

/// 2024-06-01 12:00 UTC.
pub(crate) const NOW_MS: i64 = 1_717_243_200_000;

pub(crate) fn schema() -> AppSchema {
    use PropertyKind::{Bool, Number, String, Time};
    let properties = [
        ("session_duration", Number, Slot::Number(0)),
        ("load_time", Number, Slot::Number(1)),
        ("purchase_amount", Number, Slot::Number(2)),
        ("is_new", Bool, Slot::Number(3)),
        ("signup", Time, Slot::Number(4)),
        ("status", String, Slot::Text(0)),
        ("code", Number, Slot::Number(5)),
        ("code", String, Slot::Text(1)),
        ("extra", Number, Slot::NumberMap),
        ("flag", Bool, Slot::NumberMap),
        ("tag", String, Slot::TextMap),
        ("page.url", String, Slot::Text(2)),
    ];
    AppSchema::new(properties.map(|(name, kind, slot)| Property { name: name.into(), kind, slot }))
}

pub(crate) fn context(schema: &AppSchema) -> Context<'_> {
    Context { schema, app: AppId::new("xyz123").unwrap(), now_ms: NOW_MS, time_zone: "UTC" }
}

pub(crate) fn scope() -> Scope {
    Scope::new(
        TenantId::new("acme").unwrap(),
        AppSet::Only(vec![AppId::new("xyz123").unwrap()]),
        Permissions::from_iter([Permission::Query]),
        Priority::Interactive,
    )
}

pub(crate) fn plan(sql: &str) -> Result<Plan, Error> {
    parse_sql(sql)?.plan(&context(&schema()))
}

pub(crate) fn compile(sql: &str) -> Result<Statement, Error> {
    plan(sql)?.seal(&scope(), &schema())?.compile()
}

/// The text with its bound values written in, to be read by a person.
pub(crate) fn readable(statement: &Statement) -> String {
    statement.params().iter().filter(|p| p.name.starts_with('p')).fold(statement.text().to_owned(), |text, p| {
        text.replace(&format!("{{{}:{}}}", p.name, p.kind), &format!("<{}>", p.value))
    })
}
