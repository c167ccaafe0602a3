//! Requests into sealed plans. However a question is asked, here it becomes one plan under one scope.

use std::sync::Arc;

use api::{convert, v1};
use formula::{
    Comparison, Context, Dimension, Fill, Formula, Grain, Measure, OrderColumn, Period, Plan, SealedPlan, SqlQuery,
    Top, TypedQuery, parse_sql,
};
use mesh::context::CallContext;
use model::{AppId, Error, ErrorCode, Permission, Scope};
use prost::Message;
use storage::{AppInfo, Apps, MetaError};

use crate::states::Count;

/// A question, read but not yet resolved.
pub(crate) enum Question {
    Sql(SqlQuery),
    Typed(TypedQuery),
}

/// A question and the app that it names, if it does.
pub(crate) struct Asked {
    question: Question,
    app: Option<AppId>,
    /// The question as it came.
    pub(crate) words: Vec<u8>,
    /// What `now` is for it, UTC ms, if not what it is when it is sealed.
    now_ms: Option<i64>,
    /// Whether its states are to be kept however rarely it is asked.
    materialize: bool,
}

impl Asked {
    /// How it counts when it is asked.
    pub(crate) fn counts(&self) -> Count {
        if self.materialize { Count::Materialize } else { Count::Once }
    }
}

/// A question as a request may bring it.
#[derive(Clone)]
pub(crate) enum Words {
    Typed(Box<v1::TypedQuery>),
    Sql(v1::SqlQuery),
}

impl Words {
    /// Reads the question, with `now` as that instant, UTC ms.
    pub(crate) fn at(&self, now_ms: i64) -> Result<Asked, Error> {
        match self {
            Self::Typed(query) => typed(Some((**query).clone()), now_ms),
            Self::Sql(query) => Ok(Asked { now_ms: Some(now_ms), ..sql(&query.sql, &query.app_id)? }),
        }
    }

    /// That of a request that has neither.
    pub(crate) fn missing() -> Error {
        Error::invalid("question", "REQUIRED", "must be a typed query or a SELECT")
    }
}

/// Reads a SELECT; `app_id` is the request's, which may be empty.
pub(crate) fn sql(text: &str, app_id: &str) -> Result<Asked, Error> {
    let parsed = parse_sql(text)?;
    let app = match (app_id, parsed.app()) {
        ("", None) => None,
        ("", Some(named)) => Some(convert::app_from_wire("sql", named)?),
        (named, _) => Some(convert::app_from_wire("app_id", named)?),
    };
    Ok(Asked { question: Question::Sql(parsed), app, words: text.into(), now_ms: None, materialize: false })
}

/// Reads a typed query.
pub(crate) fn typed(query: Option<v1::TypedQuery>, now_ms: i64) -> Result<Asked, Error> {
    let query = query.ok_or_else(|| missing("query"))?;
    let (words, materialize) = (query.encode_to_vec(), query.materialize);
    let app = match query.app_id.as_str() {
        "" => None,
        named => Some(convert::app_from_wire("query.app_id", named)?),
    };
    let period = query.range.as_ref().and_then(|range| range.period).map(period).transpose()?;
    let (from_ms, to_ms) = range(query.range, now_ms)?;
    let filters = query.filters.into_iter().enumerate();
    let filters = filters.map(|(i, f)| convert::filter_from_wire(&format!("query.filters[{i}]"), f));
    let typed = TypedQuery {
        measures: query.measures.into_iter().map(measure).collect(),
        dimensions: query.dimensions.into_iter().map(dimension).collect(),
        filters: filters.collect::<Result<_, _>>()?,
        from_ms,
        to_ms,
        period,
        comparison: query.comparison.map(comparison).transpose()?,
        grain: grain("query.grain", query.grain)?,
        time_zone: None, // the context's
        having: Some(query.having).filter(|having| !having.is_empty()),
        order_by: query
            .order_by
            .into_iter()
            .map(|o| OrderColumn { column: o.column, descending: o.descending, nulls_first: None })
            .collect(),
        limit: (query.limit > 0).then_some(query.limit.into()),
        offset: query.offset.into(),
        top: query.top.map(|v1::Top { n, dimension, by, others }| Top { n, dimension, by, others }),
        fill: fill(query.fill)?,
        totals: query.totals,
        formulas: query.formulas.into_iter().enumerate().map(formula).collect::<Result<_, _>>()?,
    };
    Ok(Asked { question: Question::Typed(typed), app, words, now_ms: Some(now_ms), materialize })
}

/// Resolves the question against its app and seals it with the caller's scope.
pub(crate) async fn seal(
    asked: &Asked,
    context: &CallContext,
    apps: &Apps,
    time_zone: &str,
    now_ms: i64,
) -> Result<SealedPlan, Error> {
    context.require(Permission::Query)?;
    let now_ms = asked.now_ms.unwrap_or(now_ms);
    let app = asked.app.as_ref().or_else(|| context.scope.apps.single()).ok_or_else(|| {
        let description = "is needed: this key reaches more than one app. In SQL, WHERE app_id = '...' says it too";
        Error::invalid("app_id", "REQUIRED", description)
    })?;
    // Before anything of the app is looked up: what is out of reach is not even known to exist.
    if !context.scope.reaches(app) {
        return Err(Error::new(ErrorCode::PermissionDenied, format!("app {app} is out of this key's reach")));
    }
    let Scope { tenant, filters, .. } = &context.scope;
    let mut info = apps.get(tenant, app).await.map_err(no_app)?;
    // Our copy of the registry may be older than the property that a filter is about, or that is asked for.
    if filters.iter().any(|filter| info.schema.named(&filter.property).is_empty()) {
        info = apps.fresh(tenant, app).await.map_err(no_app)?;
    }
    let plan = match plan(&asked.question, &info, time_zone, now_ms) {
        Err(error) if error.code == ErrorCode::InvalidQuery => {
            let fresh = apps.fresh(tenant, app).await.map_err(no_app)?;
            if fresh.schema.len() == info.schema.len() {
                return Err(error);
            }
            info = fresh;
            plan(&asked.question, &info, time_zone, now_ms)?
        }
        planned => planned?,
    };
    plan.seal(&context.scope, &info.schema)
}

fn plan(question: &Question, info: &Arc<AppInfo>, time_zone: &str, now_ms: i64) -> Result<Plan, Error> {
    let time_zone = if time_zone.is_empty() { &info.app.time_zone } else { time_zone };
    let context = Context { schema: &info.schema, app: info.app.id.clone(), now_ms, time_zone };
    match question {
        Question::Sql(query) => query.plan(&context).map_err(|error| told(error, "")),
        Question::Typed(query) => query.plan(&context).map_err(|error| told(error, "query.")),
    }
}

/// The refusal with its fields as the request has them; the compiler knows neither the request nor its options.
fn told(mut refusal: Error, prefix: &str) -> Error {
    for violation in &mut refusal.violations {
        let prefix = if violation.field == "time_zone" { "options." } else { prefix };
        violation.field.insert_str(0, prefix);
    }
    if let Some(first) = refusal.violations.first() {
        refusal.message = format!("{}: {}", first.field, first.description);
    }
    refusal
}

fn no_app(error: MetaError) -> Error {
    error.into()
}

fn missing(field: &str) -> Error {
    Error::invalid(field, "REQUIRED", "must be given")
}

fn measure(measure: v1::Measure) -> Measure {
    let name = if measure.name.is_empty() { measure.formula.clone() } else { measure.name };
    Measure { name, formula: measure.formula, unit: measure.unit, ..Measure::default() }
}

fn formula((i, formula): (usize, v1::NamedFormula)) -> Result<Formula, Error> {
    let v1::NamedFormula { name, formula, filters, unit } = formula;
    let filters = filters.into_iter().enumerate();
    let filters = filters.map(|(j, f)| convert::filter_from_wire(&format!("query.formulas[{i}].filters[{j}]"), f));
    Ok(Formula { name, formula, filters: filters.collect::<Result<_, _>>()?, unit })
}

fn dimension(dimension: v1::Dimension) -> Dimension {
    let name = if dimension.name.is_empty() { dimension.expression.clone() } else { dimension.name };
    Dimension { name, expression: dimension.expression }
}

fn range(range: Option<v1::TimeRange>, now_ms: i64) -> Result<(Option<i64>, Option<i64>), Error> {
    let Some(range) = range else { return Ok((None, None)) };
    let time = |field: &str, t: Option<convert::WireTime>| {
        t.map(|t| convert::time_from_wire(&format!("query.range.{field}"), &t)).transpose()
    };
    let (from_ms, to_ms) = (time("from", range.from)?, time("to", range.to)?);
    if let (Some(from), Some(to)) = (from_ms, to_ms)
        && from >= to
    {
        return Err(Error::invalid("query.range.to", "MALFORMED", "must be later than `from`"));
    }
    if range.period.is_some() && (range.last.is_some() || from_ms.is_some() || to_ms.is_some()) {
        return Err(Error::invalid("query.range.period", "NOT_ALLOWED", "goes without `from`, `to` and `last`"));
    }
    match range.last {
        None => Ok((from_ms, to_ms)),
        Some(_) if from_ms.is_some() || to_ms.is_some() => {
            Err(Error::invalid("query.range.last", "NOT_ALLOWED", "goes without `from` and `to`"))
        }
        Some(last) => {
            let ms = convert::duration_from_wire("query.range.last", &last)?.as_millis().max(1);
            let end_ms = now_ms + 1; // now itself is in it
            Ok((Some(end_ms - i64::try_from(ms).unwrap_or(i64::MAX)), Some(end_ms)))
        }
    }
}

fn period(period: v1::Period) -> Result<Period, Error> {
    let unit = grain("query.range.period.unit", period.unit)?;
    let unit = unit.ok_or_else(|| missing("query.range.period.unit"))?;
    Ok(Period { unit, ago: period.ago, count: period.count })
}

fn comparison(comparison: v1::Comparison) -> Result<Comparison, Error> {
    use v1::{Earlier, comparison::To};
    match comparison.to {
        Some(To::From(from)) => convert::time_from_wire("query.comparison.from", &from).map(Comparison::From),
        Some(To::Earlier(number)) => match Earlier::try_from(number) {
            Ok(Earlier::Previous) => Ok(Comparison::Previous),
            Ok(Earlier::Year) => Ok(Comparison::YearBefore),
            _ => {
                let description = "must be EARLIER_PREVIOUS or EARLIER_YEAR";
                Err(Error::invalid("query.comparison.earlier", "MALFORMED", description))
            }
        },
        None => Err(missing("query.comparison.earlier")),
    }
}

fn fill(number: i32) -> Result<Option<Fill>, Error> {
    match v1::Fill::try_from(number) {
        Ok(v1::Fill::Unspecified) => Ok(None),
        Ok(v1::Fill::Zero) => Ok(Some(Fill::Zero)),
        Ok(v1::Fill::Null) => Ok(Some(Fill::Null)),
        Err(_) => Err(Error::invalid("query.fill", "MALFORMED", "must be FILL_ZERO or FILL_NULL")),
    }
}

fn grain(field: &str, number: i32) -> Result<Option<Grain>, Error> {
    use v1::Grain as Wire;
    Ok(match Wire::try_from(number) {
        Ok(Wire::Unspecified) => None,
        Ok(Wire::Minute) => Some(Grain::Minute),
        Ok(Wire::Hour) => Some(Grain::Hour),
        Ok(Wire::Day) => Some(Grain::Day),
        Ok(Wire::Week) => Some(Grain::Week),
        Ok(Wire::Month) => Some(Grain::Month),
        Ok(Wire::Quarter) => Some(Grain::Quarter),
        Ok(Wire::Year) => Some(Grain::Year),
        Err(_) => return Err(Error::invalid(field, "MALFORMED", "must be one of GRAIN_MINUTE to GRAIN_YEAR")),
    })
}
