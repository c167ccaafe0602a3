//! What tenants cost: measured by the house, priced by `penstock cost`.

use serde_json::{Value, json};

use crate::{command_line::alone, erasure, house::House};

const ROUNDS: u64 = 40;
const BATCH: u64 = 20;
const PARTS: [&str; 8] = ["roles", "warehouse", "stored", "log", "between_zones", "to_customers", "calls", "all"];

/// The rows of the command by tenant, and its last line.
async fn cost(house: &House, arguments: &[&str]) -> (Vec<Value>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let all = [&["cost", "--json", "--ops", &house.ops_address], arguments].concat();
    let (is_well, said, complained) = alone(folder.path(), &all, "").await;
    assert!(is_well, "{complained}");
    let mut lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let prices = lines.pop().unwrap();
    (lines, prices)
}

fn of<'a>(rows: &'a [Value], tenant: &str) -> &'a Value {
    rows.iter().find(|row| row["tenant"] == tenant).unwrap_or_else(|| panic!("{tenant} is not in {rows:?}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test]
async fn tenants_cost_what_they_send_and_their_costs_add_up() {
    let house = House::start().await;
    let big = house.tenant("big", "shop", &["ingest"]).await;
    let small = house.tenant("small", "shop", &["ingest"]).await;
    let batch: Vec<_> = (0..BATCH)
        .map(
            |n| json!({"event_type": "sale", "user_id": format!("u{n}"), "properties": {"amount": n, "what": "shoes"}}),
        )
        .collect();
    let batch = json!(batch);
    for _ in 0..ROUNDS {
        for key in std::iter::repeat_n(&big, 10).chain([&small]) {
            let (status, answer) = house.post(key, "/v1/events?app_id=shop", &batch).await;
            assert_eq!(status, 200, "{answer}");
        }
    }
    let sent = (ROUNDS * BATCH * 11) as f64;
    house.until_metric("penstock_tenant_stored_events_total", |stored| stored == sent).await;
    house.until_metric("penstock_warehouse_stored_events", |stored| stored >= sent).await;

    let (rows, prices) = cost(&house, &[]).await;
    assert!(prices["prices"].as_str().unwrap().contains("AWS"), "{prices}");
    let (big, small, all) = (of(&rows, "big"), of(&rows, "small"), of(&rows, "(all)"));
    for (row, times) in [(big, 10), (small, 1), (all, 11)] {
        assert_eq!(row["events"], ROUNDS * BATCH * times, "{row}");
    }
    assert_eq!((&big["calls"], &small["calls"]), (&json!(ROUNDS * 10), &json!(ROUNDS)));
    let size = number(&json!(batch.to_string().len()));
    assert_eq!(number(&small["body_bytes_in"]), size * ROUNDS as f64);
    for row in [big, small] {
        for part in PARTS {
            assert!(number(&row["dollars"][part]) > 0.0, "{part} of {row}");
        }
    }
    for part in PARTS {
        let (whole, tenants) = (number(&all["dollars"][part]), &rows[..rows.len() - 1]);
        let sum: f64 = tenants.iter().map(|row| number(&row["dollars"][part])).sum();
        assert!((sum - whole).abs() <= 1e-9 * whole.max(1e-9), "{part}: the tenants' {sum} are not all's {whole}");
    }
    let a_million = |row: &Value| number(&row["dollars_a_million_events"]);
    let ratio = a_million(big) / a_million(small);
    println!("big {:.4} $ a million events, small {:.4}, all {:.4}", a_million(big), a_million(small), a_million(all));
    assert!(
        (0.6..1.6).contains(&ratio),
        "the same events cost {ratio} times as much in one tenant as in the other: {rows:?}"
    );

    // With a price on calls alone, dollars are exactly calls.
    let folder = tempfile::tempdir().unwrap();
    let mut table: toml::Table = include_str!("../../../../deploy/sizing/prices.toml").parse().unwrap();
    for (name, value) in &mut table {
        match value {
            toml::Value::Float(price) => *price = if name == "million_requests" { 1e6 } else { 0.0 },
            toml::Value::Table(node) if node.contains_key("hour") => drop(node.insert("hour".to_owned(), 0.0.into())),
            _ => {}
        }
    }
    let file = folder.path().join("prices.toml");
    std::fs::write(&file, table.to_string()).unwrap();
    let (rows, _) = cost(&house, &["--prices", file.to_str().unwrap(), "--tenant", "small"]).await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(number(&of(&rows, "small")["dollars"]["all"]), ROUNDS as f64);

    // From now on nobody sends anything.
    let (rows, _) = cost(&house, &["--range", "1s"]).await;
    let all = of(&rows, "(all)");
    assert_eq!((&all["events"], &all["dollars_a_million_events"]), (&json!(0), &Value::Null), "{rows:?}");
}

#[tokio::test]
async fn what_a_tenant_used_is_told_by_day_at_the_installation_s_prices_and_across_restarts() {
    let prices = "[prices]\ncurrency = \"EUR\"\nmillion_events = 1000.0\nmillion_calls = 10.0\n";
    let mut house = House::start_with(prices).await;
    house.tenant("red", "shop", &["ingest"]).await;
    let wanted =
        json!({"tenant_id": "red", "permissions": ["PERMISSION_INGEST", "PERMISSION_QUERY", "PERMISSION_ADMIN"]});
    let (_, made) = house.post(&house.operator_key(), "/v1/keys", &wanted).await;
    let all = made["secret"].as_str().unwrap().to_owned();
    let sale = json!([{"event_type": "sale", "user_id": "u"}, {"event_type": "sale", "user_id": "v"}]);
    let used =
        async |house: &House, key: &str, query: &str| erasure::get(house, key, &format!("/v1/usage{query}")).await;
    for turn in 1..=2 {
        let (status, sent) = house.post(&all, "/v1/events?app_id=shop", &sale).await;
        assert_eq!(status, 200, "{sent}");
        let token = sent["position_token"].as_str().unwrap();
        assert_eq!(
            house.sql(&all, "SELECT COUNT(*) FROM events WHERE app_id = 'shop'", token).await,
            [[json!(2 * turn)]]
        );
        assert!(house.terminate().success());
        house.launch().await;
        let (status, answer) = used(&house, &all, "").await;
        assert_eq!(status, 200, "{answer}");
        let days = answer["usage"].as_array().unwrap();
        // One, unless midnight came.
        let sum = |field: &str| days.iter().map(|day| count(&day[field])).sum::<f64>();
        assert_eq!((sum("events"), sum("queries")), (2.0 * f64::from(turn), f64::from(turn)), "{answer}");
        // The look before is a call too.
        assert_eq!(sum("calls"), f64::from(3 * turn - 1), "{answer}");
        for field in ["bytes_in", "bytes_out", "log_bytes", "read_bytes", "role_seconds", "warehouse_seconds"] {
            assert!(sum(field) > 0.0, "{field}: {answer}");
        }
        assert!(days.iter().all(|day| day["tenant_id"] == "red" && day["day"].is_string()), "{answer}");
        assert_eq!(answer["currency"], "EUR");
        let cost = sum("events") / 1e6 * 1000.0 + sum("calls") / 1e6 * 10.0;
        assert!((sum("cost") - cost).abs() < 1e-12, "{answer}: not {cost}");
    }
    let operator = house.operator_key();
    let (_, answer) = used(&house, &operator, "").await;
    let red = answer["usage"].as_array().unwrap().iter().find(|one| one["tenant_id"] == "red").unwrap();
    assert_eq!((count(&red["events"]), red.get("day")), (4.0, None), "{answer}");
    let (_, of_red) = used(&house, &operator, "?tenant_id=red&from=2020-01-01T00:00:00Z&to=2020-02-01T00:00:00Z").await;
    assert!(of_red.get("usage").is_none_or(|none| none == &json!([])), "{of_red}");

    let other = house.tenant("blue", "shop", &["admin"]).await; // limited to its app
    for (key, query, status, said) in [
        (&other, "", 403, "limited to some apps"),
        (&other, "?tenant_id=red", 403, "its own tenant only"),
        (&operator, "?tenant_id=nobody", 404, "does not exist"),
        (&operator, "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "must not be after"),
        (&operator, "?from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "at most 400 days"),
    ] {
        let (got, answer) = used(&house, key, query).await;
        assert!(got == status && answer.to_string().contains(said), "{query}: {got} {answer}");
    }
}

/// JSON has whole numbers of 64 bits as text.
fn count(value: &Value) -> f64 {
    value.as_str().map_or_else(|| value.as_f64().unwrap_or_default(), |text| text.parse().unwrap())
}
