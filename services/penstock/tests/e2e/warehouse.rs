//! The embedded engine, as the program runs it, keeps every promise of the warehouse.

use storage::{Warehouse, conformance};

use crate::house::House;

#[tokio::test]
async fn the_embedded_engine_conforms() {
    let house = House::start().await;
    let (address, key) = house.warehouse_address();
    // A database that isn't there yet, beside the house's own.
    let warehouse = Warehouse::new(&format!("http://{address}"), "conformance", "default", Some(&key)).unwrap();
    conformance::warehouse(&warehouse).await;
}
