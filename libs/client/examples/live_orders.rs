//! Follows an answer while events arrive. PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP say where.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use futures::TryStreamExt;
use penstock_client::{Client, Error, Event, Op, Query};

const WANTED: u64 = 10;

#[derive(serde::Deserialize)]
struct Total {
    orders: u64,
    revenue: Option<f64>,
}

/// Somebody buys something.
async fn shop(client: Client) -> Result<(), Error> {
    for n in 0..WANTED {
        client.track(Event::new("order").user(format!("u{}", n % 3)).property("amount", 10 + n)).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = Client::builder().connect().await?;
    let shopping = tokio::spawn(shop(client.clone()));

    let orders = Query::new().measure("orders", "COUNT(*)").measure("revenue", "SUM(amount)").filter(
        "event_type",
        Op::Eq,
        ["order"],
    );
    let mut updates = client.query(orders).min_interval(Duration::from_millis(200)).subscribe();
    while let Some(update) = updates.try_next().await? {
        let Some(now) = update.answer.rows::<Total>()?.pop() else { continue };
        println!("{} orders, {} in all", now.orders, now.revenue.unwrap_or_default());
        if now.orders >= WANTED {
            break;
        }
    }
    shopping.abort();
    client.close().await
}
