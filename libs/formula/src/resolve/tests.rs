#![allow(clippy::unwrap_used)]

use model::{FilterOp, MetricFilter};

use crate::{
    Accuracy, ColumnKind, Formula, Measure, TypedQuery,
    fixture::{compile, context, readable, schema, scope},
    references, validate_formula,
};

/// What `expression` becomes in the engine's words, as the one column of a selection of rows.
fn check(expression: &str, want: &str) {
    let statement = compile(&format!("SELECT {expression} AS x FROM events")).unwrap();
    let text = readable(&statement);
    let column = text.strip_prefix("SELECT CAST(").unwrap().split(" AS c0 FROM").next().unwrap();
    let (column, _) = column.rsplit_once(" AS Nullable").unwrap();
    let column = column.strip_prefix("ifNotFinite(").and_then(|c| c.strip_suffix(", NULL) + 0")).unwrap_or(column);
    assert_eq!(column, want, "{expression}");
}

/// The message of the fault and the text it points at.
fn refused(expression: &str, at: &str, want: &str) {
    let sql = format!("SELECT {expression} AS x FROM events");
    let error = compile(&sql).unwrap_err();
    let (start, end) = error.violations[0].span.unwrap();
    assert!(error.message.contains(want), "{expression}: {}", error.message);
    assert_eq!(&sql[start..end], at, "{expression}: {}", error.message);
}

#[test]
fn names_become_columns() {
    check("country", "country");
    check("USER_PLAN", "plan");
    check("user_id", "nullIf(user, '')");
    check("load_time", "n1");
    check("events.status", "s0");
    check("\"page.url\"", "s2");
    check("is_new", "(n3 != 0)");
    check("signup", "fromUnixTimestamp64Milli(CAST(n4 AS Nullable(Int64)), 'UTC')");
    check("extra", "if(mapContains(n_more, <extra>), arrayElement(n_more, <extra>), NULL)");
    check("flag", "(if(mapContains(n_more, <flag\\0bool>), arrayElement(n_more, <flag\\0bool>), NULL) != 0)");
    check("properties.tag", "if(mapContains(s_more, <tag>), arrayElement(s_more, <tag>), NULL)");
}

#[test]
fn a_name_of_several_kinds_is_read_as_its_place_needs() {
    check("code = 200", "(n5 = <200.0>)");
    check("'x' = code", "(s1 = <x>)");
    check("code::string", "s1");
    check("code::number + 1", "(n5 + <1.0>)");
    check("upper(code)", "upperUTF8(s1)");
    check("code IN ('a', 'b')", "(s1 IN (<['a','b']>))");
    check("coalesce(code, load_time)", "coalesce(n5, n1)");
    refused("code", "code", "`code` was sent as number and as string; say which is meant, as in code::number");
    refused("code = code", "code", "say which is meant");
}

#[test]
fn unknown_names_come_with_a_suggestion() {
    refused("purchse_amount", "purchse_amount", "did you mean `purchase_amount`?");
    refused("contry", "contry", "no field or property `contry`; did you mean `country`?");
    refused("\"COUNTRY\"", "\"COUNTRY\"", "did you mean `country`?");
    refused("lowr(status)", "lowr", "there is no function `lowr`; did you mean `lower`?");
    refused("to_char(timestamp, 'YYYY-MM')", "to_char", "write date_trunc('month', timestamp)");
    refused("string_agg(status, ',')", "string_agg", "a value is never a list");
    refused("sleep(3)", "sleep", "there is no function `sleep`");
    refused("file('/etc/passwd')", "file", "there is no function `file`");
    refused("u.country", "u", "`u` is no table of this query");
    refused("load_time::strin", "strin", "did you mean `string`?");
}

#[test]
fn types_must_agree() {
    refused("status + 1", "status", "arithmetic needs numbers; a cast makes one, as in x::number");
    refused("load_time = status", "load_time = status", "a number and a string don't go together");
    refused("is_new > false", "is_new > false", "bools have no order");
    refused("timestamp - signup", "timestamp", "date_diff('second', a, b)");
    refused("timestamp > 'yesterday'", "'yesterday'", "this is no time");
    refused("upper(load_time)", "load_time", "a string is needed here; a cast makes one, as in x::string");
    refused("load_time::time", "load_time", "a number can't be turned into a time");
    refused("CASE WHEN is_new THEN 1 ELSE 'a' END", "'a'", "stands for an integer");
    refused("INTERVAL 1 DAY", "INTERVAL 1 DAY", "added to or subtracted from a time");
    refused("NOT load_time", "load_time", "a bool is needed here");
    refused("load_time = 'abc'", "'abc'", "stands for a number");
    refused("round(load_time, status)", "status", "whole number from 0 to 15");
    refused("lower()", "lower()", "LOWER takes 1 arguments, not 0");
    refused("lower(DISTINCT status)", "lower", "LOWER is no aggregate");
    refused("date_trunc('dya', timestamp)", "'dya'", "did you mean `day`?");
    refused("date_trunc('day', timestamp, 'Mars')", "'Mars'", "there is no time zone \"Mars\"");
    refused("extract(era from timestamp)", "era", "a time has no part of this name");
    refused("timestamp - INTERVAL '1 fortnight'", "INTERVAL '1 fortnight'", "INTERVAL 30 DAY");
    refused("status LIKE tag", "tag", "the pattern of LIKE must be a text in quotes");
    refused("status LIKE 'a\\'", "'a\\'", "lone backslash");
}

#[test]
fn constants_are_folded() {
    check("now() - INTERVAL 30 DAY", "<2024-05-02 12:00:00.000>");
    check("date_trunc('month', now()) - INTERVAL 1 MONTH", "<2024-05-01 00:00:00.000>");
    check("current_date", "<2024-06-01 00:00:00.000>");
    check("DATE '2024-01-31' + INTERVAL 1 MONTH", "<2024-02-29 00:00:00.000>");
    check("TIMESTAMP '2024-07-01 02:00:00+02:00'", "<2024-07-01 00:00:00.000>");
    check("'2024-07-01' AT TIME ZONE 'Europe/Berlin'", "<2024-06-30 22:00:00.000>");
    check("date_trunc('week', now(), 'America/New_York')", "<2024-05-27 04:00:00.000>");
}

#[test]
fn semantics_are_those_of_sql() {
    check("load_time / session_duration", "(n1 / nullIf(n0, 0))");
    check("load_time / 2", "(n1 / <2.0>)");
    check("load_time % 0", "moduloOrNull(n1, <0.0>)");
    check("status NOT IN ('a', NULL)", "(NOT ((s0 = <a>) OR NULL))");
    check("status LIKE 'a\\b\\%%'", "(s0 LIKE <ab\\\\%%>)");
    check("concat(status, 'x')", "concat(ifNull(s0, ''), ifNull(<x>, ''))");
    check("sqrt(load_time)", "ifNotFinite(sqrt(n1), NULL)");
    check("is_new IS NOT TRUE", "(NOT ifNull((n3 != 0), false))");
}

#[test]
fn a_formula_tells_what_it_gives() {
    let schema = schema();
    let check = |text: &str| validate_formula(text, &[], &context(&schema)).map(|c| (c.kind, c.accuracy));
    let seed = check("SUM(purchase_amount) / COUNT(DISTINCT user_id)").unwrap();
    assert_eq!(seed, (ColumnKind::Number, Accuracy::Exact));
    assert_eq!(check("COUNT(*)").unwrap(), (ColumnKind::Integer, Accuracy::Exact));
    assert_eq!(check("PERCENTILE(0.9, load_time)").unwrap(), (ColumnKind::Number, Accuracy::Sketch("t-digest")));
    assert_eq!(check("MAX(timestamp)").unwrap(), (ColumnKind::Time, Accuracy::Exact));
    for (text, want) in [
        ("SUM(purchase_amount", "expected `)` after the arguments"),
        ("SUM(SUM(load_time))", "SUM can't stand inside another aggregate"),
        ("SUM(load_time) + load_time", "`load_time` has many values in a group"),
        ("SUM(status)", "a number is needed here"),
        ("SUM(DISTINCT load_time)", "only COUNT takes DISTINCT"),
        ("SUM(*)", "only COUNT takes *"),
        ("COUNT()", "COUNT takes 1 to 1 arguments"),
        ("PERCENTILE(95, load_time)", "a number between 0 and 1"),
        ("PERCENTILE(load_time)", "PERCENTILE(0.95, load_time)"),
        ("MIN(is_new)", "bools have no order"),
        ("SUMM(load_time)", "did you mean `sum`?"),
        ("1; DROP TABLE events", "expected the end of the expression"),
    ] {
        let error = check(text).unwrap_err();
        assert!(
            error.message.starts_with("formula: line 1, column ") && error.message.contains(want),
            "{}",
            error.message
        );
    }
}

#[test]
fn formulas_stand_in_formulas() {
    let schema = schema();
    let context = context(&schema);
    let paid = vec![MetricFilter {
        field: "status".into(),
        op: FilterOp::Eq,
        values: vec![model::Value::String("paid".into())],
    }];
    let formula = |name: &str, text: &str| Formula {
        name: name.into(),
        formula: text.into(),
        filters: paid.clone(),
        ..Formula::default()
    };
    let formulas = [
        formula("revenue", "SUM(purchase_amount)"),
        formula("buyers@2", "COUNT(DISTINCT user_id)"),
        formula("loop", "{around} + 1"),
        formula("around", "1 - {loop}"),
        formula("broken", "SUM(purchase_amont)"),
        formula("smooth", "MOVING_AVG({revenue}, 7)"),
    ];
    let measures =
        vec![Measure { name: "m".into(), formula: "{revenue} / {buyers@2} + COUNT(*)".into(), ..Measure::default() }];
    let query = TypedQuery { measures, formulas: formulas.to_vec(), ..TypedQuery::default() };
    let statement = query.plan(&context).and_then(|plan| plan.seal(&scope(), &schema)?.compile()).unwrap();
    let text = readable(&statement);
    let inner = "SELECT sum(if((s0 = <paid>), n2, NULL)) AS a0, uniqExactIf(user, user != '' AND (s0 = <paid>)) AS a1, count() AS a2";
    assert!(text.contains(inner), "{text}");
    for (text, want) in [
        ("{revenu}", "there is no metric `revenu`; did you mean `revenue`?"),
        ("{loop}", "in `{loop}`: in `{around}`: the metric `loop` is defined by itself: loop -> around -> loop"),
        ("2 * {broken}", "in `{broken}`: the app has no field or property `purchase_amont`"),
        ("SUM({revenue})", "it can't stand inside an aggregate"),
        (
            "CUMULATIVE({smooth})",
            "in `{smooth}`: MOVING_AVG over a window can't stand inside an aggregate or another window",
        ),
        ("{revenue", "the character '{' has no meaning here"),
    ] {
        let error = validate_formula(text, &formulas, &context).unwrap_err();
        assert!(error.message.contains(want), "{text}: {}", error.message);
    }
    assert!(validate_formula("{smooth} / {revenue}", &formulas, &context).is_ok());
    let sql = compile("SELECT {revenue} FROM events").unwrap_err();
    assert!(sql.message.contains("metrics stand in formulas alone"), "{}", sql.message);
    assert_eq!(references("{a} + {b_c@12} '{d}'"), [(0..3, "a"), (6..14, "b_c@12")]);
}
