//! The TypeScript library in pages of a real browser.

use serde_json::json;
use tokio::time::timeout;

use super::{Caller, QUEUE_BYTES};
use crate::{
    console,
    house::{House, PATIENCE},
};

/// Fewer events than this, of what a page that is left had queued, are not what browsers let outlive it: 64 KiB.
const OUTLIVING: u64 = 320;

#[tokio::test]
async fn a_page_that_is_left_sends_what_outlives_it_and_a_hidden_one_all() {
    let house = House::start().await;
    let caller = Caller::new(&house, "typescript", "page").await;
    let with = [("PENSTOCK_KEY", caller.key.as_str()), ("PENSTOCK_APP", caller.app.as_str())];
    let events = console::told(&house, "leaving", &with).await["events"].as_u64().unwrap();
    caller.counted("hidden", events, &house).await;
    for left in ["left", "gone"] {
        let enough = async {
            loop {
                let counts = caller.counts(left, &house).await;
                if let Some(sent) = counts[0].as_u64().filter(|sent| *sent >= OUTLIVING) {
                    return (sent, counts);
                }
            }
        };
        let (sent, counts) = timeout(PATIENCE, enough).await.unwrap_or_else(|_| panic!("not enough of {left} came"));
        assert!(sent < events, "{left}: {counts:?}");
        assert_eq!(counts, [json!(sent), json!(sent), json!((sent - 1) as f64)], "the first of {left}, each once");
    }
}

#[tokio::test]
async fn what_a_page_queues_on_disk_outlives_it_and_counts_once_whoever_sends_it() {
    let house = House::start().await;
    let caller = Caller::new(&house, "typescript", "page").await;
    let with = [("PENSTOCK_KEY", caller.key.as_str()), ("PENSTOCK_APP", caller.app.as_str())];
    let seen = console::told(&house, "kept", &with).await;
    let events = seen["events"].as_u64().unwrap();
    assert_eq!(seen["closed"], json!(events), "the next page sends what it finds, and has it no more");
    let killed = json!({"own": events, "ofTheLast": events, "sent": 3 * events});
    assert_eq!(seen["killed"], killed, "who lives has its own alone, and then what the dead left");
    let queued = seen["full"]["queued"].as_u64().unwrap();
    assert!((1..QUEUE_BYTES / 100).contains(&queued), "{}", seen["full"]);
    assert_eq!(seen["full"]["more"], 0, "the next page's queue is as full");
    assert_eq!(seen["refused"]["ended"]["handedBack"], json!(events), "nothing keeps it, so it comes back");
    for (story, why) in [
        ("refused", "SecurityError"),
        ("mute", "it wasn't open after 10000 ms"),
        ("small", "QuotaExceededError"),
        ("deleted", "it is being deleted"),
    ] {
        let told = seen[story]["told"].as_array().unwrap();
        assert!(told.len() == 1 && told[0].as_str().unwrap().contains(why), "{story}: {told:?}");
    }
    assert_eq!(seen["small"]["handedBack"], json!(events), "what there was no room for, and not what came then");
    for story in ["closed", "refused", "mute", "small", "deleted", "lockless"] {
        caller.counted(story, events, &house).await;
    }
    caller.counted("killed", 3 * events, &house).await;
    caller.counted("full", queued, &house).await;
}

/// With a key that only sends, and a token that only asks.
#[tokio::test]
async fn the_page_of_the_examples_runs_as_it_is() {
    let house = House::start().await;
    let made = async |permission: &str, kind: &str| {
        let key = json!({"display_name": "page", "permissions": [permission], "app_ids": ["xyz123"], "kind": kind});
        let (status, key) = house.post(&house.demo_key(), "/v1/keys", &key).await;
        assert_eq!(status, 200, "{key}");
        key
    };
    let signer = made("PERMISSION_QUERY", "KEY_KIND_HS256").await.to_string();
    let sends = made("PERMISSION_INGEST", "KEY_KIND_BEARER").await;
    let key = sends["secret"].as_str().unwrap();
    let with = [("PENSTOCK_SIGNER", signer.as_str()), ("PENSTOCK_KEY", key), ("PENSTOCK_APP", "xyz123")];
    assert_eq!(console::told(&house, "page", &with).await["opened"], 2);
}
