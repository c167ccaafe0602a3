use std::{collections::BTreeSet, sync::Arc};

use model::Branding;

use super::{app, directory::with_two_apps, tenant};
use crate::{Branded, Hosts, MetaError, Metastore, Tenant};

/// Checks that a metastore keeps what [`crate::Brandings`] promises.
pub async fn brandings(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    what_is_not_set_is_as_the_next_wider_place_has_it(&*new().await).await;
    a_domain_is_one_tenant_s(&*new().await).await;
}

fn named(name: &str, color: Option<&str>) -> Branding {
    Branding { product_name: Some(name.to_owned()), primary_color: color.map(str::to_owned), ..Branding::default() }
}

async fn what_is_not_set_is_as_the_next_wider_place_has_it(store: &dyn Metastore) {
    with_two_apps(store).await;
    let (acme, web) = (tenant("acme"), app("web"));
    assert_eq!(store.branding(Some(&acme), Some(&web)).await.unwrap(), Branded::default());
    for (of, id) in [("nobody", None), ("nobody", Some("web")), ("acme", Some("none"))] {
        let unknown = store.set_branding(Some(&tenant(of)), id.map(app).as_ref(), &Branding::default()).await;
        assert!(matches!(unknown, Err(MetaError::NotFound(_))), "{unknown:?}");
    }
    let (house, own) = (named("House", Some("#000000")), named("Acme 'ä\"", None));
    store.set_branding(None, None, &house).await.unwrap();
    store.set_branding(Some(&acme), None, &named("before", Some("#111111"))).await.unwrap();
    store.set_branding(Some(&acme), None, &own).await.unwrap();
    let icon = Branding { icon_url: Some("https://x.example/i.png".to_owned()), ..Branding::default() };
    store.set_branding(Some(&acme), Some(&web), &icon).await.unwrap();

    let of_tenant = Branding { primary_color: Some("#000000".to_owned()), ..own.clone() };
    let of_app = Branding { icon_url: icon.icon_url.clone(), ..of_tenant.clone() };
    let at = async |t: Option<&str>, a: Option<&str>| {
        store.branding(t.map(tenant).as_ref(), a.map(app).as_ref()).await.unwrap()
    };
    assert_eq!(at(None, None).await, Branded { set: house.clone(), effective: house.clone() });
    assert_eq!(at(Some("acme"), None).await, Branded { set: own, effective: of_tenant.clone() });
    assert_eq!(at(Some("acme"), Some("web")).await, Branded { set: icon, effective: of_app });
    assert_eq!(at(Some("acme"), Some("ios")).await, Branded { set: Branding::default(), effective: of_tenant });
    assert_eq!(at(Some("other"), None).await, Branded { set: Branding::default(), effective: house });
}

async fn a_domain_is_one_tenant_s(store: &dyn Metastore) {
    for id in ["acme", "beta"] {
        store.create_tenant(&Tenant { id: tenant(id), display_name: id.into(), created_at_ms: 1 }).await.unwrap();
    }
    let (acme, beta) = (tenant("acme"), tenant("beta"));
    let set = |domains: &[&str]| domains.iter().map(|domain| (*domain).to_owned()).collect::<BTreeSet<_>>();
    let unknown = store.set_domains(&tenant("nobody"), &set(&["x.example"])).await;
    assert!(matches!(unknown, Err(MetaError::NotFound(_))), "{unknown:?}");
    assert_eq!(store.hosts().await.unwrap(), Hosts::default());
    store.set_domains(&acme, &set(&["a.example", "b.example"])).await.unwrap();
    store.set_domains(&acme, &set(&["b.example", "c.example"])).await.unwrap();
    let theirs = store.set_domains(&beta, &set(&["a.example", "b.example"])).await;
    assert!(matches!(&theirs, Err(MetaError::AlreadyExists(what)) if what.contains("b.example")), "{theirs:?}");
    assert_eq!(store.domains(&beta).await.unwrap(), set(&[]), "none of them");
    store.set_domains(&beta, &set(&["a.example"])).await.unwrap();
    assert_eq!(store.domains(&acme).await.unwrap(), set(&["b.example", "c.example"]));

    store.set_branding(None, None, &named("House", Some("#000000"))).await.unwrap();
    store.set_branding(Some(&acme), None, &named("Acme", None)).await.unwrap();
    let hosts = store.hosts().await.unwrap();
    let (house, of_acme) = (named("House", Some("#000000")), named("Acme", Some("#000000")));
    let by_domain = [("a.example", house.clone()), ("b.example", of_acme.clone()), ("c.example", of_acme)];
    let by_domain = by_domain.map(|(domain, branding)| (domain.to_owned(), branding)).into();
    assert_eq!(hosts, Hosts { by_domain, other: house });
}
