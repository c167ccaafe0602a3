//! Work that one of several processes does.

#![allow(clippy::unwrap_used)]

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use storage::{Leased, MetaError, Metastore};
use tokio::sync::oneshot;

static NOW_MS: AtomicI64 = AtomicI64::new(1_000);

fn process(meta: &Arc<dyn Metastore>, holder: &str) -> Leased {
    let now_ms = || NOW_MS.load(Ordering::Relaxed);
    Leased { ledger: Arc::clone(meta) as _, name: "sweeping".to_owned(), holder: holder.to_owned(), now_ms }
}

async fn once(process: &Leased) -> Option<()> {
    process.hold(async { Ok::<_, MetaError>(()) }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_all_does_it_until_it_lets_go_or_is_not_heard_of() {
    let folder = tempfile::tempdir().unwrap();
    let meta = storage::open(&format!("sqlite://{}", folder.path().join("meta.db").display())).await.unwrap();
    let (first, second) = (process(&meta, "first"), process(&meta, "second"));
    assert_eq!(once(&first).await, Some(()));
    assert_eq!(once(&second).await, None);
    first.let_go().await;
    assert_eq!(once(&second).await, Some(()));
    second.let_go().await;

    // One that is at it and wasn't heard of for so long: its work ends once it hears that another has begun.
    let (begun, has_begun) = oneshot::channel();
    let endless = tokio::spawn(async move {
        let work = async {
            begun.send(()).unwrap();
            pending::<Result<(), MetaError>>().await
        };
        first.hold(work).await
    });
    has_begun.await.unwrap();
    assert_eq!(once(&second).await, None);
    assert!(!endless.is_finished());
    loop {
        NOW_MS.fetch_add(6_000, Ordering::Relaxed);
        if once(&second).await.is_some() {
            break;
        }
    }
    assert_eq!(endless.await.unwrap().unwrap(), None);
}
