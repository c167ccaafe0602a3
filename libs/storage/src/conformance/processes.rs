use std::sync::Arc;

use crate::{Metastore, Process, ProcessCalls};

/// Who is there, and who was.
pub async fn processes(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    let store = new().await;
    let process = |name: &str, seen_at_ms| Process {
        name: name.into(),
        roles: vec!["gateway".into(), "query".into()],
        version: "1.2.3".into(),
        started_at_ms: 5,
        seen_at_ms,
        calls: vec![ProcessCalls { service: "query".into(), calls: 7, failed: 1, p50_seconds: 0.25, p99_seconds: 1.5 }],
    };
    for (name, seen_at_ms) in [("b:2", 100), ("a:1", 200), ("b:2", 300)] {
        store.put_process(&process(name, seen_at_ms), 0).await.unwrap();
    }
    assert_eq!(store.processes(0).await.unwrap(), [process("a:1", 200), process("b:2", 300)]);
    assert_eq!(store.processes(201).await.unwrap(), [process("b:2", 300)], "who was not heard of since isn't told");
    // Nor kept, once another one speaks.
    store.put_process(&process("c:3", 400), 201).await.unwrap();
    assert_eq!(store.processes(0).await.unwrap(), [process("b:2", 300), process("c:3", 400)]);
    store.forget_process("b:2").await.unwrap();
    assert_eq!(store.processes(0).await.unwrap(), [process("c:3", 400)]);
}
