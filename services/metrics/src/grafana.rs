//! What Grafana's JSON data source asks (`simpod-json-datasource`), under `/v1/grafana/APP`: each request becomes calls of this service's own JSON
//! API, so that nothing goes past the compiler, the key's scope, or the limits.

use futures::future::try_join_all;
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use mesh::{
    Body, HttpService, Request, Response, body,
    protocol::{Protocol, json_response},
};
use model::Error;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{MAX_ANSWER_BYTES, MAX_REQUEST_BYTES};

const PREFIX: &str = "/v1/grafana/";
/// What is chosen in place of a metric to ask a formula. No metric is called so.
const FORMULA: &str = "=";
/// A panel has at least as many points as this for each of Grafana's intervals: the longest interval of each grain, in ms.
const GRAINS: [(&str, f64); 5] = [
    ("minute", 8.0 * 60_000.0),
    ("hour", 6.0 * 3_600_000.0),
    ("day", 4.0 * 86_400_000.0),
    ("week", 15.0 * 86_400_000.0),
    ("month", f64::INFINITY),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    range: Value,
    #[serde(default)]
    interval_ms: f64,
    targets: Vec<Target>,
    #[serde(default)]
    adhoc_filters: Vec<AdhocFilter>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    target: String,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    hide: bool,
}

#[derive(Deserialize)]
struct AdhocFilter {
    key: String,
    operator: String,
    value: String,
}

/// What ends a request early: an error of ours, or the answer of a call that was refused.
enum Ended {
    Error(Error),
    Refused(Response),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Answers Grafana; everything else goes to `api`.
pub(crate) fn route(api: HttpService) -> HttpService {
    BoxCloneSyncService::new(service_fn(move |request: Request| {
        let api = api.clone();
        async move {
            let Some(path) = request.uri().path().strip_prefix(PREFIX) else { return api.oneshot(request).await };
            let (app, what) = path.split_once('/').unwrap_or((path, ""));
            let (app, what) = (app.to_owned(), what.to_owned());
            let answered = answer(api, request, &app, &what).await;
            Ok(answered.unwrap_or_else(|ended| match ended {
                Ended::Error(error) => Protocol::Json.error(&error),
                Ended::Refused(response) => response,
            }))
        }
    }))
}

async fn answer(api: HttpService, request: Request, app: &str, what: &str) -> Result<Response, Ended> {
    plain("app", app)?;
    let (parts, body) = request.into_parts();
    let house = House { api, parts, app };
    match (&house.parts.method, what) {
        // "Save & test".
        (&Method::GET, "") => house.metrics().await.map(|_| json!({"status": "ok"})),
        (&Method::POST, "search") => {
            let metrics = house.metrics().await?;
            Ok(metrics.iter().map(|metric| metric["definition"]["name"].clone()).collect())
        }
        (&Method::POST, "metrics") => house.metrics().await.map(|metrics| choices(&metrics)),
        (&Method::POST, "metric-payload-options") => Ok(json!([])),
        (&Method::POST, "query") => house.query(read(body).await?).await,
        (&Method::POST, "variable") => house.variable(&read(body).await?).await,
        _ => {
            let message = format!("Grafana's data source has no {} {PREFIX}APP/{what} here", house.parts.method);
            Err(Error::new(model::ErrorCode::NotFound, message).into())
        }
    }
    .map(|answer| json_response(StatusCode::OK, &answer))
}

/// What becomes a part of a path.
fn plain(field: &str, name: &str) -> Result<(), Error> {
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_plain { Ok(()) } else { Err(Error::invalid(field, "MALFORMED", "must be a name: letters, digits, `-`, `_`")) }
}

async fn read<T: for<'de> Deserialize<'de>>(body: Body) -> Result<T, Error> {
    let bytes = body::collect(body, MAX_REQUEST_BYTES).await?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid("body", "MALFORMED", format!("is not what Grafana's JSON data source sends: {e}")))
}

struct House<'a> {
    api: HttpService,
    /// Of Grafana's request: who asks, by when, in which trace.
    parts: Parts,
    app: &'a str,
}

impl House<'_> {
    /// A call of the JSON API, under the context of this one.
    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, Ended> {
        let mut parts = self.parts.clone();
        parts.method = method;
        let uri = format!("/v1/apps/{}/metrics{path}", self.app).parse();
        parts.uri = uri.map_err(|_| Error::invalid("app", "MALFORMED", "is not an app's id"))?;
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_ENCODING);
        let text = if parts.method == Method::GET { String::new() } else { body.to_string() };
        let request = Request::from_parts(parts, Body::new(http_body_util::Full::from(text)));
        let response = self.api.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let (head, body) = response.into_parts();
        let bytes = body::collect(body, MAX_ANSWER_BYTES).await?;
        if !head.status.is_success() {
            return Err(Ended::Refused(Response::from_parts(head, Body::new(http_body_util::Full::from(bytes)))));
        }
        serde_json::from_slice(&bytes).map_err(|_| Error::internal("an answer of ours is no JSON").into())
    }

    async fn metrics(&self) -> Result<Vec<Value>, Ended> {
        match self.call(Method::GET, "", &Value::Null).await?["metrics"].take() {
            Value::Array(metrics) => Ok(metrics),
            _ => Ok(Vec::new()),
        }
    }

    async fn query(&self, asked: Asked) -> Result<Value, Ended> {
        let targets = asked.targets.iter().enumerate().filter(|(_, target)| !target.hide);
        let answers = try_join_all(targets.map(async |(i, target)| self.target(&asked, i, target).await)).await?;
        Ok(Value::Array(answers.into_iter().flatten().collect()))
    }

    async fn target(&self, asked: &Asked, at: usize, target: &Target) -> Result<Vec<Value>, Ended> {
        let (metric, at) = (target.target.as_str(), format!("targets[{at}]"));
        if metric.is_empty() {
            return Ok(Vec::new()); // a query that nobody has filled in yet
        }
        let payload = |name: &str| target.payload[name].as_str().map(str::trim).filter(|text| !text.is_empty());
        let grain = match payload("grain").unwrap_or("auto") {
            "auto" => grain_of(asked.interval_ms),
            grain => grain,
        };
        let dimensions = payload("by").into_iter().flat_map(apart);
        let mut evaluation = json!({
            "range": {"from": asked.range["from"], "to": asked.range["to"]},
            "dimensions": dimensions.map(|by| json!({"expression": by.trim()})).collect::<Value>(),
            "filters": asked.adhoc_filters.iter().map(filter).collect::<Result<Value, _>>()?,
        });
        if grain != "none" {
            evaluation["grain"] = json!(format!("GRAIN_{}", grain.to_uppercase()));
        }
        let answer = if metric == FORMULA {
            let formula = payload("formula").ok_or_else(|| {
                Error::invalid(format!("{at}.payload.formula"), "REQUIRED", "must be a formula, as SUM(amount)")
            })?;
            let definition = json!({"name": "formula", "formula": formula});
            self.call(Method::POST, ":preview", &json!({"definition": definition, "evaluation": evaluation})).await?
        } else {
            plain(&format!("{at}.target"), metric)?;
            self.call(Method::POST, &format!("/{metric}:evaluate"), &json!({ "evaluation": evaluation })).await?
        };
        if answer["result"]["info"]["truncated"] == json!(true) {
            let what = "has more rows than one answer may: a coarser grain, fewer groups, or a shorter time has fewer";
            return Err(Error::invalid(at, "TOO_LARGE", what).into());
        }
        let name = if metric == FORMULA { payload("formula").unwrap_or_default() } else { metric };
        Ok(if grain == "none" { vec![table(&answer["result"])] } else { series(name, &answer["result"]) })
    }

    /// The values of a field or an expression, the most frequent first: for a dashboard's variable.
    async fn variable(&self, asked: &Value) -> Result<Value, Ended> {
        let of = asked["payload"]["target"].as_str().or(asked["target"].as_str()).unwrap_or_default();
        if of.is_empty() {
            return Err(Error::invalid("payload.target", "REQUIRED", "must be a field, as country").into());
        }
        let mut evaluation = json!({"dimensions": [{"expression": of}], "limit": 1000,
            "order_by": [{"column": "events", "descending": true}]});
        if asked["range"].is_object() {
            evaluation["range"] = json!({"from": asked["range"]["from"], "to": asked["range"]["to"]});
        }
        let definition = json!({"name": "events", "formula": "COUNT(*)"});
        let asked = json!({"definition": definition, "evaluation": evaluation});
        let answer = self.call(Method::POST, ":preview", &asked).await?;
        let rows = rows(&answer["result"]).into_iter();
        let texts = rows.filter_map(|row| Some(text(row.first().filter(|value| !value.is_null())?)));
        Ok(texts.map(|text| json!({"__text": text, "__value": text})).collect())
    }
}

/// What may be chosen in a panel's editor.
fn choices(metrics: &[Value]) -> Value {
    let input = |name: &str, label: &str, placeholder: &str| json!({"name": name, "label": label, "type": "input", "placeholder": placeholder});
    let grains = ["auto"].into_iter().chain(GRAINS.map(|(name, _)| name)).chain(["quarter", "year", "none"]);
    let options: Value = grains.map(|grain| json!({"label": grain, "value": grain})).collect();
    let grain = json!({"name": "grain", "label": "Grain", "type": "select", "options": options});
    let by = input("by", "By", "country, plan");
    let of_metric = |metric: &Value| {
        let definition = &metric["definition"];
        json!({"label": definition["display_name"], "value": definition["name"], "payloads": [by, grain]})
    };
    let formula = json!({"label": "Formula", "value": FORMULA,
        "payloads": [input("formula", "Formula", "SUM(amount) / COUNT(DISTINCT user_id)"), by, grain]});
    metrics.iter().map(of_metric).chain([formula]).collect()
}

/// Expressions with commas between them, which may have commas within parentheses.
fn apart(by: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let comma = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    by.split(comma).collect()
}

fn grain_of(interval_ms: f64) -> &'static str {
    GRAINS.iter().find(|(_, longest)| interval_ms <= *longest).map_or("month", |(name, _)| name)
}

fn filter(filter: &AdhocFilter) -> Result<Value, Error> {
    let AdhocFilter { key, operator, value } = filter;
    let op = match operator.as_str() {
        "=" => "EQ",
        "!=" => "NE",
        "<" => "LT",
        ">" => "GT",
        other => {
            let what = format!("the filter {key} {other} can't be asked: =, !=, < and > can");
            return Err(Error::invalid("adhocFilters", "NOT_ALLOWED", what));
        }
    };
    // Grafana has texts alone; of what is compared by size only numbers make sense.
    let value = match value.parse::<f64>() {
        Ok(number) if matches!(op, "LT" | "GT") => json!({ "number": number }),
        _ => json!({ "string": value }),
    };
    Ok(json!({"field": key, "op": format!("FILTER_OP_{op}"), "values": [value]}))
}

/// A result's rows, each value without its tag, times in ms.
fn rows(result: &Value) -> Vec<Vec<Value>> {
    let plain = |value: &Value| {
        let tagged = value.as_object().and_then(|tagged| tagged.iter().next());
        match tagged.map(|(tag, value)| (tag.as_str(), value)) {
            Some(("time", time)) => time.as_str().and_then(ms).map_or(Value::Null, Value::from),
            Some(("integer", integer)) => {
                integer.as_str().and_then(|i| i.parse::<i64>().ok()).map_or(integer.clone(), Value::from)
            }
            Some((_, value)) => value.clone(),
            None => Value::Null,
        }
    };
    let rows = result["rows"].as_array().into_iter().flatten();
    rows.map(|row| row["values"].as_array().into_iter().flatten().map(plain).collect()).collect()
}

fn ms(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A series for each group, in the order in which they come: the time is first in a row, the value last.
fn series(name: &str, result: &Value) -> Vec<Value> {
    let mut series: Vec<(String, Vec<Value>)> = Vec::new();
    for row in rows(result) {
        let [time, groups @ .., value] = row.as_slice() else { continue };
        let group = groups.iter().map(|value| if value.is_null() { "none".to_owned() } else { text(value) });
        let group = group.collect::<Vec<_>>().join(", ");
        let label = if group.is_empty() { name.to_owned() } else { group };
        let point = json!([value, time]);
        match series.iter_mut().find(|(known, _)| *known == label) {
            Some((_, points)) => points.push(point),
            None => series.push((label, vec![point])),
        }
    }
    series.into_iter().map(|(label, points)| json!({"target": label, "datapoints": points})).collect()
}

fn table(result: &Value) -> Value {
    let column = |column: &Value| {
        let kind = match column["type"].as_str() {
            Some("COLUMN_TYPE_TIME") => "time",
            Some("COLUMN_TYPE_NUMBER" | "COLUMN_TYPE_INTEGER") => "number",
            _ => "string",
        };
        Map::from_iter([("text".to_owned(), column["name"].clone()), ("type".to_owned(), json!(kind))])
    };
    let columns: Vec<_> = result["columns"].as_array().into_iter().flatten().map(column).collect();
    json!({"type": "table", "columns": columns, "rows": rows(result)})
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_has_as_many_points_as_its_interval_wants_within_a_factor() {
        let wanted = [(0.0, "minute"), (480_000.0, "minute"), (900_000.0, "hour"), (7.0 * 3_600_000.0, "day")];
        for (interval, grain) in wanted.into_iter().chain([(5.0 * 86_400_000.0, "week"), (1e12, "month")]) {
            assert_eq!(grain_of(interval), grain, "{interval}");
        }
    }

    #[test]
    fn a_call_s_commas_part_nothing() {
        assert_eq!(apart("country, round(n, 2),plan"), ["country", " round(n, 2)", "plan"]);
    }

    #[test]
    fn each_group_is_a_series_with_times_in_ms() {
        let row = |time: &str, group: Value, value: Value| json!({"values": [{"time": time}, group, value]});
        let result = json!({"rows": [
            row("2026-01-01T00:00:00Z", json!({"string": "NL"}), json!({"integer": "2"})),
            row("2026-01-01T00:00:00Z", json!({"null": null}), json!({"number": 1.5})),
            row("2026-01-01T01:00:00Z", json!({"string": "NL"}), json!({"null": null})),
        ]});
        let (first, second) = (1_767_225_600_000_i64, 1_767_229_200_000_i64);
        let wanted = json!([{"target": "NL", "datapoints": [[2, first], [null, second]]}, {"target": "none", "datapoints": [[1.5, first]]}]);
        assert_eq!(json!(series("revenue", &result)), wanted);
    }
}
