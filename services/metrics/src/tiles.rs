//! What a dashboard must be: each rule a refusal that names the field; and whether what its tiles ask can be asked.

use std::collections::HashSet;

use api::v1::{
    Dashboard, ExplainRequest, Measure, ReadOptions, SqlQuery, Tile, TileMetric, TileView, TimeRange, TypedQuery,
    explain_request, tile,
};
use futures::{StreamExt, stream};
use model::{Error, ErrorCode, Permission};
use storage::App;

use crate::{
    call::Call,
    definition::{self, metric_name},
    service::Metrics,
};

const MAX_ID_BYTES: usize = 64;
const MAX_TITLE_BYTES: usize = 128;
const MAX_DESCRIPTION_BYTES: usize = 4096;
const MAX_TILES: usize = 50;
/// How many tiles are tried at once.
const AT_ONCE: usize = 4;
/// How many columns a tile takes whose width isn't said.
const WIDTH: u32 = 2;

/// The dashboard with its defaults, if it has the form of one.
pub(crate) fn checked(mut dashboard: Dashboard, app: &App) -> Result<Dashboard, Error> {
    let mut faults = Vec::new();
    faults.extend(dashboard_id("dashboard.dashboard_id", &dashboard.dashboard_id).err());
    text("dashboard.title", &dashboard.title, MAX_TITLE_BYTES, &mut faults);
    text("dashboard.description", &dashboard.description, MAX_DESCRIPTION_BYTES, &mut faults);
    if dashboard.title.is_empty() {
        dashboard.title = dashboard.dashboard_id.clone();
    }
    if dashboard.tiles.len() > MAX_TILES {
        let description = format!("must be at most {MAX_TILES} tiles, not {}", dashboard.tiles.len());
        return Err(Error::invalid("dashboard.tiles", "TOO_MANY", description));
    }
    let mut ids = HashSet::new();
    for (at, tile) in dashboard.tiles.iter_mut().enumerate() {
        if !tile.id.is_empty() && !ids.insert(tile.id.clone()) {
            let description = format!("must be another one: two tiles have the id {:.100}", tile.id);
            faults.push(Error::invalid(format!("dashboard.tiles[{at}].id"), "TAKEN", description));
        }
        check_tile(at, tile, app, &mut faults);
    }
    if faults.is_empty() { Ok(dashboard) } else { Err(definition::one(faults)) }
}

fn check_tile(at: usize, tile: &mut Tile, app: &App, faults: &mut Vec<Error>) {
    let field = |name: &str| format!("dashboard.tiles[{at}].{name}");
    faults.extend(dashboard_id(&field("id"), &tile.id).err());
    text(&field("title"), &tile.title, MAX_TITLE_BYTES, faults);
    match tile.width {
        0 => tile.width = WIDTH,
        1 | 2 | 4 => {}
        width => {
            let description = format!("must be 1, 2 or 4 of four columns, not {width}");
            faults.push(Error::invalid(field("width"), "OUT_OF_RANGE", description));
        }
    }
    if TileView::try_from(tile.view).is_err() {
        let description = format!("must be a view that there is, not {}", tile.view);
        faults.push(Error::invalid(field("view"), "UNKNOWN", description));
    }
    let (within, app_id) = match &mut tile.question {
        Some(tile::Question::Query(query)) => ("query.app_id", &mut query.app_id),
        Some(tile::Question::Sql(query)) => ("sql.app_id", &mut query.app_id),
        Some(tile::Question::Metric(metric)) => {
            faults.extend(metric_name(&field("metric.name"), &metric.name).err());
            return;
        }
        None => {
            let description = "must be one of `query`, `sql` and `metric`";
            faults.push(Error::invalid(field("question"), "REQUIRED", description));
            return;
        }
    };
    if !app_id.is_empty() && app_id != app.id.as_str() {
        let description = format!("must be the dashboard's own app, {}, or left out", app.id);
        faults.push(Error::invalid(field(within), "NOT_ALLOWED", description));
    }
    // So that it can be put into another app as it is.
    app_id.clear();
}

/// Refuses what can't be the id of a dashboard or a tile.
pub(crate) fn dashboard_id(field: &str, id: &str) -> Result<(), Error> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Ok(());
    }
    let rule = if id.is_empty() { "REQUIRED" } else { "MALFORMED" };
    Err(Error::invalid(field, rule, format!("must be 1 to {MAX_ID_BYTES} characters out of A-Z a-z 0-9 _ -")))
}

fn text(field: &str, text: &str, max_bytes: usize, faults: &mut Vec<Error>) {
    if text.len() > max_bytes {
        let description = format!("must have at most {max_bytes} bytes, not {}", text.len());
        faults.push(Error::invalid(field, "TOO_LONG", description));
    }
    // PostgreSQL's texts can't have it.
    if text.contains('\0') {
        faults.push(Error::invalid(field, "MALFORMED", "must not have the character U+0000"));
    }
}

impl Metrics {
    /// Refuses a dashboard if the caller couldn't ask what its tiles ask. Those that stand in `was` as they are were tried when they were put: a metric
    /// that has been deleted since is in nobody's way who changes something else.
    pub(crate) async fn try_tiles(
        &self,
        call: &Call,
        app: &App,
        dashboard: &Dashboard,
        was: &Dashboard,
    ) -> Result<(), Error> {
        let range = dashboard.range;
        let is_new = |tile: &Tile| range != was.range || !was.tiles.contains(tile);
        let new: Vec<_> = dashboard.tiles.iter().enumerate().filter(|(_, tile)| is_new(tile)).collect();
        if range == was.range && new.is_empty() {
            return Ok(());
        }
        if !call.context.scope.allows(Permission::Query) {
            let message = "this key lacks the `query` permission, which putting tiles or a range needs beside `metrics`: they are tried as the writer";
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        if let Some(range) = range {
            self.try_range(call, app, range).await?;
        }
        let mut tried = Vec::with_capacity(new.len());
        for (at, tile) in new {
            tried.push(self.try_tile(call, app, range, at, tile));
        }
        let tried: Vec<_> = stream::iter(tried).buffered(AT_ONCE).collect().await;
        let faults: Vec<_> = tried.into_iter().filter_map(Result::err).collect();
        // What isn't the tiles' fault comes first, since they may be right.
        let own = [ErrorCode::InvalidArgument, ErrorCode::InvalidQuery];
        match faults.iter().find(|fault| !own.contains(&fault.code)) {
            Some(failure) => Err(failure.clone()),
            None if faults.is_empty() => Ok(()),
            None => Err(definition::one(faults)),
        }
    }

    async fn try_range(&self, call: &Call, app: &App, range: TimeRange) -> Result<(), Error> {
        let measures = vec![Measure { formula: "COUNT(*)".to_owned(), ..Measure::default() }];
        let query = TypedQuery { measures, range: Some(range), ..TypedQuery::default() };
        let tried = self.explain(call, app, "", explain_request::Question::Query(query)).await;
        tried.map_err(|refusal| told(refusal, |field| format!("dashboard.{}", part(field))))
    }

    async fn try_tile(
        &self,
        call: &Call,
        app: &App,
        range: Option<TimeRange>,
        at: usize,
        tile: &Tile,
    ) -> Result<(), Error> {
        let (within, tried) = match &tile.question {
            Some(tile::Question::Query(query)) => {
                let query = TypedQuery { range: query.range.or(range), ..query.clone() };
                ("query", self.explain(call, app, &tile.time_zone, explain_request::Question::Query(query)).await)
            }
            Some(tile::Question::Sql(query)) => {
                let query = explain_request::Question::Sql(query.clone());
                ("sql", self.explain(call, app, &tile.time_zone, query).await)
            }
            Some(tile::Question::Metric(metric)) => {
                let mut metric = metric.clone();
                let evaluation = metric.evaluation.get_or_insert_default();
                evaluation.range = evaluation.range.or(range);
                ("metric", self.try_metric(call, app, &tile.time_zone, metric).await)
            }
            None => return Err(Error::internal("a tile that was checked asks nothing")),
        };
        tried.map_err(|refusal| {
            told(refusal, |field| match field {
                "options.time_zone" => format!("dashboard.tiles[{at}].time_zone"),
                field if within == "sql" => format!("dashboard.tiles[{at}].sql.{}", field.trim_start_matches("sql.")),
                field => format!("dashboard.tiles[{at}].{within}.{}", part(field)),
            })
        })
    }

    async fn try_metric(&self, call: &Call, app: &App, time_zone: &str, tile: TileMetric) -> Result<(), Error> {
        let TileMetric { name, version, evaluation } = tile;
        let metric = self.named(app, &name, version).await.map_err(|error| match error.code {
            ErrorCode::NotFound => Error::invalid("name", "UNKNOWN_METRIC", error.message),
            _ => error,
        })?;
        let (query, origin) = self.query_of(app, metric, evaluation.unwrap_or_default()).await?;
        let tried = self.explain(call, app, time_zone, explain_request::Question::Query(query)).await;
        tried.map_err(|refusal| origin.told(refusal))
    }

    async fn explain(
        &self,
        call: &Call,
        app: &App,
        time_zone: &str,
        question: explain_request::Question,
    ) -> Result<(), Error> {
        let app_id = app.id.as_str().to_owned();
        let question = match question {
            explain_request::Question::Query(query) => explain_request::Question::Query(TypedQuery { app_id, ..query }),
            explain_request::Question::Sql(query) => explain_request::Question::Sql(SqlQuery { app_id, ..query }),
        };
        let options = Some(ReadOptions { time_zone: time_zone.to_owned(), ..ReadOptions::default() });
        self.upstream.explain(call, ExplainRequest { question: Some(question), options, analyze: false }).await
    }
}

/// A field of a typed query, as it is called within one.
fn part(field: &str) -> &str {
    field.strip_prefix("query.").unwrap_or(field)
}

/// The refusal with its fields as they are called in the dashboard.
fn told(mut refusal: Error, name: impl Fn(&str) -> String) -> Error {
    for violation in &mut refusal.violations {
        violation.field = name(&violation.field);
    }
    if let Some(first) = refusal.violations.first() {
        refusal.message = format!("{}: {}", first.field, first.description);
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_stand_in_an_address() {
        for good in ["a", "sales-2026_Q1", &"x".repeat(64)] {
            assert!(dashboard_id("id", good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a:b", "é", "a\0", "../x", &"x".repeat(65)] {
            assert!(dashboard_id("id", bad).is_err(), "{bad:?}");
        }
    }
}
