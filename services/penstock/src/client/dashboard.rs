//! `penstock dashboard`: an app's dashboards, from a terminal.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde_json::{Value, json};

use super::{
    ClientError, Link, Show, Target,
    show::{Column, text, word},
};
use crate::cli::DashboardCommand;

const COLUMNS: [Column; 5] = [
    ("dashboard", |d| text(&d["dashboard_id"])),
    ("title", |d| text(&d["title"])),
    ("tiles", |d| text(&d["tile_count"])),
    ("changed", |d| text(&d["updated_at"])),
    ("by", |d| text(&d["updated_by"])),
];

const TILES: [Column; 5] = [
    ("tile", |t| text(&t["id"])),
    ("title", |t| text(&t["title"])),
    ("view", |t| word(&t["view"], "TILE_VIEW_")),
    ("width", |t| text(&t["width"])),
    ("asks", |t| match (&t["query"], &t["sql"]) {
        (Value::Object(query), _) => {
            let all = |items: &Value, field: &str| {
                items.as_array().into_iter().flatten().map(|item| text(&item[field])).collect::<Vec<_>>().join(", ")
            };
            let by = all(&query["dimensions"], "expression");
            let measures = all(&query["measures"], "formula");
            if by.is_empty() { measures } else { format!("{measures} by {by}") }
        }
        (_, Value::Object(sql)) => text(&sql["sql"]),
        _ => text(&t["metric"]["name"]),
    }),
];

pub(super) async fn dashboard(
    target: &Target,
    mut app: String,
    command: DashboardCommand,
    show: &mut Show,
) -> Result<(), ClientError> {
    target.app(&mut app);
    let mut link = Link::open(target).await?;
    match command {
        DashboardCommand::List => {
            let request = json!({"app_id": app});
            show.objects(&link.list("DashboardService.ListDashboards", request, "dashboards").await?, &COLUMNS)
        }
        DashboardCommand::Show { id } => {
            let request = json!({"app_id": app, "dashboard_id": id});
            let dashboard = link.call("DashboardService.GetDashboard", request).await?["dashboard"].take();
            if show.is_json() {
                return show.object(&dashboard, "");
            }
            show.objects(dashboard["tiles"].as_array().map_or(&[][..], Vec::as_slice), &TILES)
        }
        DashboardCommand::Put { file, id } => {
            let mut dashboard = of_file(&file)?;
            if let Some(id) = id {
                dashboard["dashboard_id"] = id.into();
            }
            let id = text(&dashboard["dashboard_id"]);
            let request = json!({"app_id": app, "dashboard_id": id});
            match link.call("DashboardService.GetDashboard", request).await {
                // Without an etag it takes the place of whatever is there.
                Ok(known) if text(&dashboard["etag"]).is_empty() => {
                    dashboard["etag"] = known["dashboard"]["etag"].clone();
                }
                Ok(_) => {}
                // It may come from another app or server.
                Err(error) if error.is_unknown() => dashboard["etag"] = "".into(),
                Err(error) => return Err(error),
            }
            let request = json!({"app_id": app, "dashboard": dashboard});
            let kept = link.call("DashboardService.PutDashboard", request).await?["dashboard"].take();
            let tiles = kept["tiles"].as_array().map_or(0, Vec::len);
            show.object(&kept, &format!("{id} kept with {tiles} {}", if tiles == 1 { "tile" } else { "tiles" }))
        }
        DashboardCommand::Delete { id } => {
            link.call("DashboardService.DeleteDashboard", json!({"app_id": app, "dashboard_id": id})).await?;
            show.object(&json!({"dashboard_id": id, "deleted": true}), &format!("{id} deleted"))
        }
    }
}

/// The dashboard of a file.
fn of_file(path: &Path) -> Result<Value, ClientError> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let read = read.map_err(|source| ClientError::NoFile { path: path.to_owned(), source })?;
    let mistaken = |why: &str| ClientError::Mistake(format!("{} is no dashboard: {why}", path.display()));
    let mut dashboard: Value = serde_json::from_str(&read).map_err(|error| mistaken(&error.to_string()))?;
    let fields = dashboard.as_object_mut().ok_or_else(|| mistaken("it must be a JSON object"))?;
    // What the console says of its files.
    fields.remove("penstock");
    if fields.remove("version") == Some(json!(1)) {
        return Err(mistaken(
            "it is of the older form, which only the console reads; import it there, and export it again",
        ));
    }
    Ok(dashboard)
}
