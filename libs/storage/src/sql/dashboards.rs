//! Dashboards.

use super::damaged;
use crate::{Dashboard, MetaError};

pub(crate) const PUT: &str = "INSERT INTO dashboards \
     (tenant, app, id, title, description, tiles, content, etag, updated_at_ms, updated_by) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant, app, id) DO UPDATE SET \
     title = excluded.title, description = excluded.description, tiles = excluded.tiles, content = excluded.content, \
     etag = excluded.etag, updated_at_ms = excluded.updated_at_ms, updated_by = excluded.updated_by";
pub(crate) const ONE: &str = "SELECT id, title, description, tiles, content, etag, updated_at_ms, updated_by \
     FROM dashboards WHERE tenant = $1 AND app = $2 AND id = $3";
pub(crate) const LIST: &str = "SELECT id, title, description, tiles, '' AS content, etag, updated_at_ms, updated_by \
     FROM dashboards WHERE tenant = $1 AND app = $2 ORDER BY title, id";
pub(crate) const COUNT: &str = "SELECT COUNT(*) FROM dashboards WHERE tenant = $1 AND app = $2";
pub(crate) const DELETE: &str = "DELETE FROM dashboards WHERE tenant = $1 AND app = $2 AND id = $3";

row! {
    pub(crate) struct DashboardRow {
        id: String,
        title: String,
        description: String,
        tiles: i64,
        content: String,
        etag: String,
        updated_at_ms: i64,
        updated_by: String,
    }
}

impl TryFrom<DashboardRow> for Dashboard {
    type Error = MetaError;
    fn try_from(row: DashboardRow) -> Result<Self, MetaError> {
        Ok(Self {
            tiles: u32::try_from(row.tiles).map_err(damaged)?,
            id: row.id,
            title: row.title,
            description: row.description,
            content: row.content,
            etag: row.etag,
            updated_at_ms: row.updated_at_ms,
            updated_by: row.updated_by,
        })
    }
}
