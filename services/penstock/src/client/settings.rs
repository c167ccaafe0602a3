//! What holds for the installation, tenants and apps, and where it comes from.

use serde_json::{Value, json};

use super::{
    ClientError, Link, Show,
    show::{Column, text, word},
};

const COLUMNS: [Column; 3] =
    [("setting", |row| text(&row["field"])), ("value", |row| text(&row["value"])), ("from", |row| text(&row["from"]))];

/// Shows them, or changes what is said of them and leaves the rest.
pub(super) async fn settings(
    link: &mut Link,
    place: Value,
    set: Vec<(String, String)>,
    show: &mut Show,
) -> Result<(), ClientError> {
    let mut answer = link.call("AdminService.GetSettings", place.clone()).await?;
    if !set.is_empty() {
        let mut settings = answer["settings"].take();
        for (field, value) in set {
            match field.split_once('.') {
                Some((outer, inner)) => settings[outer][inner] = wire(inner, &value),
                None => settings[&field] = wire(&field, &value),
            }
        }
        let mut request = place;
        request["settings"] = settings;
        // What somebody else sets just now isn't taken back.
        request["etag"] = answer["etag"].take();
        answer = link.call("AdminService.SetSettings", request).await?;
    }
    if show.is_json() {
        return show.object(&answer, "");
    }
    let rows: Vec<_> = answer["origins"].as_array().into_iter().flatten().map(|origin| row(origin, &answer)).collect();
    show.objects(&rows, &COLUMNS)
}

/// A value as the contract has it; none takes it back.
fn wire(field: &str, value: &str) -> Value {
    match field {
        _ if value.is_empty() => Value::Null,
        "allowed_origins" => value.split(',').collect(),
        "max_priority" | "default_priority" => json!(format!("PRIORITY_{}", value.to_uppercase())),
        _ => value.parse::<u64>().map_or_else(|_| json!(value), Value::from),
    }
}

fn row(origin: &Value, answer: &Value) -> Value {
    let field = text(&origin["field"]);
    let value = answer["effective"].pointer(&format!("/{}", field.replace('.', "/"))).unwrap_or(&Value::Null);
    let value = match field.as_str() {
        "max_priority" | "default_priority" => word(value, "PRIORITY_"),
        "retention_days" if *value == json!(0) => "for ever".to_owned(),
        _ => text(value),
    };
    json!({"field": field, "value": value, "from": word(&origin["level"], "SETTINGS_LEVEL_")})
}
