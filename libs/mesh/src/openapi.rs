//! The JSON API as an OpenAPI 3.1 document, from the same contracts and routes that [`crate::transcode`] serves, with their comments. A new
//! method needs no line here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor,
};
use serde_json::{Map, Value, json};

use crate::transcode::{Route, routes};

/// What stands before the names of our own messages.
const PACKAGE: &str = "penstock.v1.";

/// The document of these services. `descriptors`: an encoded `FileDescriptorSet` with its source. `others`: paths that are no method's, each
/// with its item; they may refer to every message by its name.
///
/// # Panics
/// As [`crate::transcode::Transcoder::new`].
pub fn document(descriptors: &[u8], services: &[&str], others: &[(&str, Value)]) -> Value {
    let pool = DescriptorPool::decode(descriptors).expect("the contracts were compiled into this program");
    let mut writer = Writer { comments: pool.files().flat_map(|file| comments(&file)).collect(), ..Writer::default() };
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in routes(&pool, services) {
        let operation = writer.operation(&route);
        paths.entry(route.path).or_default().insert(route.method.as_str().to_lowercase(), operation);
    }
    for (path, item) in others {
        paths.entry((*path).to_owned()).or_default().extend(item.as_object().cloned().unwrap_or_default());
    }
    let wanted: Vec<_> =
        pool.all_messages().filter(|message| others.iter().any(|(_, item)| refers_to(item, message))).collect();
    wanted.iter().for_each(|message| drop(writer.reference(message)));
    let mut schemas = writer.schemas();
    schemas.insert("Error".to_owned(), error());
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Analytics API", "version": "v1", "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Fields may be left out where nothing is said against it. Each path stands for a gRPC method of the same \
                contracts, on the same port."},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": services.iter().map(|name| writer.tag(&pool, name)).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key or an embed token."}},
            "schemas": schemas,
        },
    })
}

/// Texts by the full name of what they are written over.
type Comments = HashMap<String, String>;

#[derive(Default)]
struct Writer {
    comments: Comments,
    messages: BTreeMap<String, MessageDescriptor>,
    enums: BTreeMap<String, EnumDescriptor>,
}

impl Writer {
    fn comment(&self, full_name: &str) -> &str {
        self.comments.get(full_name).map_or("", String::as_str)
    }

    fn tag(&self, pool: &DescriptorPool, service: &str) -> Value {
        let name = pool.get_service_by_name(service).map_or(String::new(), |service| service.name().to_owned());
        json!({"name": name, "description": self.comment(service)})
    }

    fn operation(&mut self, route: &Route) -> Value {
        let grpc = &route.grpc;
        let in_path: BTreeSet<&str> = route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        let mut parameters: Vec<Value> =
            in_path.iter().map(|name| self.parameter(&grpc.input(), name, "path")).collect();
        let comment = self.comment(grpc.full_name()).to_owned();
        let mut operation = json!({
            "operationId": grpc.name(),
            "tags": [grpc.parent_service().name()],
            "summary": comment.split(". ").next().unwrap_or("").trim_end_matches('.'),
            "description": comment,
            "responses": {"200": self.answer(route), "default": {"description": "Why not.", "content": {"application/json":
                {"schema": {"$ref": "#/components/schemas/Error"}}}}},
        });
        if route.has_body {
            let schema = self.reference(&grpc.input());
            operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        } else {
            let fields: Vec<_> = grpc.input().fields().filter(is_parameter).collect();
            let more = fields.iter().filter(|field| !in_path.contains(field.name()));
            parameters.extend(more.map(|field| self.parameter(&grpc.input(), field.name(), "query")));
        }
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        operation
    }

    fn parameter(&mut self, of: &MessageDescriptor, path: &str, place: &str) -> Value {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let field = of.get_field_by_name(name);
        if let (Some(rest), Some(Kind::Message(inner))) = (rest, field.as_ref().map(FieldDescriptor::kind)) {
            let mut inner = self.parameter(&inner, rest, place);
            inner["name"] = path.into();
            return inner;
        }
        let (schema, comment) = field.map_or((json!({}), String::new()), |field| {
            (self.single(&field), self.comment(field.full_name()).to_owned())
        });
        json!({"name": path, "in": place, "required": place == "path", "description": comment, "schema": schema})
    }

    /// What a method answers: one message, a stream of them, or a file.
    fn answer(&mut self, Route { grpc, file, .. }: &Route) -> Value {
        let schema = self.reference(&grpc.output());
        let comment = self.comment(grpc.output().full_name()).to_owned();
        let content = match (file, grpc.is_server_streaming()) {
            (Some(file), _) => json!({
                "application/octet-stream": {"schema": {"description": self.comment(file.full_name())}},
                "application/json": {"schema": schema},
            }),
            // Each line, and each event's data, is one.
            (None, true) => {
                json!({"application/x-ndjson": {"schema": schema}, "text/event-stream": {"schema": schema}})
            }
            (None, false) => json!({"application/json": {"schema": schema}}),
        };
        json!({"description": comment, "content": content})
    }

    /// A reference to a message of ours, or what a well-known one is in JSON.
    fn reference(&mut self, message: &MessageDescriptor) -> Value {
        match message.full_name() {
            "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
            "google.protobuf.Duration" => {
                json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$", "examples": ["3600s"]})
            }
            "google.protobuf.Struct" => json!({"type": "object"}),
            "google.protobuf.ListValue" => json!({"type": "array"}),
            "google.protobuf.Value" => json!({}),
            "google.protobuf.Empty" => json!({"type": "object", "maxProperties": 0}),
            full_name => {
                let name = short(full_name);
                let reference = json!({"$ref": format!("#/components/schemas/{name}")});
                if self.messages.insert(name, message.clone()).is_none() {
                    // What it refers to is wanted as well.
                    message.fields().for_each(|field| drop(self.field(&field)));
                }
                reference
            }
        }
    }

    /// The schema of a field's one value, be it in a list.
    fn single(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Double | Kind::Float => json!({"type": "number"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "format": "int32", "minimum": 0}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({"type": "integer", "format": "int64"}),
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "integer", "format": "int64", "minimum": 0}),
            Kind::Enum(of) if of.full_name() == "google.protobuf.NullValue" => json!({"type": "null"}),
            Kind::Enum(of) => {
                let name = short(of.full_name());
                let reference = json!({"$ref": format!("#/components/schemas/{name}")});
                self.enums.insert(name, of);
                reference
            }
            Kind::Message(message) => self.reference(&message),
        }
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { return json!({"type": "object"}) };
            return json!({"type": "object", "additionalProperties": self.single(&entry.map_entry_value_field())});
        }
        let single = self.single(field);
        match field.cardinality() {
            Cardinality::Repeated => json!({"type": "array", "items": single}),
            _ => single,
        }
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            let (mut schema, comment) = (self.field(&field), self.comment(field.full_name()));
            if !comment.is_empty() {
                schema["description"] = comment.into();
            }
            properties.insert(field.name().to_owned(), schema);
        }
        let mut description = self.comment(message.full_name()).to_owned();
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let names: Vec<_> = oneof.fields().map(|field| field.name().to_owned()).collect();
            description += &format!(" At most one of: {}.", names.join(", "));
        }
        json!({"type": "object", "description": description.trim(), "properties": properties, "additionalProperties": false})
    }

    fn schemas(&mut self) -> Map<String, Value> {
        let messages = self.messages.clone();
        let mut schemas: Map<_, _> =
            messages.iter().map(|(name, message)| (name.clone(), self.message(message))).collect();
        for (name, of) in &self.enums {
            let values: Vec<_> = of.values().map(|value| value.name().to_owned()).collect();
            let of_value = |value: prost_reflect::EnumValueDescriptor| {
                format!("- {}: {}", value.name(), self.comment(value.full_name()))
            };
            let each: Vec<_> = of.values().map(of_value).collect();
            let description = format!("{}\n\n{}", self.comment(of.full_name()), each.join("\n"));
            schemas.insert(name.clone(), json!({"type": "string", "enum": values, "description": description}));
        }
        schemas
    }
}

/// Whether it can stand in a URL: see `transcode::set`.
fn is_parameter(field: &FieldDescriptor) -> bool {
    !field.is_list()
        && match field.kind() {
            Kind::String | Kind::Uint32 | Kind::Bool => true,
            Kind::Message(message) => message.full_name() == "google.protobuf.Timestamp",
            _ => false,
        }
}

fn refers_to(item: &Value, message: &MessageDescriptor) -> bool {
    item.to_string().contains(&format!("\"#/components/schemas/{}\"", short(message.full_name())))
}

/// A message's name within the document.
fn short(full_name: &str) -> String {
    full_name.strip_prefix(PACKAGE).unwrap_or(full_name).replace('.', "")
}

/// The comments of a file, each by the full name of what follows it.
fn comments(file: &FileDescriptor) -> Comments {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.into_iter().flat_map(|info| &info.location);
    let by_path: HashMap<&[i32], &str> =
        locations.map(|location| (location.path.as_slice(), location.leading_comments())).collect();
    let mut comments = Comments::new();
    let mut note = |full_name: &str, path: &[i32]| {
        if let Some(text) = by_path.get(path).filter(|text| !text.trim().is_empty()) {
            let words: Vec<_> = text.split_whitespace().collect();
            comments.insert(full_name.to_owned(), words.join(" "));
        }
    };
    for service in file.services() {
        note(service.full_name(), service.path());
        service.methods().for_each(|method: MethodDescriptor| note(method.full_name(), method.path()));
    }
    let mut enums: Vec<_> = file.enums().collect();
    let mut messages: Vec<_> = file.messages().collect();
    while let Some(message) = messages.pop() {
        note(message.full_name(), message.path());
        message.fields().for_each(|field| note(field.full_name(), field.path()));
        messages.extend(message.child_messages());
        enums.extend(message.child_enums());
    }
    for of in enums {
        note(of.full_name(), of.path());
        of.values().for_each(|value| note(value.full_name(), value.path()));
    }
    comments
}

/// As [`crate::protocol`] writes it.
fn error() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {"type": "string", "description": "The gRPC code, as INVALID_ARGUMENT."},
                "message": text,
                "details": {"type": "array", "items": {
                    "type": "object",
                    "description": "google.rpc.ErrorInfo (reason, domain, metadata), BadRequest (fieldViolations: field, description, reason) or RetryInfo (retryDelay).",
                    "required": ["@type"],
                    "properties": {"@type": text},
                }},
            },
        }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_contracts() -> Value {
        document(
            api::DESCRIPTORS,
            &["penstock.v1.QueryService", "penstock.v1.AdminService", "penstock.v1.MetricsService"],
            &[],
        )
    }

    #[test]
    fn a_method_is_told_with_its_comments_its_parameters_and_its_errors() {
        let document = of_contracts();
        let sql = &document["paths"]["/v1/sql"]["post"];
        assert_eq!(
            sql["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/SqlRequest"
        );
        assert!(sql["description"].as_str().is_some_and(|text| !text.is_empty()), "{sql}");
        assert_eq!(
            sql["responses"]["default"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/Error"
        );
        let metric = &document["paths"]["/v1/apps/{app_id}/metrics/{name}:evaluate"]["post"];
        let names: Vec<_> =
            metric["parameters"].as_array().into_iter().flatten().map(|p| (&p["name"], &p["in"])).collect();
        assert_eq!(names, [(&json!("app_id"), &json!("path")), (&json!("name"), &json!("path"))]);
        let reconcile = &document["paths"]["/v1/reconcile"]["get"]["parameters"];
        let from = reconcile.as_array().into_iter().flatten().find(|p| p["name"] == "from");
        assert_eq!(from.map(|from| &from["schema"]["format"]), Some(&json!("date-time")));
        let stream = &document["paths"]["/v1/sql:stream"]["post"]["responses"]["200"]["content"];
        assert!(stream["application/x-ndjson"].is_object() && stream["text/event-stream"].is_object());
    }

    #[test]
    fn every_reference_has_its_schema_and_every_schema_and_field_is_described() {
        let document = of_contracts();
        let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(schemas.contains_key(reference), "{reference}");
        }
        assert!(schemas.len() > 50);
        for (name, schema) in schemas.iter().filter(|(name, _)| *name != "Error") {
            assert_ne!(schema["description"], "", "{name}");
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                assert!(schema["description"].is_string(), "{name}.{field}");
            }
        }
    }
}
