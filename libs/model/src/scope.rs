use serde::{Deserialize, Serialize};

use crate::{AppId, Branding, TenantId};

/// What a caller may reach. It comes from the key alone, never from a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The tenant; every row read or written is this tenant's.
    pub tenant: TenantId,
    /// The apps of the tenant within reach.
    pub apps: AppSet,
    /// What may be done.
    pub permissions: Permissions,
    /// The highest priority that calls may run at.
    pub priority: Priority,
    /// Only events that pass all of these are there to be read; all events if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<ReadFilter>,
    /// If it is there, metrics may be evaluated as it says, and nothing else may be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluates: Option<Evaluates>,
    /// The dashboards that are shown; all if it isn't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboards: Option<Vec<String>>,
    /// The IANA time zone in which days begin where a question names none; the app's if it isn't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// How the product shows itself, where it isn't as the app has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branding: Option<Box<Branding>>,
}

/// Which metrics may be evaluated, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluates {
    /// These; all if it isn't there.
    pub metrics: Option<Vec<String>>,
    /// By these fields and properties, as dimensions and in filters; by all if it isn't there.
    pub dimensions: Option<Vec<String>>,
}

/// The events in which a field or property has one of some values. An event without it is none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFilter {
    /// A field that holds text, as `country`, or a property.
    pub property: String,
    /// Its values, as text: a number or bool of an event is compared as it is written.
    pub values: Vec<String>,
}

impl ReadFilter {
    /// How many a scope has at most.
    pub const MOST: usize = 8;
    /// How many values each has at most, and at least one.
    pub const MOST_VALUES: usize = 100;
    /// The bytes of all names and values of a scope: they travel with every call.
    pub const MOST_BYTES: usize = 4_096;
}

impl Scope {
    /// Over all events and questions.
    pub const fn new(tenant: TenantId, apps: AppSet, permissions: Permissions, priority: Priority) -> Self {
        Self {
            tenant,
            apps,
            permissions,
            priority,
            filters: Vec::new(),
            evaluates: None,
            dashboards: None,
            time_zone: None,
            branding: None,
        }
    }

    /// Whether the app is within reach.
    pub fn reaches(&self, app: &AppId) -> bool {
        self.apps.contains(app)
    }

    /// Whether the dashboard of that id is shown.
    pub fn shows(&self, dashboard: &str) -> bool {
        self.dashboards.as_ref().is_none_or(|ids| ids.iter().any(|id| id == dashboard))
    }

    /// Whether the permission is given.
    pub fn allows(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }
}

/// Which apps of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppSet {
    /// Every app of the tenant, those of the future too.
    All,
    /// These apps only.
    Only(Vec<AppId>),
}

impl AppSet {
    /// Whether the app is one of them.
    pub fn contains(&self, app: &AppId) -> bool {
        match self {
            Self::All => true,
            Self::Only(apps) => apps.contains(app),
        }
    }

    /// The app, where it is exactly one.
    pub fn single(&self) -> Option<&AppId> {
        match self {
            Self::Only(apps) if apps.len() == 1 => apps.first(),
            _ => None,
        }
    }
}

/// One thing that a key may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Permission {
    /// Send events and users.
    Ingest = 1,
    /// Ask queries and evaluate metrics.
    Query = 2,
    /// Define metrics and keep dashboards.
    Metrics = 3,
    /// Manage the tenant's apps and keys.
    Admin = 4,
    /// Send events of any age.
    Backfill = 5,
    /// Manage tenants: the operator's.
    Operator = 6,
    /// Take answers of any length away as files.
    Export = 7,
}

impl Permission {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Ingest, Self::Query, Self::Metrics, Self::Admin, Self::Backfill, Self::Operator, Self::Export];

    /// The word users read and write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Query => "query",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
            Self::Backfill => "backfill",
            Self::Operator => "operator",
            Self::Export => "export",
        }
    }

    /// The permission of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// A set of permissions, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permissions(u32);

impl Permissions {
    /// Whether the permission is in the set.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// Whether nothing is allowed.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in order.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |p| self.contains(*p))
    }

    /// Whether every permission of `other` is in this set.
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, p| bits | 1 << p as u8))
    }
}

/// In which queue a call waits. Ordered: lower runs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// A person waits.
    #[default]
    Interactive,
    /// A report by schedule.
    Scheduled,
    /// Off-peak work.
    Background,
}

impl Priority {
    /// Every one, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Scheduled, Self::Background];

    /// Its name, as people and tables have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Scheduled => "scheduled",
            Self::Background => "background",
        }
    }

    /// The priority of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}
