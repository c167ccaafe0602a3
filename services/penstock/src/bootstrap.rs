//! What a first start makes: the operator's key, and for a demonstration a tenant with an app and a key.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use model::{AppId, AppSet, Environment, Permission, Permissions, Priority, Scope, TenantId};
use storage::{App, Directory, MetaError, Tenant};

use crate::wire::StartError;

/// The tenant of the operator's own keys.
const OPERATOR: &str = "operator";
/// The demonstration's tenant and app: those of the README.
const DEMO_TENANT: &str = "demo";
const DEMO_APP: &str = "xyz123";

/// Makes the operator's key, unless its file is there. The key's text is in the file alone.
pub(crate) async fn operator(directory: &dyn Directory, data: &Path, now_ms: i64) -> Result<PathBuf, StartError> {
    let path = data.join("operator.key");
    if !path.exists() {
        let tenant = tenant(directory, OPERATOR, "Operator", now_ms).await?;
        let permissions = [Permission::Operator, Permission::Admin].into_iter().collect();
        key(directory, tenant, permissions, "first operator key", &path, now_ms).await?;
    }
    Ok(path)
}

/// Makes the demonstration's tenant, app and key, unless they are there.
pub(crate) async fn demo(directory: &dyn Directory, data: &Path, now_ms: i64) -> Result<PathBuf, StartError> {
    let tenant = tenant(directory, DEMO_TENANT, "Demo", now_ms).await?;
    let app = App {
        tenant: tenant.clone(),
        id: AppId::new(DEMO_APP).expect("a plain word"),
        display_name: "Demo app".to_owned(),
        time_zone: String::new(), // its tenant's
        created_at_ms: now_ms,
    };
    unless_there(directory.create_app(&app).await)?;
    let path = data.join("demo.key");
    if !path.exists() {
        let permissions = [
            Permission::Ingest,
            Permission::Query,
            Permission::Metrics,
            Permission::Admin,
            Permission::Backfill,
            Permission::Export,
        ];
        key(directory, tenant, permissions.into_iter().collect(), "demo key", &path, now_ms).await?;
    }
    Ok(path)
}

async fn tenant(directory: &dyn Directory, id: &str, name: &str, now_ms: i64) -> Result<TenantId, StartError> {
    let id = TenantId::new(id).expect("a plain word");
    let tenant = Tenant { id: id.clone(), display_name: name.to_owned(), created_at_ms: now_ms };
    unless_there(directory.create_tenant(&tenant).await)?;
    Ok(id)
}

async fn key(
    directory: &dyn Directory,
    tenant: TenantId,
    permissions: Permissions,
    name: &str,
    path: &Path,
    now_ms: i64,
) -> Result<(), StartError> {
    let scope = Scope::new(tenant, AppSet::All, permissions, Priority::Interactive);
    let (key, text) = admin::mint(name.to_owned(), scope, Environment::Live, now_ms);
    directory.create_key(&key).await?;
    write_secret(path, text.as_str())
}

fn unless_there(made: Result<(), MetaError>) -> Result<(), StartError> {
    match made {
        Err(MetaError::AlreadyExists(_)) => Ok(()),
        made => Ok(made?),
    }
}

/// A random secret, kept in a file that only this user can read.
pub(crate) fn secret_file(path: &Path) -> Result<String, StartError> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return Ok(text.trim().to_owned());
    }
    let secret = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    write_secret(path, &secret)?;
    Ok(secret)
}

/// Whole or not at all: a crash must not leave half a key behind.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), StartError> {
    let failed = |source| StartError::File { path: path.to_owned(), source };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let partial = path.with_extension("partial");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial).map_err(failed)?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
}
