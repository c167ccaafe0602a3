//! What tenants cost: measured by the house, priced by `penstock cost`.

use serde_json::{Value, json};

use crate::{command_line::alone, house::House};

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
