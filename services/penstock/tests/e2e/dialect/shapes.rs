//! Typed queries: what is done with the groups once they are counted.

use serde_json::{Value, json};

use super::World;
use crate::house::rows;

/// Purchases by Berlin's days, four of them, the second an hour short; events 1 to 3 on the first two.
fn days(measures: &Value, more: &Value) -> Value {
    let mut query = json!({
        "measures": measures, "grain": "GRAIN_DAY",
        "range": {"from": "2024-03-29T23:00:00Z", "to": "2024-04-02T22:00:00Z"},
        "filters": [{"field": "event_type", "op": "FILTER_OP_EQ", "values": [{"string": "purchase"}]}],
    });
    merge(&mut query, more);
    query
}

fn merge(query: &mut Value, more: &Value) {
    for (name, value) in more.as_object().unwrap() {
        query[name] = value.clone();
    }
}

fn formulas(formulas: &[&str]) -> Value {
    formulas.iter().enumerate().map(|(i, formula)| json!({"name": format!("m{i}"), "formula": formula})).collect()
}

/// Queries with the rows they give.
fn queries() -> Vec<(Value, Value)> {
    let (d1, d2) = ("2024-03-29T23:00:00Z", "2024-03-30T23:00:00Z");
    let (d3, d4) = ("2024-03-31T22:00:00Z", "2024-04-01T22:00:00Z");
    let count = formulas(&["COUNT(*)"]);
    let along = formulas(&[
        "MOVING_AVG(SUM(amount), 2)",
        "CUMULATIVE(SUM(amount))",
        "CHANGE(COUNT(*))",
        "PERCENT_CHANGE(COUNT(*))",
        "SHARE(COUNT(*))",
        "RANK(COUNT(*))",
    ]);
    let all = |more: Value| {
        let mut query = json!({"measures": count});
        merge(&mut query, &more);
        query
    };
    let two_days = json!({"from": "2024-03-31T00:00:00Z", "to": "2024-04-02T00:00:00Z"});
    vec![
        (
            days(
                &formulas(&["COUNT(*)", "SUM(amount)", "AVG(amount)", "SUM(amount) / COUNT(*)"]),
                &json!({"fill": "FILL_ZERO"}),
            ),
            json!([
                [d1, 1, 10.0, 10.0, 10.0],
                [d2, 2, 20.5, 10.25, 10.25],
                [d3, 0, 0.0, null, null],
                [d4, 0, 0.0, null, null]
            ]),
        ),
        (
            days(
                &formulas(&["COUNT(*)", "SUM(amount)"]),
                &json!({"fill": "FILL_NULL", "order_by": [{"column": "time", "descending": true}], "limit": 3}),
            ),
            json!([[d4, null, null], [d3, null, null], [d2, 2, 20.5]]),
        ),
        (days(&along, &json!({"fill": "FILL_ZERO", "having": "m4 >= 0"})), Value::Null),
        (
            days(&along, &json!({"fill": "FILL_ZERO"})),
            json!([
                [d1, 10.0, 10.0, null, null, 1.0 / 3.0, 2],
                [d2, 15.25, 30.5, 1.0, 100.0, 2.0 / 3.0, 1],
                [d3, 10.25, 30.5, -2.0, -100.0, 0.0, 3],
                [d4, 0.0, 30.5, 0.0, null, 0.0, 3]
            ]),
        ),
        (
            days(
                &count,
                &json!({"fill": "FILL_ZERO", "dimensions": [{"expression": "status"}], "order_by": [{"column": "status"}, {"column": "time"}]}),
            ),
            json!([
                [d1, "completed", 1],
                [d2, "completed", 1],
                [d3, "completed", 0],
                [d4, "completed", 0],
                [d1, "refunded", 0],
                [d2, "refunded", 1],
                [d3, "refunded", 0],
                [d4, "refunded", 0]
            ]),
        ),
        // The second day lacks an hour; of the last one half is asked for.
        (
            days(
                &formulas(&["RATE(COUNT(*), 'hour') * 23 * 24", "RATE(COUNT(*), 'day')"]),
                &json!({"range": {"from": "2024-03-29T23:00:00Z", "to": "2024-03-31T10:00:00Z"}}),
            ),
            json!([[d1, 23.0, 1.0], [d2, 2.0 / 11.0 * 23.0 * 24.0, 2.0 / (11.0 / 24.0)]]),
        ),
        (
            all(
                json!({"measures": formulas(&["RATE(COUNT(*), 'day')"]), "range": {"from": "2024-03-30T00:00:00Z", "to": "2024-04-05T00:00:00Z"}}),
            ),
            json!([[1.0]]),
        ),
        // The second day begins at one.
        (
            all(
                json!({"grain": "GRAIN_DAY", "range": {"from": "2024-09-07T04:00:00Z", "to": "2024-09-09T12:00:00Z"}, "fill": "FILL_ZERO"}),
            ),
            json!([["2024-09-07T04:00:00Z", 0], ["2024-09-08T04:00:00Z", 0], ["2024-09-09T03:00:00Z", 0]]),
        ),
        // Nobody did anything.
        (
            days(
                &count,
                &json!({"fill": "FILL_ZERO", "filters": [{"field": "amount", "op": "FILTER_OP_EQ", "values": [{"number": 99}]}]}),
            ),
            json!([[d1, 0], [d2, 0], [d3, 0], [d4, 0]]),
        ),
        (
            all(
                json!({"range": two_days, "comparison": {"earlier": "EARLIER_PREVIOUS"}, "dimensions": [{"expression": "event_type"}]}),
            ),
            json!([["purchase", 1, 2], ["view", 2, 0]]),
        ),
        (
            all(json!({"range": two_days, "comparison": {"from": "2024-03-29T00:00:00Z"}, "grain": "GRAIN_DAY"})),
            json!([["2024-03-31T00:00:00Z", 2, 0], ["2024-04-01T00:00:00Z", 1, 2]]),
        ),
        (
            all(
                json!({"range": {"from": "2025-03-30T00:00:00Z", "to": "2025-04-03T00:00:00Z"}, "comparison": {"earlier": "EARLIER_YEAR"}, "grain": "GRAIN_DAY", "fill": "FILL_ZERO"}),
            ),
            json!([
                ["2025-03-30T00:00:00Z", 0, 2],
                ["2025-03-31T00:00:00Z", 0, 2],
                ["2025-04-01T00:00:00Z", 0, 1],
                ["2025-04-02T00:00:00Z", 0, 1]
            ]),
        ),
        (
            all(json!({"dimensions": [{"expression": "user_id"}], "top": {"n": 1, "others": "the rest"}})),
            json!([["the rest", 4], ["u1", 2]]),
        ),
        (all(json!({"dimensions": [{"expression": "user_id"}], "top": {"n": 1}})), json!([["u1", 2]])),
        (
            all(
                json!({"dimensions": [{"expression": "user_id"}, {"name": "v", "expression": "vip"}], "top": {"n": 1, "dimension": "v", "others": "-"}, "filters": [{"field": "vip", "op": "FILTER_OP_IS_NOT_NULL"}]}),
            ),
            json!([["u1", "-", 1], ["u1", "false", 1], ["u2", "false", 1], ["u3", "-", 1]]),
        ),
        (
            json!({"measures": formulas(&["COUNT(DISTINCT user_id)", "SHARE(COUNT(*))"]), "dimensions": [{"expression": "event_type"}], "limit": 1, "totals": true}),
            json!([["purchase", 2, 0.5, false], [null, 3, 1.0, true]]),
        ),
        (
            all(
                json!({"dimensions": [{"expression": "status"}], "having": "m0 > 1 AND COUNT(amount) > 1", "totals": true}),
            ),
            json!([["completed", 2, false], [null, 6, true]]),
        ),
        (all(json!({"range": {"period": {"unit": "GRAIN_YEAR", "ago": 0, "count": 30}}})), json!([[6]])),
        (all(json!({"range": {"period": {"unit": "GRAIN_DAY", "ago": 1}}})), json!([[0]])),
    ]
}

#[tokio::test]
async fn groups_are_filled_compared_cut_and_summed_up() {
    let world = World::new().await;
    let mut wrong = Vec::new();
    // Twice: computed, and from the cache.
    for (query, want) in queries().into_iter().chain(queries()) {
        let body = json!({"query": query, "options": {"time_zone": zone_of(&query)}});
        let (status, answer) = world.house.post(&world.key, "/v1/query", &body).await;
        match (status, want) {
            (400, Value::Null) => {}
            (200, want) if json!(rows(&answer["result"])) == want => {}
            (status, want) => {
                wrong.push(format!(
                    "{query}\n  {status} {} {:?}\n  not {want}",
                    answer["error"]["message"],
                    rows(&answer["result"])
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn zone_of(query: &Value) -> &'static str {
    match query["range"]["from"].as_str() {
        Some("2024-03-29T23:00:00Z") => "Europe/Berlin",
        Some("2024-09-07T04:00:00Z") => "America/Santiago",
        _ => "UTC",
    }
}

#[tokio::test]
async fn pages_hold_every_row_once() {
    let world = World::new().await;
    // Two users and two nobodies each have one event of their kind: the order by count alone leaves it open.
    let query = json!({
        "measures": formulas(&["COUNT(*)"]), "dimensions": [{"expression": "event_type"}, {"expression": "user_id"}],
        "range": {"period": {"unit": "GRAIN_YEAR", "count": 30}}, "order_by": [{"column": "m0", "descending": true}],
    });
    let (mut token, mut found, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let body = json!({"query": query, "page_size": 2, "page_token": token});
        let (status, answer) = world.house.post(&world.key, "/v1/query", &body).await;
        assert_eq!(status, 200, "{answer}");
        found.extend(rows(&answer["result"]));
        pages += 1;
        token = answer["next_page_token"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    let want =
        json!([["purchase", "u1", 2], ["purchase", "u2", 1], ["view", "u2", 1], ["view", "u3", 1], ["view", null, 1]]);
    assert_eq!((json!(found), pages), (want, 3));
}

#[tokio::test]
async fn what_can_not_be_done_with_groups_is_told_by_its_field() {
    let world = World::new().await;
    let ask = |more: Value| {
        let mut query = json!({"measures": formulas(&["COUNT(*)"]), "range": {"last": "86400s"}});
        merge(&mut query, &more);
        query
    };
    for (more, field, reason) in [
        (json!({"fill": "FILL_ZERO"}), "query.fill", "WRONG_ARGUMENTS"),
        (json!({"fill": "FILL_ZERO", "grain": "GRAIN_DAY", "range": {}}), "query.fill", "WRONG_ARGUMENTS"),
        (
            json!({"fill": "FILL_ZERO", "grain": "GRAIN_MINUTE", "range": {"last": "864000s"}}),
            "query.fill",
            "TOO_LARGE",
        ),
        (json!({"comparison": {}}), "query.comparison.earlier", "REQUIRED"),
        (json!({"comparison": {"earlier": "EARLIER_PREVIOUS"}, "range": {}}), "query.comparison", "INVALID_TIME"),
        (
            json!({"comparison": {"earlier": "EARLIER_YEAR"}, "range": {"last": "63072000s"}}),
            "query.comparison",
            "INVALID_TIME",
        ),
        (json!({"top": {"n": 3}}), "query.top.dimension", "UNKNOWN_NAME"),
        (json!({"top": {}, "dimensions": [{"expression": "status"}]}), "query.top.n", "INVALID_LIMIT"),
        (
            json!({"top": {"n": 3, "by": "m1"}, "dimensions": [{"expression": "status"}]}),
            "query.top.by",
            "UNKNOWN_NAME",
        ),
        (json!({"having": "COUNT(*)"}), "query.having", "TYPE_MISMATCH"),
        (json!({"having": "SHARE(COUNT(*)) > 1"}), "query.having", "AGGREGATE_NOT_ALLOWED"),
        (json!({"measures": formulas(&["CHANGE(COUNT(*))"])}), "query.measures[0].formula", "WRONG_ARGUMENTS"),
        (
            json!({"measures": formulas(&["COUNT(*)", "MOVING_AVG(COUNT(*))"]), "grain": "GRAIN_DAY"}),
            "query.measures[1].formula",
            "WRONG_ARGUMENTS",
        ),
        (json!({"measures": formulas(&["RATE(COUNT(*), 'month')"])}), "query.measures[0].formula", "WRONG_ARGUMENTS"),
        (
            json!({"measures": formulas(&["RATE(COUNT(*), 'hour')"]), "range": {}}),
            "query.measures[0].formula",
            "WRONG_ARGUMENTS",
        ),
        (json!({"range": {"period": {}}}), "query.range.period.unit", "REQUIRED"),
        (json!({"range": {"last": "1s", "period": {"unit": "GRAIN_DAY"}}}), "query.range.period", "NOT_ALLOWED"),
        (json!({"range": {"period": {"unit": "GRAIN_YEAR", "ago": 900}}}), "query.range.period", "INVALID_TIME"),
    ] {
        let (status, answer) = world.house.post(&world.key, "/v1/query", &json!({"query": ask(more.clone())})).await;
        let violation = &answer["error"]["details"][1]["fieldViolations"][0];
        assert_eq!(
            (status, &violation["field"], &violation["reason"]),
            (400, &json!(field), &json!(reason)),
            "{more}: {answer}"
        );
    }
}

#[tokio::test]
async fn metrics_build_on_metrics() {
    let world = World::new().await;
    let metrics = "/v1/apps/shop/metrics";
    let define =
        async |definition: Value| world.house.post(&world.key, metrics, &json!({"definition": definition})).await;
    let completed = json!([{"field": "status", "op": "FILTER_OP_EQ", "values": [{"string": "completed"}]}]);
    for definition in [
        json!({"name": "revenue", "formula": "SUM(amount)", "filters": completed, "unit": "USD"}),
        json!({"name": "buyers", "formula": "COUNT(DISTINCT user_id)", "filters": [{"field": "event_type", "op": "FILTER_OP_EQ", "values": [{"string": "purchase"}]}]}),
        json!({"name": "per_buyer", "formula": "{revenue} / {buyers}"}),
        json!({"name": "smooth", "formula": "MOVING_AVG({per_buyer}, 2) + 0 * COUNT(*)"}),
    ] {
        let (status, answer) = define(definition).await;
        assert_eq!(status, 200, "{answer}");
    }
    let evaluate = async |name: &str, evaluation: Value| {
        let path = format!("{metrics}/{name}:evaluate");
        let (status, answer) = world.house.post(&world.key, &path, &json!({"evaluation": evaluation})).await;
        assert_eq!(status, 200, "{answer}");
        json!(rows(&answer["result"]))
    };
    assert_eq!(evaluate("per_buyer", json!({})).await, json!([[15.25]]));
    assert_eq!(
        evaluate("smooth", json!({"grain": "GRAIN_DAY"})).await,
        json!([
            ["2024-03-30T00:00:00Z", 30.5],
            ["2024-03-31T00:00:00Z", 30.5],
            ["2024-04-01T00:00:00Z", null],
            ["2024-04-02T00:00:00Z", null]
        ])
    );

    // A version that is named stays as it is.
    let changed = json!({"definition": {"name": "revenue", "formula": "SUM(amount) * 100"}, "base_version": 1});
    let request = world.house.http.patch(format!("http://{}{metrics}/revenue", world.house.address));
    let response = request.bearer_auth(&world.key).json(&changed).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(evaluate("per_buyer", json!({})).await, json!([[15.25]]));
    let (_, answer) =
        define(json!({"name": "newer", "formula": "{revenue} / {revenue@1}", "filters": completed})).await;
    assert_eq!(answer["metric"]["definition"]["formula"], "{revenue@2} / {revenue@1}", "{answer}");
    assert_eq!(evaluate("newer", json!({})).await, json!([[100.0]]));

    for (formula, reason, hint) in [
        ("1 + {revenu}", "UNKNOWN_METRIC", "there is no metric `revenu`"),
        ("{revenue@7}", "UNKNOWN_METRIC", "there is no metric `revenue@7`"),
        ("{smooth}", "CYCLE", "buyers -> smooth -> per_buyer -> buyers"),
        ("SUM({revenue})", "NESTED_AGGREGATE", "can't stand inside an aggregate"),
    ] {
        let (status, answer) = define(json!({"name": "buyers", "formula": formula})).await;
        let violation = &answer["error"]["details"][1]["fieldViolations"][0];
        let said = violation["description"].as_str().unwrap_or_default();
        assert_eq!(
            (status, &violation["field"], &violation["reason"]),
            (400, &json!("definition.formula"), &json!(reason)),
            "{answer}"
        );
        assert!(said.contains(hint), "{said}");
    }
}
