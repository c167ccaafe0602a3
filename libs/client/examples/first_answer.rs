//! A first event and a first answer. PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP say where.
#![allow(clippy::print_stdout)]

use penstock_client::{Client, Error, Event, Grain, Identity, Op, Query};
use serde::Deserialize;

#[derive(Deserialize)]
struct ByCountry {
    country: Option<String>,
    revenue: Option<f64>,
}

#[derive(Deserialize)]
struct Day {
    time: String,
    revenue: f64,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = Client::builder().connect().await?; // or Client::connect("127.0.0.1:7070", key)
    client.identify(Identity::new("u1").with("country", "DE").with("plan", "pro")).await?;
    client.track(Event::new("purchase").user("u1").property("amount", 12.5).property("status", "completed")).await?;
    let done = client.flush().await?;

    let sql = "SELECT country, SUM(amount) AS revenue FROM events GROUP BY country";
    for row in client.sql(sql).after(&done).await?.rows::<ByCountry>()? {
        println!("{} {}", row.country.unwrap_or_default(), row.revenue.unwrap_or_default());
    }

    let by_day =
        Query::new().measure("revenue", "SUM(amount)").filter("status", Op::Eq, ["completed"]).grain(Grain::Day);
    for day in client.query(by_day).after(&done).await?.rows::<Day>()? {
        println!("{} {}", day.time, day.revenue);
    }
    client.close().await
}
