use std::sync::Arc;

use model::{Act, Priority};
use serde_json::json;

use super::{app, tenant};
use crate::{App, AuditFilter, Layers, MetaError, Metastore, Quota, Setting, Settings, Tenant};

/// What holds for the installation, tenants and apps.
pub(super) async fn settings(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    what_is_not_set_is_as_the_next_wider_place_has_it(&*new().await).await;
    a_part_is_set_and_the_rest_stays(&*new().await).await;
    an_app_s_days_begin_where_the_nearest_place_says(&*new().await).await;
    who_read_what_is_no_longer_set_changes_nothing(&*new().await).await;
    a_change_is_noted_with_what_it_was_before(new().await).await;
}

/// The tenant acme with the apps ios and web, which have no time zones of their own.
async fn without_zones(store: &dyn Metastore) {
    let acme = Tenant { id: tenant("acme"), display_name: "Acme".into(), created_at_ms: 1 };
    store.create_tenant(&acme).await.unwrap();
    for id in ["ios", "web"] {
        let (display_name, time_zone) = (id.into(), String::new());
        let added = App { tenant: tenant("acme"), id: app(id), display_name, time_zone, created_at_ms: 1 };
        store.create_app(&added).await.unwrap();
    }
}

async fn set(store: &dyn Metastore, of: Option<&str>, id: Option<&str>, setting: Setting) -> Result<(), MetaError> {
    store.set_settings(of.map(tenant).as_ref(), id.map(app).as_ref(), setting, None).await
}

async fn at(store: &dyn Metastore, of: Option<&str>, id: Option<&str>) -> Layers {
    store.settings(of.map(tenant).as_ref(), id.map(app).as_ref()).await.unwrap()
}

async fn what_is_not_set_is_as_the_next_wider_place_has_it(store: &dyn Metastore) {
    without_zones(store).await;
    let beta = Tenant { id: tenant("beta"), display_name: "beta".into(), created_at_ms: 1 };
    store.create_tenant(&beta).await.unwrap();
    for (of, id) in [("nobody", None), ("nobody", Some("web")), ("beta", Some("web")), ("acme", Some("none"))] {
        let unknown = set(store, Some(of), id, Setting::All(Settings::default())).await;
        assert!(matches!(unknown, Err(MetaError::NotFound(_))), "{unknown:?}");
    }
    let house = Settings {
        time_zone: Some("Asia/Tokyo".into()),
        allowed_origins: vec!["https://house.example".into()],
        max_priority: Some(Priority::Scheduled),
        default_priority: Some(Priority::Background),
        retention_days: Some(90),
        quota: Quota { events_per_second: Some(10), events_burst: Some(100), ..Quota::default() },
    };
    let of_acme = Settings {
        allowed_origins: vec!["https://a.example".into(), "https://\"é'.example".into()],
        max_priority: Some(Priority::Interactive),
        retention_days: Some(30),
        quota: Quota { events_per_second: Some(u64::MAX), bytes_burst: Some(7), ..Quota::default() },
        ..Settings::default()
    };
    let web_quota = Quota { events_per_second: Some(3), ..Quota::default() };
    let of_web = Settings {
        retention_days: Some(0),
        default_priority: Some(Priority::Interactive),
        quota: web_quota,
        ..Settings::default()
    };
    set(store, None, None, Setting::All(house.clone())).await.unwrap();
    set(store, Some("acme"), None, Setting::All(Settings { retention_days: Some(1), ..Settings::default() }))
        .await
        .unwrap();
    set(store, Some("acme"), None, Setting::All(of_acme.clone())).await.unwrap();
    set(store, Some("acme"), Some("web"), Setting::All(of_web.clone())).await.unwrap();

    // More than the most is the most.
    let quota = Quota { events_per_second: Some(Quota::MAX), bytes_burst: Some(7), ..Quota::default() };
    let of_acme = Settings { quota, ..of_acme };
    let found = at(store, Some("acme"), Some("web")).await;
    assert_eq!((&found.installation, &found.tenant), (&house, &of_acme));
    assert_eq!(found.app, of_web);
    let in_acme = Settings {
        time_zone: house.time_zone.clone(),
        default_priority: house.default_priority,
        quota: Quota { events_burst: Some(100), ..quota },
        ..of_acme.clone()
    };
    let in_web = Settings {
        retention_days: Some(0),
        default_priority: Some(Priority::Interactive),
        quota: Quota { events_per_second: Some(3), ..in_acme.quota },
        ..in_acme.clone()
    };
    assert_eq!(found.effective(), in_web);
    assert_eq!(at(store, Some("acme"), Some("ios")).await.effective(), in_acme);
    assert_eq!(at(store, Some("beta"), None).await, Layers { installation: house.clone(), ..Layers::default() });
    assert_eq!(at(store, Some("nobody"), Some("web")).await.effective(), house);
    assert_eq!(at(store, None, None).await.effective(), house);

    let all = store.all_settings().await.unwrap();
    let (acme, web) = (tenant("acme"), app("web"));
    assert_eq!((all.at(&acme, None), all.at(&acme, Some(&app("ios")))), (&in_acme, &in_acme));
    assert_eq!((all.at(&acme, Some(&web)), all.at(&tenant("beta"), Some(&web))), (&in_web, &house));
    assert_eq!(all.of_apps(&acme).collect::<Vec<_>>(), [&in_web]);
    let quotas: Vec<_> = all.quotas(&acme).into_iter().flatten().collect();
    assert_eq!(quotas, [(&web, &web_quota)], "of an app for itself");
    assert!(all.quotas(&tenant("beta")).is_none());

    // What is taken back is as the next wider place has it.
    set(store, Some("acme"), None, Setting::All(Settings::default())).await.unwrap();
    set(store, None, None, Setting::All(Settings::default())).await.unwrap();
    assert_eq!(at(store, Some("acme"), Some("web")).await, Layers { app: of_web, ..Layers::default() });
}

async fn who_read_what_is_no_longer_set_changes_nothing(store: &dyn Metastore) {
    without_zones(store).await;
    let of_days = |days| Settings { retention_days: Some(days), ..Settings::default() };
    for id in [None, Some("web")] {
        let (of, id) = (tenant("acme"), id.map(app));
        let set = async |days, etag: String| {
            store.set_settings(Some(&of), id.as_ref(), Setting::All(of_days(days)), Some(&etag)).await
        };
        let own = async || store.settings(Some(&of), id.as_ref()).await.unwrap().own(Some(&of), id.as_ref()).clone();
        let first = own().await.etag();
        set(1, first.clone()).await.unwrap();
        let late = set(2, first).await;
        assert!(matches!(late, Err(MetaError::Conflict(_))), "{late:?}");
        assert_eq!(own().await, of_days(1));
        let (left, right) = tokio::join!(set(3, own().await.etag()), set(4, of_days(1).etag()));
        assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
        set(5, own().await.etag()).await.unwrap();
        store.set_settings(Some(&of), id.as_ref(), Setting::RetentionDays(Some(6)), None).await.unwrap();
        assert_eq!(own().await, of_days(6), "without an etag it replaces what there is");
    }
}

async fn a_part_is_set_and_the_rest_stays(store: &dyn Metastore) {
    without_zones(store).await;
    let quota = Quota { requests_per_second: Some(3), query_bytes_burst: Some(0), ..Quota::default() };
    set(store, Some("acme"), None, Setting::Quota(quota)).await.unwrap();
    set(store, Some("acme"), None, Setting::RetentionDays(Some(7))).await.unwrap();
    let wanted = Settings {
        time_zone: Some("Europe/Berlin".into()),
        allowed_origins: vec!["https://a.example".into()],
        max_priority: Some(Priority::Interactive),
        default_priority: Some(Priority::Scheduled),
        retention_days: Some(0),
        quota: Quota::default(),
    };
    set(store, Some("acme"), None, Setting::OfAdmins(wanted.clone())).await.unwrap();
    let kept = Settings { max_priority: None, retention_days: Some(7), quota, ..wanted.clone() };
    assert_eq!(at(store, Some("acme"), None).await.tenant, kept, "what is operators' stays");
    set(store, Some("acme"), Some("web"), Setting::RetentionDays(Some(7))).await.unwrap();
    let of_web = Settings { quota: Quota { bytes_burst: Some(u64::MAX), ..quota }, ..wanted.clone() };
    set(store, Some("acme"), Some("web"), Setting::OfOwners(of_web)).await.unwrap();
    let quota = Quota { bytes_burst: Some(Quota::MAX), ..quota };
    let kept = Settings { max_priority: None, retention_days: Some(7), quota, ..wanted };
    assert_eq!(at(store, Some("acme"), Some("web")).await.app, kept, "but an app's quota");
    set(store, Some("acme"), Some("web"), Setting::All(Settings::default())).await.unwrap();
    set(store, Some("acme"), None, Setting::RetentionDays(None)).await.unwrap();
    set(store, Some("acme"), None, Setting::Quota(Quota::default())).await.unwrap();
    set(store, Some("acme"), None, Setting::OfAdmins(Settings::default())).await.unwrap();
    assert_eq!(at(store, Some("acme"), None).await, Layers::default());
}

async fn an_app_s_days_begin_where_the_nearest_place_says(store: &dyn Metastore) {
    without_zones(store).await;
    let acme = tenant("acme");
    let own = App {
        tenant: acme.clone(),
        id: app("own"),
        display_name: "own".into(),
        time_zone: "America/New_York".into(),
        created_at_ms: 1,
    };
    store.create_app(&own).await.unwrap();
    let zones = async || {
        let apps: Vec<_> = store.apps(&acme).await.unwrap().into_iter().map(|app| app.time_zone).collect();
        assert_eq!(store.app(&acme, &app("web")).await.unwrap().unwrap().time_zone, apps[2]);
        apps
    };
    let zone = |name: &str| Setting::All(Settings { time_zone: Some(name.into()), ..Settings::default() });
    assert_eq!(zones().await, ["UTC", "America/New_York", "UTC"]);
    set(store, None, None, zone("Asia/Tokyo")).await.unwrap();
    assert_eq!(zones().await, ["Asia/Tokyo", "America/New_York", "Asia/Tokyo"]);
    set(store, Some("acme"), None, zone("Europe/Berlin")).await.unwrap();
    set(store, Some("acme"), Some("web"), zone("Asia/Kathmandu")).await.unwrap();
    assert_eq!(zones().await, ["Europe/Berlin", "America/New_York", "Asia/Kathmandu"]);
    assert_eq!(at(store, Some("acme"), Some("own")).await.app.time_zone.as_deref(), Some("America/New_York"));
    for id in ["own", "web"] {
        set(store, Some("acme"), Some(id), Setting::All(Settings::default())).await.unwrap();
    }
    assert_eq!(zones().await, ["Europe/Berlin"; 3]);
}

async fn a_change_is_noted_with_what_it_was_before(store: Arc<dyn Metastore>) {
    without_zones(&*store).await;
    let acting = store.acting(Act { method: "AdminService/SetSettings".into(), ..Act::default() });
    let zone = |name: &str| Setting::All(Settings { time_zone: Some(name.into()), ..Settings::default() });
    for setting in [zone("Asia/Tokyo"), zone("Asia/Tokyo"), zone("Europe/Berlin")] {
        set(&*acting, Some("acme"), Some("web"), setting).await.unwrap();
    }
    set(&*acting, Some("acme"), None, Setting::RetentionDays(Some(7))).await.unwrap();
    set(&*acting, None, None, zone("Asia/Tokyo")).await.unwrap();
    let noted = async |of: Option<&str>| {
        let of = of.map(tenant);
        let entries = store.audit_entries(of.as_ref(), &AuditFilter::default(), None, 10).await.unwrap();
        entries.into_iter().map(|entry| (entry.object, entry.app, entry.before, entry.after)).collect::<Vec<_>>()
    };
    let entry = |object: &str, app: &str, before, after| {
        let text = |value: serde_json::Value| value.to_string();
        (object.to_owned(), app.to_owned(), text(before), text(after))
    };
    let [tokyo, berlin] = ["Asia/Tokyo", "Europe/Berlin"].map(|zone| json!({"time_zone": zone}));
    assert_eq!(
        noted(Some("acme")).await,
        [
            entry("retention", "", json!({"days": null}), json!({"days": 7})),
            entry("settings", "web", tokyo.clone(), berlin),
            entry("settings", "web", json!({}), tokyo.clone()),
        ]
    );
    assert_eq!(noted(None).await, [entry("settings", "", json!({}), tokyo)]);
}
