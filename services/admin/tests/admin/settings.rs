use api::v1::{
    GetSettingsRequest, Priority, SetSettingsRequest, SetTenantQuotaRequest, SetTenantRetentionRequest, SettingOrigin,
    Settings, SettingsLevel, TenantQuota,
};
use model::ErrorCode::{Conflict, NotFound, PermissionDenied};

use crate::world::{World, admin, admin_of, code, fields, method, operator};

fn set(tenant: &str, app: &str, settings: Settings) -> SetSettingsRequest {
    SetSettingsRequest { tenant_id: tenant.into(), app_id: app.into(), settings: Some(settings), etag: String::new() }
}

fn get(tenant: &str, app: &str) -> GetSettingsRequest {
    GetSettingsRequest { tenant_id: tenant.into(), app_id: app.into() }
}

fn zone(name: &str) -> Settings {
    Settings { time_zone: name.into(), ..Settings::default() }
}

fn level(origins: &[SettingOrigin], field: &str) -> SettingsLevel {
    origins.iter().find(|origin| origin.field == field).unwrap().level()
}

#[tokio::test]
async fn what_holds_is_told_with_the_place_that_it_comes_from() {
    let world = World::new().await;
    let at =
        async |tenant: &str, app: &str| world.call(&operator(), get(tenant, app), method!(get_settings)).await.unwrap();
    let nothing = at("acme", "").await;
    let server = Settings {
        time_zone: "UTC".into(),
        max_priority: Priority::Interactive.into(),
        default_priority: Priority::Interactive.into(),
        retention_days: Some(400),
        ..Settings::default()
    };
    assert_eq!((nothing.settings, nothing.effective), (Some(Settings::default()), Some(server)));
    assert!(nothing.origins.iter().all(|origin| origin.level() == SettingsLevel::Server));

    let house = Settings {
        time_zone: "asia/tokyo".into(),
        allowed_origins: vec!["https://house.example".into()],
        max_priority: Priority::Scheduled.into(),
        default_priority: Priority::Interactive.into(),
        quota: Some(TenantQuota { events_per_second: Some(10), events_burst: Some(5), ..TenantQuota::default() }),
        ..Settings::default()
    };
    let answer = world.call(&operator(), set("", "", house), method!(set_settings)).await.unwrap();
    assert_eq!(answer.settings.unwrap().time_zone, "Asia/Tokyo");
    let own = Settings { allowed_origins: vec!["https://acme.example".into()], ..Settings::default() };
    world.call(&admin("acme"), set("", "", own), method!(set_settings)).await.unwrap();
    // The methods for a quota and a retention alone set the same.
    let quota = Some(TenantQuota { events_per_second: Some(0), ..TenantQuota::default() });
    let request = SetTenantQuotaRequest { tenant_id: "acme".into(), quota };
    world.call(&operator(), request, method!(set_tenant_quota)).await.unwrap();
    let request = SetTenantRetentionRequest { tenant_id: "acme".into(), app_id: "ios".into(), days: Some(3) };
    world.call(&operator(), request, method!(set_tenant_retention)).await.unwrap();

    let found = at("acme", "ios").await;
    let quota = TenantQuota { events_per_second: Some(0), events_burst: Some(5), ..TenantQuota::default() };
    let effective = Settings {
        // The app was made with a zone of its own.
        time_zone: "UTC".into(),
        allowed_origins: vec!["https://acme.example".into()],
        max_priority: Priority::Scheduled.into(),
        default_priority: Priority::Scheduled.into(),
        retention_days: Some(3),
        quota: Some(quota),
    };
    assert_eq!(found.effective, Some(effective));
    assert_eq!(found.settings, Some(Settings { retention_days: Some(3), ..zone("UTC") }));
    for (field, from) in [
        ("time_zone", SettingsLevel::App),
        ("allowed_origins", SettingsLevel::Tenant),
        ("max_priority", SettingsLevel::Installation),
        ("retention_days", SettingsLevel::App),
        ("quota.events_per_second", SettingsLevel::Tenant),
        ("quota.events_burst", SettingsLevel::Installation),
        ("quota.bytes_burst", SettingsLevel::Server),
    ] {
        assert_eq!(level(&found.origins, field), from, "{field}");
    }
    assert_eq!(at("beta", "").await.effective.unwrap().time_zone, "Asia/Tokyo");
    assert_eq!(at("", "").await.settings.unwrap().time_zone, "Asia/Tokyo");
}

#[tokio::test]
async fn an_admin_sets_what_is_its_tenant_s_and_never_more_than_it_was_given() {
    let world = World::new().await;
    let given = Settings {
        max_priority: Priority::Scheduled.into(),
        retention_days: Some(30),
        quota: Some(TenantQuota { bytes_per_second: Some(9), ..TenantQuota::default() }),
        ..Settings::default()
    };
    world.call(&operator(), set("acme", "", given.clone()), method!(set_settings)).await.unwrap();
    let chief = admin("acme");
    let own = Settings {
        allowed_origins: vec!["https://b.example".into(), "https://a.example".into()],
        default_priority: Priority::Background.into(),
        ..zone("Europe/Berlin")
    };
    let answer = world.call(&chief, set("", "", own.clone()), method!(set_settings)).await.unwrap();
    let origins = vec!["https://a.example".to_owned(), "https://b.example".into()];
    let both = Settings { allowed_origins: origins, ..own.clone() };
    let both =
        Settings { max_priority: given.max_priority, retention_days: given.retention_days, quota: given.quota, ..both };
    assert_eq!(answer.settings, Some(both.clone()), "what is left out stays");
    let again = world.call(&chief, set("acme", "", both.clone()), method!(set_settings)).await.unwrap();
    assert_eq!(again.settings, Some(both.clone()));
    // Who read what is no longer set changes nothing.
    let read = world.call(&chief, get("acme", ""), method!(get_settings)).await.unwrap();
    let at_once = |zone: &str| SetSettingsRequest {
        etag: read.etag.clone(),
        ..set("acme", "", Settings { time_zone: zone.into(), ..both.clone() })
    };
    let first = world.call(&chief, at_once("Asia/Tokyo"), method!(set_settings)).await.unwrap();
    assert_ne!(first.etag, read.etag);
    assert_eq!(code(world.call(&chief, at_once("Asia/Seoul"), method!(set_settings)).await), Conflict);
    let now = world.call(&chief, get("acme", ""), method!(get_settings)).await.unwrap();
    assert_eq!((now.etag, now.settings.unwrap().time_zone), (first.etag, "Asia/Tokyo".to_owned()));

    let bytes = TenantQuota { bytes_per_second: Some(10), ..TenantQuota::default() };
    for (app, settings) in [
        ("", Settings { max_priority: Priority::Interactive.into(), ..Settings::default() }),
        ("ios", Settings { max_priority: Priority::Scheduled.into(), ..Settings::default() }),
        ("", Settings { retention_days: Some(0), ..Settings::default() }),
        ("ios", Settings { retention_days: Some(30), ..Settings::default() }),
        ("", Settings { quota: Some(bytes), ..Settings::default() }),
    ] {
        let refused = world.call(&chief, set("", app, settings.clone()), method!(set_settings)).await;
        assert_eq!(code(refused), PermissionDenied, "{settings:?} of {app:?}");
    }
    // Whoever has the whole tenant shares out what it may among its apps; an app's own admins take what they were given.
    let of_app = Settings { quota: Some(bytes), ..zone("Asia/Tokyo") };
    let shared = world.call(&chief, set("", "ios", of_app.clone()), method!(set_settings)).await.unwrap();
    assert_eq!(shared.settings.unwrap().quota, Some(bytes));
    assert_eq!(level(&shared.origins, "quota.bytes_per_second"), SettingsLevel::App);
    let limited = admin_of("acme", &["ios"]);
    let more = TenantQuota { bytes_per_second: Some(11), ..TenantQuota::default() };
    let more = Settings { quota: Some(more), ..of_app };
    assert_eq!(code(world.call(&limited, set("", "ios", more), method!(set_settings)).await), PermissionDenied);
    let mine = world.call(&limited, set("", "ios", zone("Asia/Tokyo")), method!(set_settings)).await.unwrap();
    let mine = mine.effective.unwrap();
    assert_eq!((&*mine.time_zone, mine.quota), ("Asia/Tokyo", Some(bytes)));
    for (caller, tenant, app) in
        [(&limited, "", ""), (&limited, "", "web"), (&chief, "beta", ""), (&chief, "nobody", ""), (&chief, "host", "")]
    {
        let refused = world.call(caller, set(tenant, app, zone("Asia/Tokyo")), method!(set_settings)).await;
        assert_eq!(code(refused), PermissionDenied, "{tenant:?} {app:?}");
    }
    assert_eq!(code(world.call(&chief, get("beta", ""), method!(get_settings)).await), PermissionDenied);
    assert_eq!(code(world.call(&limited, get("", "web"), method!(get_settings)).await), PermissionDenied);
}

#[tokio::test]
async fn settings_that_can_not_be_are_refused_by_field() {
    let world = World::new().await;
    let refused = async |request| world.call(&operator(), request, method!(set_settings)).await;
    let huge = TenantQuota { bytes_burst: Some(u64::MAX), ..TenantQuota::default() };
    let wrong = Settings {
        time_zone: "Mars".into(),
        allowed_origins: vec!["https://a.example".into(), "*".into()],
        max_priority: 7,
        default_priority: -1,
        retention_days: Some(36_501),
        quota: Some(huge),
    };
    let all = [
        "settings.time_zone",
        "settings.allowed_origins[1]",
        "settings.max_priority",
        "settings.default_priority",
        "settings.retention_days",
        "settings.quota.bytes_burst",
    ];
    assert_eq!(fields(refused(set("acme", "", wrong)).await), all);
    let none = SetSettingsRequest { tenant_id: "acme".into(), ..SetSettingsRequest::default() };
    assert_eq!(fields(refused(none).await), ["settings"]);
    assert_eq!(fields(refused(set("", "ios", zone("UTC"))).await), ["tenant_id"]);
    for (tenant, app) in [("nobody", ""), ("acme", "none")] {
        assert_eq!(code(refused(set(tenant, app, zone("UTC"))).await), NotFound);
        assert_eq!(code(world.call(&operator(), get(tenant, app), method!(get_settings)).await), NotFound);
    }
}
