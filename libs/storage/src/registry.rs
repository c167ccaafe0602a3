use async_trait::async_trait;
use model::{AppId, AppSchema, NUMBER_SLOTS, Property, PropertyKind, Slot, TEXT_SLOTS, TenantId};

use crate::MetaError;

/// Why a property can't be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The app has as many properties as it may have. None of the call's properties was added.
    #[error("the app has {registered} properties and may have {limit}")]
    Full {
        /// How many it has.
        registered: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The metastore's own failure.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// Which property of an app lies where. Append-only: a registered property keeps its slot forever.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// The app's registry as it stands; empty for an app without events.
    async fn schema(&self, tenant: &TenantId, app: &AppId) -> Result<AppSchema, MetaError>;

    /// Registers those of the properties that are not yet, all or none of them, and returns the registry afterwards.
    ///
    /// Slots are given in the order of registration: number-like kinds take the next free of `model::NUMBER_SLOTS`, strings
    /// the next free of `model::TEXT_SLOTS`, later ones go to the maps. Concurrent callers, in any process, get the
    /// same slot for the same property.
    async fn register(
        &self,
        tenant: &TenantId,
        app: &AppId,
        properties: &[(&str, PropertyKind)],
        limit: usize,
    ) -> Result<AppSchema, RegistryError>;
}

/// The properties to add to the registry, each with its slot, in the order of the call. `Full` if they don't all fit.
pub(crate) fn assign(
    registered: &AppSchema,
    wanted: &[(&str, PropertyKind)],
    limit: usize,
) -> Result<Vec<Property>, RegistryError> {
    let used = |numbers: bool| {
        let kinds = registered.properties().map(|p| p.kind);
        u16::try_from(kinds.filter(|kind| is_number(*kind) == numbers).count()).unwrap_or(u16::MAX)
    };
    let (mut numbers, mut texts) = (used(true), used(false));
    let mut added: Vec<Property> = Vec::new();
    for &(name, kind) in wanted {
        let twice = added.iter().any(|p| p.name == name && p.kind == kind);
        if twice || registered.slot(name, kind).is_some() {
            continue;
        }
        if registered.len() + added.len() >= limit {
            return Err(RegistryError::Full { registered: registered.len(), limit });
        }
        let (next, slots) = if is_number(kind) { (&mut numbers, NUMBER_SLOTS) } else { (&mut texts, TEXT_SLOTS) };
        let slot = match (is_number(kind), *next < slots) {
            (true, true) => Slot::Number(*next),
            (true, false) => Slot::NumberMap,
            (false, true) => Slot::Text(*next),
            (false, false) => Slot::TextMap,
        };
        *next = next.saturating_add(1);
        added.push(Property { name: name.to_owned(), kind, slot });
    }
    Ok(added)
}

fn is_number(kind: PropertyKind) -> bool {
    kind != PropertyKind::String
}
