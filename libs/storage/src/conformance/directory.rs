use std::sync::Arc;

use model::{AppSet, Environment, KeyKind, Network, Permission, Priority, ReadFilter, Scope};

use super::{app, settings::settings, tenant};
use crate::{App, Directory, Key, MetaError, Metastore, Places, Tenant};

/// Tenants, apps, keys and secrets.
pub async fn directory(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    tenants_and_apps_are_listed_by_id(&*new().await).await;
    names_are_taken_once(&*new().await).await;
    a_key_comes_back_as_it_was_made(&*new().await).await;
    a_key_needs_what_its_scope_names(&*new().await).await;
    revoking_keeps_the_first_time(&*new().await).await;
    one_key_comes_in_another_s_place(&*new().await).await;
    a_key_s_last_use_is_the_latest_noted(&*new().await).await;
    settings(&new).await;
    a_secret_is_made_once(new().await).await;
}

fn a_tenant(id: &str) -> Tenant {
    Tenant { id: tenant(id), display_name: format!("{id}, \"Inc\" 'ä"), created_at_ms: 17 }
}

fn an_app(of: &str, id: &str) -> App {
    App {
        tenant: tenant(of),
        id: app(id),
        display_name: format!("the {id}"),
        time_zone: "Europe/Berlin".into(),
        created_at_ms: -1,
    }
}

pub(super) fn a_key(of: &str, id: &str, apps: AppSet, created_at_ms: i64) -> Key {
    let mut hash = [0; 32];
    hash[..id.len()].copy_from_slice(id.as_bytes());
    hash[31] = 0xfe;
    let scope = Scope {
        filters: vec![ReadFilter { property: "store \"a\"".into(), values: vec!["1".into(), "é'\\".into()] }],
        ..Scope::new(
            tenant(of),
            apps,
            [Permission::Query, Permission::Ingest].into_iter().collect(),
            Priority::Scheduled,
        )
    };
    Key {
        kind: KeyKind::Hs256,
        id: id.into(),
        hash,
        display_name: "a key".into(),
        environment: Environment::Live,
        scope,
        places: Places::default(),
        customer: None,
        rotated_from: None,
        created_at_ms,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    }
}

pub(super) async fn with_two_apps(store: &(impl Directory + ?Sized)) {
    store.create_tenant(&a_tenant("acme")).await.unwrap();
    store.create_app(&an_app("acme", "web")).await.unwrap();
    store.create_app(&an_app("acme", "ios")).await.unwrap();
}

async fn tenants_and_apps_are_listed_by_id(store: &dyn Directory) {
    assert_eq!(store.tenants().await.unwrap(), []);
    store.create_tenant(&a_tenant("beta")).await.unwrap();
    with_two_apps(store).await;
    assert_eq!(store.tenants().await.unwrap(), [a_tenant("acme"), a_tenant("beta")]);
    assert_eq!(store.apps(&tenant("acme")).await.unwrap(), [an_app("acme", "ios"), an_app("acme", "web")]);
    assert_eq!(store.apps(&tenant("beta")).await.unwrap(), []);
    assert_eq!(store.apps(&tenant("nobody")).await.unwrap(), []);
    assert_eq!(store.app(&tenant("acme"), &app("web")).await.unwrap(), Some(an_app("acme", "web")));
    assert_eq!(store.app(&tenant("beta"), &app("web")).await.unwrap(), None);
}

async fn names_are_taken_once(store: &dyn Directory) {
    with_two_apps(store).await;
    let again = Tenant { display_name: "other".into(), ..a_tenant("acme") };
    assert!(matches!(store.create_tenant(&again).await, Err(MetaError::AlreadyExists(_))));
    assert!(matches!(store.create_app(&an_app("acme", "web")).await, Err(MetaError::AlreadyExists(_))));
    assert!(matches!(store.create_app(&an_app("nobody", "web")).await, Err(MetaError::NotFound(_))));
    store.create_tenant(&a_tenant("beta")).await.unwrap();
    store.create_app(&an_app("beta", "web")).await.unwrap(); // app ids are the tenant's own
    assert_eq!(store.tenants().await.unwrap(), [a_tenant("acme"), a_tenant("beta")]);
}

async fn a_key_comes_back_as_it_was_made(store: &dyn Directory) {
    with_two_apps(store).await;
    let mut every_app = a_key("acme", "k1", AppSet::All, 20);
    every_app.scope.permissions = Permission::ALL.into_iter().collect();
    every_app.scope.priority = Priority::Background;
    every_app.expires_at_ms = Some(99);
    let mut two_apps = a_key("acme", "k2", AppSet::Only(vec![app("web"), app("ios")]), 10);
    two_apps.revoked_at_ms = Some(11);
    two_apps.environment = Environment::Test;
    two_apps.places = Places {
        networks: ["10.0.0.0/8", "2001:db8::/32"].map(|network| Network::parse(network).unwrap()).to_vec(),
        origins: vec!["https://dash.example".into()],
    };
    two_apps.last_used_at_ms = Some(12);
    let mut nothing = a_key("acme", "k3", AppSet::Only(vec![]), 20);
    nothing.scope.permissions = [].into_iter().collect();
    nothing.scope.priority = Priority::Interactive;
    for key in [&every_app, &two_apps, &nothing] {
        store.create_key(key).await.unwrap();
        assert_eq!(store.key(&key.id).await.unwrap().as_ref(), Some(key));
    }
    assert_eq!(store.keys(&tenant("acme")).await.unwrap(), [two_apps, every_app, nothing]); // oldest first
    assert_eq!(store.keys(&tenant("beta")).await.unwrap(), []);
    assert_eq!(store.key("k").await.unwrap(), None);
}

async fn a_key_needs_what_its_scope_names(store: &dyn Directory) {
    with_two_apps(store).await;
    store.create_tenant(&a_tenant("beta")).await.unwrap();
    store.create_app(&an_app("beta", "tv")).await.unwrap();
    let only = |id: &str| AppSet::Only(vec![app("web"), app(id)]);
    for (of, apps) in [("nobody", AppSet::All), ("acme", only("tv")), ("acme", only("none"))] {
        let refused = store.create_key(&a_key(of, "k1", apps, 1)).await;
        assert!(matches!(refused, Err(MetaError::NotFound(_))), "{refused:?}");
    }
    assert_eq!(store.key("k1").await.unwrap(), None);
    store.create_key(&a_key("acme", "k1", AppSet::All, 1)).await.unwrap();
    let taken = store.create_key(&a_key("beta", "k1", AppSet::All, 2)).await; // key ids are the installation's
    assert!(matches!(taken, Err(MetaError::AlreadyExists(_))), "{taken:?}");
    assert_eq!(store.key("k1").await.unwrap(), Some(a_key("acme", "k1", AppSet::All, 1)));
}

async fn revoking_keeps_the_first_time(store: &dyn Directory) {
    with_two_apps(store).await;
    store.create_tenant(&a_tenant("beta")).await.unwrap();
    store.create_key(&a_key("acme", "k1", AppSet::All, 1)).await.unwrap();
    let foreign = store.revoke_key(&tenant("beta"), "k1", 5).await;
    assert!(matches!(foreign, Err(MetaError::NotFound(_))), "{foreign:?}");
    assert_eq!(store.key("k1").await.unwrap().unwrap().revoked_at_ms, None);
    store.revoke_key(&tenant("acme"), "k1", 7).await.unwrap();
    store.revoke_key(&tenant("acme"), "k1", 9).await.unwrap();
    assert_eq!(store.key("k1").await.unwrap().unwrap().revoked_at_ms, Some(7));
    let unknown = store.revoke_key(&tenant("acme"), "k2", 7).await;
    assert!(matches!(unknown, Err(MetaError::NotFound(_))), "{unknown:?}");
}

async fn one_key_comes_in_another_s_place(store: &dyn Directory) {
    with_two_apps(store).await;
    store.create_tenant(&a_tenant("beta")).await.unwrap();
    for id in ["k1", "k2", "k3"] {
        store.create_key(&a_key("acme", id, AppSet::All, 1)).await.unwrap();
    }
    store.revoke_key(&tenant("acme"), "k3", 2).await.unwrap();
    let after = |of: &str, id: &str, old: &str| {
        let key = a_key(of, id, AppSet::All, 5);
        Key { rotated_from: Some(old.into()), ..key }
    };
    for (of, old) in [("beta", "k1"), ("acme", "none"), ("acme", "k3")] {
        let refused = store.rotate_key(&after(of, "k4", old), 9).await;
        assert!(matches!(refused, Err(MetaError::NotFound(_))), "{refused:?}");
    }
    assert_eq!(store.rotated_key("k1").await.unwrap(), None);

    let end = async |id: &str| store.key(id).await.unwrap().unwrap().expires_at_ms;
    store.rotate_key(&after("acme", "k4", "k1"), 9).await.unwrap();
    assert_eq!((end("k1").await, end("k4").await), (Some(9), None));
    assert_eq!(store.rotated_key("k1").await.unwrap(), Some(after("acme", "k4", "k1")));
    let twice = store.rotate_key(&after("acme", "k5", "k1"), 3).await;
    assert!(matches!(twice, Err(MetaError::AlreadyExists(_))), "{twice:?}");
    assert_eq!((end("k1").await, store.key("k5").await.unwrap()), (Some(9), None), "all or nothing");
    // What ends before keeps its end.
    store.rotate_key(&Key { expires_at_ms: Some(4), ..after("acme", "k6", "k4") }, 9).await.unwrap();
    store.rotate_key(&after("acme", "k7", "k6"), 9).await.unwrap();
    assert_eq!(end("k6").await, Some(4));
}

async fn a_key_s_last_use_is_the_latest_noted(store: &dyn Directory) {
    with_two_apps(store).await;
    for id in ["k1", "k2"] {
        store.create_key(&a_key("acme", id, AppSet::All, 1)).await.unwrap();
    }
    let used = async || {
        let keys = store.keys(&tenant("acme")).await.unwrap();
        keys.into_iter().map(|key| key.last_used_at_ms).collect::<Vec<_>>()
    };
    let note = async |uses: &[(&str, i64)]| {
        let uses: Vec<_> = uses.iter().map(|(id, at_ms)| ((*id).to_owned(), *at_ms)).collect();
        store.note_key_uses(&uses).await.unwrap();
    };
    assert_eq!(used().await, [None, None]);
    note(&[("none", 9), ("k1", 7)]).await;
    assert_eq!(used().await, [Some(7), None]);
    note(&[("k2", 8), ("k1", 5)]).await;
    assert_eq!(used().await, [Some(7), Some(8)]);
    note(&[]).await;
    note(&[("k1", 9)]).await;
    assert_eq!(used().await, [Some(9), Some(8)]);
}

async fn a_secret_is_made_once(store: Arc<dyn Metastore>) {
    /// A new value with each call: two that are stored would differ.
    fn make() -> [u8; 32] {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        secret
    }
    let racing: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.secret("signing", make).await.unwrap() })
        })
        .collect();
    let first = store.secret("signing", make).await.unwrap();
    for task in racing {
        assert_eq!(task.await.unwrap(), first);
    }
    assert_ne!(store.secret("other", make).await.unwrap(), first);
    assert_eq!(store.secret("signing", make).await.unwrap(), first);
}
