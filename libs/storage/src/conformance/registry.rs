use std::{collections::HashSet, sync::Arc};

use model::{
    AppSchema, NUMBER_SLOTS,
    PropertyKind::{self, Bool, Number, String as Text, Time},
    Slot, TEXT_SLOTS,
};

use super::{app, tenant};
use crate::{Metastore, Registry, RegistryError};

/// Which property lies where.
pub async fn registry(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    slots_are_given_in_order(&*new().await).await;
    a_registered_property_stays(&*new().await).await;
    what_overflows_goes_to_the_maps(&*new().await).await;
    a_full_registry_takes_all_or_nothing(&*new().await).await;
    concurrent_callers_agree(new().await).await;
}

async fn register(store: &dyn Registry, properties: &[(&str, PropertyKind)]) -> AppSchema {
    store.register(&tenant("acme"), &app("web"), properties, 1000).await.unwrap()
}

async fn schema(store: &dyn Registry) -> AppSchema {
    store.schema(&tenant("acme"), &app("web")).await.unwrap()
}

async fn slots_are_given_in_order(store: &dyn Registry) {
    assert!(schema(store).await.is_empty());
    let wanted =
        [("price", Number), ("status", Text), ("paid", Bool), ("price", Text), ("due", Time), ("price", Number)];
    let returned = register(store, &wanted).await;
    for schema in [returned, schema(store).await] {
        assert_eq!(schema.len(), 5);
        assert_eq!(schema.slot("price", Number), Some(Slot::Number(0)));
        assert_eq!(schema.slot("paid", Bool), Some(Slot::Number(1)));
        assert_eq!(schema.slot("due", Time), Some(Slot::Number(2)));
        assert_eq!(schema.slot("status", Text), Some(Slot::Text(0)));
        assert_eq!(schema.slot("price", Text), Some(Slot::Text(1)));
        assert_eq!(schema.slot("status", Number), None);
    }
    for (of, id) in [("acme", "ios"), ("beta", "web")] {
        assert!(store.schema(&tenant(of), &app(id)).await.unwrap().is_empty(), "{of}/{id}");
    }
    let other = store.register(&tenant("beta"), &app("web"), &[("x", Number)], 1000).await.unwrap();
    assert_eq!(other.slot("x", Number), Some(Slot::Number(0)));
}

async fn a_registered_property_stays(store: &dyn Registry) {
    register(store, &[("a", Number), ("b", Text)]).await;
    let later = register(store, &[("c", Number), ("b", Text), ("a", Number), ("d", Text)]).await;
    assert_eq!(later.slot("a", Number), Some(Slot::Number(0)));
    assert_eq!(later.slot("b", Text), Some(Slot::Text(0)));
    assert_eq!(later.slot("c", Number), Some(Slot::Number(1)));
    assert_eq!(later.slot("d", Text), Some(Slot::Text(1)));
    assert_eq!(register(store, &[]).await.len(), 4);
}

async fn what_overflows_goes_to_the_maps(store: &dyn Registry) {
    let names: Vec<String> = (0..40).map(|i| format!("p{i}")).collect();
    for (i, name) in names.iter().enumerate() {
        let schema = register(store, &[(name, Number), (name, Text)]).await;
        let i = i as u16;
        let number = if i < NUMBER_SLOTS { Slot::Number(i) } else { Slot::NumberMap };
        let text = if i < TEXT_SLOTS { Slot::Text(i) } else { Slot::TextMap };
        assert_eq!(schema.slot(name, Number), Some(number));
        assert_eq!(schema.slot(name, Text), Some(text));
    }
    assert_eq!(schema(store).await.len(), 80);
}

async fn a_full_registry_takes_all_or_nothing(store: &dyn Registry) {
    let (acme, web) = (tenant("acme"), app("web"));
    store.register(&acme, &web, &[("a", Number), ("b", Number)], 3).await.unwrap();
    let refused = store.register(&acme, &web, &[("c", Number), ("d", Number)], 3).await;
    assert!(matches!(refused, Err(RegistryError::Full { registered: 2, limit: 3 })), "{refused:?}");
    assert_eq!(schema(store).await.len(), 2);
    // What is known already fits always, even under a limit that was lowered since.
    assert_eq!(store.register(&acme, &web, &[("a", Number)], 1).await.unwrap().len(), 2);
    assert_eq!(store.register(&acme, &web, &[("a", Number), ("c", Number)], 3).await.unwrap().len(), 3);
    let refused = store.register(&acme, &web, &[("e", Number)], 3).await;
    assert!(matches!(refused, Err(RegistryError::Full { registered: 3, limit: 3 })), "{refused:?}");
}

async fn concurrent_callers_agree(store: Arc<dyn Metastore>) {
    let tasks: Vec<_> = (0..12usize)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut latest = AppSchema::default();
                // Overlapping windows, walked from different ends.
                for step in 0..8 {
                    let from = if task % 2 == 0 { step * 2 } else { 14 - step * 2 } + task / 4;
                    let names: Vec<String> = (from..from + 4).map(|i| format!("p{i}")).collect();
                    let wanted: Vec<_> =
                        names.iter().flat_map(|n| [(n.as_str(), Number), (n.as_str(), Text)]).collect();
                    latest = register(&*store, &wanted).await;
                    assert!(wanted.iter().all(|(name, kind)| latest.slot(name, *kind).is_some()));
                }
                latest
            })
        })
        .collect();
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await.unwrap());
    }
    let settled = schema(&*store).await;
    for property in seen.iter().flat_map(AppSchema::properties) {
        assert_eq!(settled.slot(&property.name, property.kind), Some(property.slot));
    }
    let own = settled.properties().map(|p| p.slot).filter(|s| !matches!(s, Slot::NumberMap | Slot::TextMap));
    let own: Vec<Slot> = own.collect();
    assert_eq!(own.len(), usize::from(NUMBER_SLOTS + TEXT_SLOTS)); // 20 names of either kind use every column
    assert_eq!(own.iter().collect::<HashSet<_>>().len(), own.len(), "a column was given twice");
}
