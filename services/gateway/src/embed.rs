//! Tokens that a tenant signs for its own customers: JSON Web Tokens (RFC 7515, 7519), so that a customer's page asks by itself and sees only
//! what the token leaves of what the signing key may.
//!
//! The key says by which algorithm its tokens are signed, the token only by which key; so `none`, or a public key that is taken for a secret, gets
//! nobody in (RFC 8725). What a token claims can narrow its key's scope, and there is no way to write down anything wider. A claim that isn't
//! known is refused: it could be a filter that is misspelt.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use model::{AppId, AppSet, Branding, Error, ErrorCode, Evaluates, KeyKind, Permission, Priority, ReadFilter, Scope};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use sha2::Sha256;
use storage::{Customer, Key};

/// The longest token, in bytes: what it says travels with every call between services, in a header.
const MOST_BYTES: usize = 4 << 10;
/// How far ahead a token's end may lie: what can't be revoked by itself must end by itself.
const LONGEST_MS: i64 = 24 * 3_600_000;
/// How much a signer's clock may be ahead.
const SKEW_MS: i64 = 60_000;
/// Of a customer's id.
const MOST_ID_BYTES: usize = 128;
/// How many metrics, how many dimensions, and how many dashboards a token names.
const MOST_NAMES: usize = 100;
/// How many origins a token names.
const MOST_ORIGINS: usize = 32;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    typ: Option<String>,
    /// What must be understood: nothing that is known here.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
    filters: BTreeMap<String, Values>,
    apps: Option<Vec<String>>,
    metrics: Option<Vec<String>>,
    dimensions: Option<Vec<String>>,
    #[serde(default)]
    dashboards: Vec<String>,
    time_zone: Option<String>,
    branding: Option<serde_json::Value>,
    priority: Option<Priority>,
    calls_per_second: Option<u64>,
    origins: Option<Vec<String>>,
    sub: Option<serde_json::Value>,
    // Known, and the signer's own business.
    #[serde(rename = "iat")]
    _iat: Option<IgnoredAny>,
    #[serde(rename = "iss")]
    _iss: Option<IgnoredAny>,
    #[serde(rename = "aud")]
    _aud: Option<IgnoredAny>,
    #[serde(rename = "jti")]
    _jti: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(Scalar),
    Many(Vec<Scalar>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Integer(i64),
    Bool(bool),
}

/// A token taken apart, whose signature nobody has looked at.
pub(crate) struct Token<'t> {
    header: Header,
    /// What is signed.
    signed: &'t str,
    claims: &'t str,
    signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Takes a text apart that looks like a token; `None` if it looks like something else.
    pub(crate) fn of(text: &'t str) -> Option<Result<Self, Error>> {
        text.starts_with("eyJ")
            .then(|| Self::parse(text).ok_or_else(|| refused("is not a JSON Web Token with `alg` and `kid`")))
    }

    fn parse(text: &'t str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.').filter(|_| text.len() <= MOST_BYTES)?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = part(header)?;
        let is_id = header.kid.len() <= 32 && header.kid.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_jwt = header.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
        let signature = BASE64.decode(signature).ok()?;
        (is_id && is_jwt && header.crit.is_none()).then_some(Self { header, signed, claims, signature })
    }

    /// The id of the key that it says it is signed with.
    pub(crate) fn key_id(&self) -> &str {
        &self.header.kid
    }

    /// The key as far as the token leaves it, if it is that key's.
    pub(crate) fn narrow(&self, key: &Key, now_ms: i64) -> Result<Key, Error> {
        if !self.is_signed_by(key) {
            return Err(refused("is not signed by a key that signs tokens"));
        }
        let claims: Claims = claims(self.claims)?;
        let end_ms = (claims.exp * 1_000.0) as i64;
        if end_ms <= now_ms {
            return Err(refused("has expired"));
        }
        if end_ms > now_ms + LONGEST_MS + SKEW_MS {
            return Err(refused("is good for too long: `exp` must be within 24 hours"));
        }
        if claims.nbf.is_some_and(|nbf| (nbf * 1_000.0) as i64 > now_ms + SKEW_MS) {
            return Err(refused("is not good yet"));
        }
        let expires_at_ms = Some(key.expires_at_ms.map_or(end_ms, |end| end.min(end_ms)));
        let customer = Customer { calls: calls(&claims)?, origins: origins(&claims)? };
        Ok(Key { scope: narrowed(&key.scope, claims)?, customer: Some(customer), expires_at_ms, ..key.clone() })
    }

    fn is_signed_by(&self, key: &Key) -> bool {
        let signed = self.signed.as_bytes();
        match (key.kind, self.header.alg.as_str()) {
            (KeyKind::EdDsa, "EdDSA") => {
                UnparsedPublicKey::new(&ED25519, key.hash).verify(signed, &self.signature).is_ok()
            }
            (KeyKind::Hs256, "HS256") => {
                let mut mac = Hmac::<Sha256>::new_from_slice(&key.hash).expect("HMAC takes a key of any length");
                mac.update(signed);
                mac.verify_slice(&self.signature).is_ok() // in constant time
            }
            _ => false,
        }
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&BASE64.decode(text).ok()?).ok()
}

/// Whoever signed it may know what is wrong with it.
fn claims(text: &str) -> Result<Claims, Error> {
    let bytes = BASE64.decode(text).map_err(|_| refused("has claims that are not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        refused(&format!(
            "has claims that can't be read: {error}; they are `exp`, `filters` (an object of properties and their values, empty for no filter), and \
             perhaps `nbf`, `apps`, `metrics`, `dimensions`, `dashboards`, `time_zone`, `branding`, `priority`, `origins` and, beside `sub`, `calls_per_second`"
        ))
    })
}

/// Whose calls are counted, if the token bounds them.
fn calls(claims: &Claims) -> Result<Option<(String, u64)>, Error> {
    let Some(calls_per_second) = claims.calls_per_second else { return Ok(None) };
    let id = claims.sub.as_ref().and_then(|sub| sub.as_str()).filter(|id| (1..=MOST_ID_BYTES).contains(&id.len()));
    let id =
        id.ok_or_else(|| refused("bounds the calls of nobody: `calls_per_second` needs a `sub` of 1 to 128 bytes"))?;
    if calls_per_second == 0 {
        return Err(refused("lets no call in: `calls_per_second` must be from 1 on"));
    }
    Ok(Some((id.to_owned(), calls_per_second)))
}

/// Whose pages may use it. One that no browser sends lets nobody in.
fn origins(claims: &Claims) -> Result<Vec<String>, Error> {
    let Some(origins) = &claims.origins else { return Ok(Vec::new()) };
    match origins.len() {
        1..=MOST_ORIGINS => Ok(origins.clone()),
        _ => Err(refused("has no origin in `origins`, or more than 32: leave it out for all that its key allows")),
    }
}

/// How its customer is shown the product. A word that isn't known is refused, as a claim is.
fn branding(claim: serde_json::Value) -> Result<Branding, Error> {
    let read: Branding = serde_json::from_value(claim.clone())
        .map_err(|error| refused(&format!("has a `branding` that can't be read: {error}")))?;
    if serde_json::to_value(&read).ok().as_ref() != Some(&claim) {
        return Err(refused("has a `branding` with a word that isn't known: it has those of SetBranding's"));
    }
    let faults = read.check().err().map(|error| error.violations).unwrap_or_default();
    match faults.first() {
        Some(fault) => Err(refused(&format!("has a `{}` that {}", fault.field, fault.description))),
        None => Ok(read),
    }
}

fn narrowed(of: &Scope, claims: Claims) -> Result<Scope, Error> {
    let mut scope = of.clone();
    scope.permissions = of.permissions.iter().filter(|p| matches!(p, Permission::Query | Permission::Export)).collect();
    if let Some(apps) = claims.apps {
        let reached = |name: &String| AppId::new(name).ok().filter(|app| of.reaches(app));
        let apps: Option<Vec<_>> = apps.iter().map(reached).collect();
        scope.apps = AppSet::Only(apps.ok_or_else(|| refused("names an app that its key doesn't reach"))?);
    }
    for (property, values) in claims.filters {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Many(values) => values,
        };
        let values: Vec<_> = values.into_iter().map(Scalar::text).collect();
        if property.is_empty() || !(1..=ReadFilter::MOST_VALUES).contains(&values.len()) {
            return Err(refused("has a filter without a property, or without values, or with more than 100"));
        }
        scope.filters.push(ReadFilter { property, values });
    }
    let bytes = scope.filters.iter().flat_map(|filter| filter.values.iter().chain([&filter.property])).map(String::len);
    if scope.filters.len() > 2 * ReadFilter::MOST || bytes.sum::<usize>() > 2 * ReadFilter::MOST_BYTES {
        return Err(refused("has more filters than a call can carry"));
    }
    let named = [&claims.metrics, &claims.dimensions].into_iter().flatten().chain([&claims.dashboards]);
    if named.into_iter().any(|names| names.len() > MOST_NAMES) {
        return Err(refused("names more than 100 metrics, dimensions or dashboards"));
    }
    // A dashboard may tell of whom it is made for: nobody's customer sees one that isn't meant for them.
    scope.dashboards = Some(claims.dashboards);
    scope.priority = of.priority.max(claims.priority.unwrap_or_default());
    // Whether there is such a zone, the question finds out.
    scope.time_zone = claims.time_zone;
    scope.branding = claims.branding.map(branding).transpose()?.map(Box::new);
    if claims.metrics.is_some() || claims.dimensions.is_some() {
        scope.evaluates = Some(Evaluates { metrics: claims.metrics, dimensions: claims.dimensions });
    }
    Ok(scope)
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => number.to_string(),
            Self::Bool(bool) => bool.to_string(),
        }
    }
}

fn refused(what: &str) -> Error {
    Error::new(ErrorCode::Unauthenticated, format!("the embed token {what}"))
}
