//! `penstock metric`: an app's metrics, from a terminal.

use api::v1;
use serde_json::{Value, json};

use super::{
    ClientError, Link, Show, Target,
    show::{Column, text, word},
    sql,
};
use crate::cli::{Definition, EvaluationArguments, MetricCommand};

const COLUMNS: [Column; 5] = [
    ("metric", |m| text(&m["definition"]["name"])),
    ("version", |m| text(&m["version"])),
    ("formula", |m| text(&m["definition"]["formula"])),
    ("unit", |m| text(&m["definition"]["unit"])),
    ("filters", |m| {
        let one = |f: &Value| {
            let values: Vec<_> = f["values"].as_array().into_iter().flatten().map(|v| text(&untagged(v))).collect();
            format!("{} {} {}", text(&f["field"]), word(&f["op"], "FILTER_OP_"), values.join(","))
        };
        let filters = m["definition"]["filters"].as_array().into_iter().flatten();
        filters.map(one).collect::<Vec<_>>().join(" and ")
    }),
];

pub(super) async fn metric(
    target: &Target,
    mut app: String,
    command: MetricCommand,
    show: &mut Show,
) -> Result<(), ClientError> {
    target.app(&mut app);
    let mut link = Link::open(target).await?;
    match command {
        MetricCommand::List => {
            show.objects(&link.list("MetricsService.ListMetrics", json!({"app_id": app}), "metrics").await?, &COLUMNS)
        }
        MetricCommand::Show { name } => {
            let request = json!({"app_id": app, "name": name});
            let versions = link.list("MetricsService.ListMetricVersions", request, "metrics").await?;
            show.objects(&versions, &COLUMNS)
        }
        MetricCommand::Define { name, display_name, description, definition, materialize } => {
            let definition = json!({"name": name, "display_name": display_name, "description": description,
                "formula": definition.formula, "filters": filters(&definition), "unit": definition.unit,
                "materialize": materialize});
            let known = link.call("MetricsService.GetMetric", json!({"app_id": app, "name": name})).await;
            let mut request = json!({"app_id": app, "definition": definition});
            let method = match known {
                Ok(known) => {
                    request["base_version"] = known["metric"]["version"].clone();
                    "MetricsService.UpdateMetric"
                }
                Err(error) if error.is_unknown() => "MetricsService.CreateMetric",
                Err(error) => return Err(error),
            };
            let kept = link.call(method, request).await;
            let kept = kept.map_err(|error| sql::underlined(&text(&definition["formula"]), error))?;
            let metric = &kept["metric"];
            show.object(metric, &format!("{name} version {}", metric["version"]))
        }
        MetricCommand::Try { definition, evaluation } => {
            let formula = definition.formula.clone();
            let definition =
                json!({"name": "value", "formula": formula, "filters": filters(&definition), "unit": definition.unit});
            let request = json!({"app_id": app, "definition": definition, "evaluation": evaluated(&evaluation),
                "options": {"time_zone": evaluation.time_zone}});
            let answer = link.answer("MetricsService.PreviewMetric", request).await;
            let answer = answer.map_err(|error| sql::underlined(&formula, error))?;
            let answer: v1::PreviewMetricResponse = answer.transcode_to().unwrap_or_default();
            sql::whole(answer.result.ok_or(ClientError::NotWhole)?, show)
        }
        MetricCommand::Evaluate { name, evaluation } => {
            let request = json!({"app_id": app, "name": name, "evaluation": evaluated(&evaluation),
                "options": {"time_zone": evaluation.time_zone}});
            let answer = link.answer("MetricsService.Evaluate", request).await?;
            let answer: v1::EvaluateResponse = answer.transcode_to().unwrap_or_default();
            sql::whole(answer.result.ok_or(ClientError::NotWhole)?, show)
        }
        MetricCommand::Delete { name } => {
            link.call("MetricsService.DeleteMetric", json!({"app_id": app, "name": name})).await?;
            show.object(&json!({"name": name, "deleted": true}), &format!("{name} deleted"))
        }
    }
}

fn evaluated(evaluation: &EvaluationArguments) -> Value {
    let dimensions: Vec<_> = evaluation.by.iter().map(|by| json!({"expression": by})).collect();
    let mut request = json!({"dimensions": dimensions});
    if let Some(seconds) = evaluation.last {
        request["range"] = json!({"last": format!("{seconds}s")});
    }
    if let Some(grain) = &evaluation.grain {
        request["grain"] = json!(format!("GRAIN_{}", grain.to_uppercase()));
    }
    request
}

/// `status=completed`, `amount=5`: several values are alternatives.
fn filters(definition: &Definition) -> Vec<Value> {
    let one = |(field, values): &(String, String)| {
        let values: Vec<_> = values.split(',').map(tagged).collect();
        let op = if values.len() == 1 { "FILTER_OP_EQ" } else { "FILTER_OP_IN" };
        json!({"field": field, "op": op, "values": values})
    };
    definition.filters.iter().map(one).collect()
}

/// A number or a bool is one; in quotes it is text.
fn tagged(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) => json!({"number": number}),
        Ok(Value::Bool(is)) => json!({"bool": is}),
        Ok(Value::String(text)) => json!({"string": text}),
        _ => json!({"string": text}),
    }
}

fn untagged(value: &Value) -> Value {
    value.as_object().and_then(|tagged| tagged.values().next().cloned()).unwrap_or_default()
}
