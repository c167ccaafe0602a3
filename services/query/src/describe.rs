//! What a key may do, and what it can ask about.

use api::{convert, v1};
use mesh::context::CallContext;
use model::{AppId, Branding, Error, ErrorCode, Permission, PropertyKind, Scope};
use storage::{App, Brandings};
use tracing::warn;

use crate::run::Engine;

/// The key's permissions and apps, and of the one that is named, or that it reaches alone, the properties and the branding.
pub(crate) async fn describe(
    app_id: &str,
    context: &CallContext,
    engine: &Engine,
) -> Result<v1::DescribeResponse, Error> {
    context.require(Permission::Query)?;
    let (scope, apps) = (&context.scope, &engine.apps);
    let app = match app_id {
        "" => scope.apps.single().cloned(),
        named => Some(convert::app_from_wire("app_id", named)?),
    };
    if let Some(app) = app.as_ref().filter(|app| !scope.reaches(app)) {
        return Err(Error::new(ErrorCode::PermissionDenied, format!("app {app} is out of this key's reach")));
    }
    let properties = match &app {
        Some(app) => {
            let info = apps.fresh(&scope.tenant, app).await?;
            let mut properties: Vec<_> = info.schema.properties().collect();
            properties.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
            properties.into_iter().map(|p| property(&p.name, p.kind)).collect()
        }
        None => Vec::new(),
    };
    let reached = apps.all(&scope.tenant).await?.into_iter().filter(|app| scope.reaches(&app.id));
    Ok(v1::DescribeResponse {
        tenant_id: scope.tenant.to_string(),
        key_id: context.key_id.clone(),
        permissions: scope.permissions.iter().map(|permission| permission.name().to_owned()).collect(),
        apps: reached.map(|app| described(app, scope.time_zone.as_deref())).collect(),
        properties,
        branding: branding(scope, app.as_ref(), &*engine.brandings).await.map(Into::into),
    })
}

/// What isn't set for whom the token is made is as the app has it, or its tenant, or the installation. It is no reason not to answer.
async fn branding(scope: &Scope, app: Option<&AppId>, brandings: &dyn Brandings) -> Option<Branding> {
    let of_token = scope.branding.as_deref().cloned().unwrap_or_default();
    match brandings.branding(Some(&scope.tenant), app).await {
        Ok(wider) => Some(of_token.within(&wider.effective)),
        Err(error) => {
            warn!(%error, "what is shown is told without its branding");
            None
        }
    }
}

fn described(App { id, display_name, time_zone, .. }: App, of_token: Option<&str>) -> v1::DescribedApp {
    let time_zone = of_token.map_or(time_zone, str::to_owned);
    v1::DescribedApp { app_id: id.to_string(), display_name, time_zone }
}

fn property(name: &str, kind: PropertyKind) -> v1::DescribedProperty {
    let r#type = match kind {
        PropertyKind::Number => v1::ColumnType::Number,
        PropertyKind::String => v1::ColumnType::String,
        PropertyKind::Bool => v1::ColumnType::Bool,
        PropertyKind::Time => v1::ColumnType::Time,
    };
    v1::DescribedProperty { name: name.to_owned(), r#type: r#type.into() }
}
