//! Messages to the directory's types and back.

use std::time::Duration;

use api::{
    convert::{
        WireDuration, app_from_wire, duration_from_wire, permission_from_wire, priority_from_wire, priority_to_wire,
        time_from_wire, time_to_wire,
    },
    v1,
};
use model::{
    AppId, AppSet, Environment, Error, ErrorCode, KeyKind, Network, Permission, Permissions, Priority, ReadFilter,
    TenantId,
};
use storage::{App, Key, Places, Tenant};

use crate::{
    caller::Caller,
    check::{self, both},
};

/// What a key to make is asked to be, each field by itself as it should be.
pub(crate) struct WantedKey {
    pub(crate) display_name: String,
    pub(crate) permissions: Permissions,
    pub(crate) apps: AppSet,
    pub(crate) expires_at_ms: Option<i64>,
    pub(crate) priority: Priority,
    pub(crate) environment: Environment,
    pub(crate) places: Places,
    pub(crate) filters: Vec<ReadFilter>,
    pub(crate) kind: KeyKind,
    /// Of [`KeyKind::EdDsa`].
    pub(crate) public_key: [u8; 32],
}

/// The longest time for which a rotated key is good beside the new one, and the time if none is said.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 86_400);
const OVERLAP: Duration = Duration::from_secs(86_400);
/// The most networks, and the most origins, that a key is limited to.
const MAX_PLACES: usize = 32;

pub(crate) fn tenant_id(field: &str, text: &str) -> Result<TenantId, Error> {
    TenantId::new(text).map_err(|e| Error::invalid(field, required_or_malformed(text), e.to_string()))
}

/// The app to look into, of those that the caller reaches.
pub(crate) fn app_of(caller: &Caller, text: &str) -> Result<AppId, Error> {
    let app = app_from_wire("app_id", text)?;
    if caller.reaches(&app) {
        return Ok(app);
    }
    Err(Error::new(ErrorCode::PermissionDenied, "this key doesn't reach the app"))
}

pub(crate) fn tenant_from_wire(tenant: Option<v1::Tenant>, now_ms: i64) -> Result<Tenant, Error> {
    let tenant = tenant.ok_or_else(|| Error::invalid("tenant", "REQUIRED", "must be the tenant to add"))?;
    let (id, display_name) = both(
        tenant_id("tenant.tenant_id", &tenant.tenant_id),
        check::display_name("tenant.display_name", tenant.display_name, &tenant.tenant_id),
    )?;
    Ok(Tenant { id, display_name, created_at_ms: now_ms })
}

pub(crate) fn tenant_to_wire(tenant: Tenant) -> v1::Tenant {
    v1::Tenant {
        tenant_id: tenant.id.into(),
        display_name: tenant.display_name,
        created_at: Some(time_to_wire(tenant.created_at_ms)),
    }
}

pub(crate) fn app_to_add(app: Option<v1::App>, tenant: TenantId, now_ms: i64) -> Result<App, Error> {
    let app = app.ok_or_else(|| Error::invalid("app", "REQUIRED", "must be the app to add"))?;
    let ((id, display_name), time_zone) = both(
        both(
            app_from_wire("app.app_id", &app.app_id),
            check::display_name("app.display_name", app.display_name, &app.app_id),
        ),
        check::zone_if_any("app.time_zone", &app.time_zone),
    )?;
    let time_zone = time_zone.unwrap_or_default();
    Ok(App { tenant, id, display_name, time_zone, created_at_ms: now_ms })
}

pub(crate) fn app_to_wire(app: App) -> v1::App {
    v1::App {
        app_id: app.id.into(),
        display_name: app.display_name,
        time_zone: app.time_zone,
        created_at: Some(time_to_wire(app.created_at_ms)),
    }
}

pub(crate) fn key_to_make(request: v1::CreateKeyRequest, now_ms: i64) -> Result<WantedKey, Error> {
    let (
        ((display_name, permissions), (apps, (expires_at_ms, priority))),
        ((environment, (filters, (kind, public_key))), (networks, origins)),
    ) = both(
        both(
            both(check::display_name("display_name", request.display_name, ""), permissions(&request.permissions)),
            both(
                apps(&request.app_ids),
                both(expiry(request.expires_at.as_ref(), now_ms), priority_from_wire("priority", request.priority)),
            ),
        ),
        both(
            both(
                environment(request.environment),
                both(filters(request.filters), kind(request.kind, &request.public_key)),
            ),
            both(
                places("allowed_cidrs", &request.allowed_cidrs, network),
                places("allowed_origins", &request.allowed_origins, check::origin),
            ),
        ),
    )?;
    if permissions.contains(Permission::Operator) && apps != AppSet::All {
        let description = "must be empty for an operator's key: apps belong to one tenant, operators manage all";
        return Err(Error::invalid("app_ids", "NOT_ALLOWED", description));
    }
    let reads_alone = !filters.is_empty() || kind != KeyKind::Bearer;
    if reads_alone && permissions.iter().any(|p| !matches!(p, Permission::Query | Permission::Export)) {
        let description = "must be PERMISSION_QUERY and PERMISSION_EXPORT alone beside `filters`, which bind what is read, and of a key that signs tokens";
        return Err(Error::invalid("permissions", "NOT_ALLOWED", description));
    }
    let places = Places { networks, origins };
    Ok(WantedKey {
        display_name,
        permissions,
        apps,
        expires_at_ms,
        priority,
        environment,
        places,
        filters,
        kind,
        public_key,
    })
}

/// For how long a rotated key is good beside the new one.
pub(crate) fn overlap(given: Option<&WireDuration>) -> Result<Duration, Error> {
    let overlap = match given {
        None => OVERLAP,
        Some(WireDuration { seconds: 0, nanos: 0 }) => Duration::ZERO,
        Some(given) => duration_from_wire("overlap", given)?,
    };
    if overlap > MAX_OVERLAP {
        return Err(Error::invalid("overlap", "TOO_LONG", "must be at most 30 days, which are 2592000 seconds"));
    }
    Ok(overlap)
}

pub(crate) fn key_to_wire(key: Key) -> v1::Key {
    let app_ids = match key.scope.apps {
        AppSet::All => Vec::new(),
        AppSet::Only(apps) => apps.into_iter().map(String::from).collect(),
    };
    v1::Key {
        key_id: key.id,
        display_name: key.display_name,
        permissions: key.scope.permissions.iter().map(|p| p as i32).collect(),
        app_ids,
        created_at: Some(time_to_wire(key.created_at_ms)),
        expires_at: key.expires_at_ms.map(time_to_wire),
        revoked_at: key.revoked_at_ms.map(time_to_wire),
        priority: priority_to_wire(key.scope.priority).into(),
        environment: environment_to_wire(key.environment).into(),
        allowed_cidrs: key.places.networks.into_iter().map(String::from).collect(),
        allowed_origins: key.places.origins,
        rotated_from: key.rotated_from.unwrap_or_default(),
        last_used_at: key.last_used_at_ms.map(time_to_wire),
        filters: key.scope.filters.into_iter().map(filter_to_wire).collect(),
        kind: kind_to_wire(key.kind).into(),
    }
}

fn permissions(numbers: &[i32]) -> Result<Permissions, Error> {
    if numbers.is_empty() {
        return Err(Error::invalid("permissions", "REQUIRED", "must have at least one permission"));
    }
    let permissions: Permissions =
        each("permissions", numbers, |field, number| permission_from_wire(field, *number))?.into_iter().collect();
    for (permission, beside, description) in [
        (Permission::Backfill, Permission::Ingest, "PERMISSION_BACKFILL must stand beside PERMISSION_INGEST"),
        (Permission::Export, Permission::Query, "PERMISSION_EXPORT must stand beside PERMISSION_QUERY"),
    ] {
        if permissions.contains(permission) && !permissions.contains(beside) {
            return Err(Error::invalid("permissions", "NOT_ALLOWED", description));
        }
    }
    Ok(permissions)
}

fn environment(number: i32) -> Result<Environment, Error> {
    match v1::KeyEnvironment::try_from(number) {
        Ok(v1::KeyEnvironment::Unspecified | v1::KeyEnvironment::Live) => Ok(Environment::Live),
        Ok(v1::KeyEnvironment::Test) => Ok(Environment::Test),
        Err(_) => {
            let description = "must be KEY_ENVIRONMENT_LIVE or KEY_ENVIRONMENT_TEST";
            Err(Error::invalid("environment", "MALFORMED", description))
        }
    }
}

const fn environment_to_wire(environment: Environment) -> v1::KeyEnvironment {
    match environment {
        Environment::Live => v1::KeyEnvironment::Live,
        Environment::Test => v1::KeyEnvironment::Test,
    }
}

/// How a key is shown, and the public key of one that has it.
fn kind(number: i32, public_key: &[u8]) -> Result<(KeyKind, [u8; 32]), Error> {
    let kind = match v1::KeyKind::try_from(number) {
        Ok(v1::KeyKind::Unspecified | v1::KeyKind::Bearer) => KeyKind::Bearer,
        Ok(v1::KeyKind::Eddsa) => KeyKind::EdDsa,
        Ok(v1::KeyKind::Hs256) => KeyKind::Hs256,
        Err(_) => {
            let description = "must be KEY_KIND_BEARER, KEY_KIND_EDDSA or KEY_KIND_HS256";
            return Err(Error::invalid("kind", "MALFORMED", description));
        }
    };
    match (kind, public_key.try_into()) {
        (KeyKind::EdDsa, Ok(public_key)) => Ok((kind, public_key)),
        (KeyKind::EdDsa, Err(_)) => {
            let rule = if public_key.is_empty() { "REQUIRED" } else { "MALFORMED" };
            Err(Error::invalid("public_key", rule, "must be the 32 bytes of an Ed25519 public key"))
        }
        (_, _) if public_key.is_empty() => Ok((kind, [0; 32])),
        _ => Err(Error::invalid("public_key", "NOT_ALLOWED", "must be empty but for KEY_KIND_EDDSA")),
    }
}

const fn kind_to_wire(kind: KeyKind) -> v1::KeyKind {
    match kind {
        KeyKind::Bearer => v1::KeyKind::Bearer,
        KeyKind::EdDsa => v1::KeyKind::Eddsa,
        KeyKind::Hs256 => v1::KeyKind::Hs256,
    }
}

/// What a key is limited to, each once.
pub(crate) fn places<T: Ord>(
    field: &str,
    given: &[String],
    convert: impl Fn(&str, &str) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    if given.len() > MAX_PLACES {
        let description = format!("must have at most {MAX_PLACES}, not {}", given.len());
        return Err(Error::invalid(field, "TOO_MANY", description));
    }
    let mut places = each(field, given, |field, text| convert(field, text))?;
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

/// What of the events may be read.
fn filters(given: Vec<v1::ReadFilter>) -> Result<Vec<ReadFilter>, Error> {
    if given.len() > ReadFilter::MOST {
        let description = format!("must have at most {}, not {}", ReadFilter::MOST, given.len());
        return Err(Error::invalid("filters", "TOO_MANY", description));
    }
    for (i, v1::ReadFilter { property, values }) in given.iter().enumerate() {
        let fault = |field: &str, rule, description: &str| {
            Err(Error::invalid(format!("filters[{i}].{field}"), rule, description))
        };
        match property.as_str() {
            "" => return fault("property", "REQUIRED", "must be a field that holds text, or a property"),
            "timestamp" | "received_at" => {
                return fault(
                    "property",
                    "NOT_ALLOWED",
                    "must be a field that holds text, or a property: this is a time",
                );
            }
            _ => {}
        }
        if !(1..=ReadFilter::MOST_VALUES).contains(&values.len()) {
            let description = format!("must have 1 to {}, not {}", ReadFilter::MOST_VALUES, values.len());
            return fault("values", if values.is_empty() { "REQUIRED" } else { "TOO_MANY" }, &description);
        }
    }
    let bytes = given.iter().flat_map(|filter| filter.values.iter().chain([&filter.property])).map(String::len);
    if bytes.sum::<usize>() > ReadFilter::MOST_BYTES {
        let description = format!("must have at most {} bytes in all names and values", ReadFilter::MOST_BYTES);
        return Err(Error::invalid("filters", "TOO_LONG", description));
    }
    Ok(given.into_iter().map(|v1::ReadFilter { property, values }| ReadFilter { property, values }).collect())
}

fn filter_to_wire(ReadFilter { property, values }: ReadFilter) -> v1::ReadFilter {
    v1::ReadFilter { property, values }
}

fn network(field: &str, text: &str) -> Result<Network, Error> {
    Network::parse(text).map_err(|error| Error::invalid(field, required_or_malformed(text), error.to_string()))
}

fn apps(ids: &[String]) -> Result<AppSet, Error> {
    if ids.is_empty() {
        return Ok(AppSet::All);
    }
    let mut apps: Vec<AppId> = each("app_ids", ids, |field, id| app_from_wire(field, id))?;
    apps.sort_unstable();
    apps.dedup();
    Ok(AppSet::Only(apps))
}

fn expiry(at: Option<&prost_types::Timestamp>, now_ms: i64) -> Result<Option<i64>, Error> {
    let Some(at) = at else { return Ok(None) };
    let at_ms = time_from_wire("expires_at", at)?;
    if at_ms <= now_ms {
        return Err(Error::invalid("expires_at", "IN_THE_PAST", "must be in the future"));
    }
    Ok(Some(at_ms))
}

/// All members of a repeated field, or the faults of each.
fn each<'a, T, U>(
    field: &str,
    given: &'a [T],
    convert: impl Fn(&str, &'a T) -> Result<U, Error>,
) -> Result<Vec<U>, Error> {
    let mut all = Vec::with_capacity(given.len());
    let mut faults: Option<Error> = None;
    for (i, one) in given.iter().enumerate() {
        match convert(&format!("{field}[{i}]"), one) {
            Ok(converted) => all.push(converted),
            Err(fault) => {
                faults = Some(match faults {
                    Some(first) => first.and(fault),
                    None => fault,
                });
            }
        }
    }
    faults.map_or(Ok(all), Err)
}

fn required_or_malformed(text: &str) -> &'static str {
    if text.is_empty() { "REQUIRED" } else { "MALFORMED" }
}
