//! What the fuzzer found once, shrunk: sent first in every run.

use super::call::{Call, Client};
use crate::report::Verdict;

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const JSON: (&str, &str) = ("content-type", "application/json");

/// Each with the code that it must be refused with; `OPERATOR` is a key that may not ingest.
pub fn send(client: &Client, key: &str, operator: &str) {
    let (sql, revoke) = ("/penstock.v1.QueryService/Sql", "/penstock.v1.AdminService/RevokeKey");
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let long = vec![b' '; 3 << 20];
    for (what, call, code) in [
        // The transport's own refusals had no details, and blamed the server.
        ("no message", Call::post(sql, key, &[GRPC], b""), "INVALID_ARGUMENT"),
        ("half a frame", Call::post(sql, key, &[GRPC], b"\0\0\0\0\x09a"), "INVALID_ARGUMENT"),
        ("wire type 6", Call::post(revoke, key, &[GRPC], b"\0\0\0\0\x01\x0e"), "INVALID_ARGUMENT"),
        ("a group's end", Call::post(revoke, key, &[GRPC], b"\0\0\0\0\x02\x94\x03"), "INVALID_ARGUMENT"),
        ("compression flag 2", Call::post(sql, key, &[GRPC], b"\x02\0\0\0\0"), "INVALID_ARGUMENT"),
        ("compressed by what?", Call::post(sql, key, &[GRPC], b"\x01\0\0\0\0"), "INVALID_ARGUMENT"),
        ("a length of 2 GiB", Call::post(sql, key, &[GRPC], b"\0\x7f\0\0\0"), "INVALID_ARGUMENT"),
        ("no gzip", Call::post(sql, key, &[GRPC, ("grpc-encoding", "gzip")], b"\x01\0\0\0\x01x"), "INVALID_ARGUMENT"),
        ("no encoding", Call::post(sql, key, &[GRPC, ("grpc-encoding", "br")], b"\0\0\0\0\0"), "INVALID_ARGUMENT"),
        (
            "no base64",
            Call::post(sql, key, &[("content-type", "application/grpc-web-text")], b"\0"),
            "INVALID_ARGUMENT",
        ),
        ("no method", Call::post("/penstock.v1.QueryService/X", key, &[GRPC], b"\0\0\0\0\0"), "NOT_FOUND"),
        ("reflection of nothing", Call::post(reflection, key, &[GRPC], b"\0\0\0\0\0"), "INVALID_ARGUMENT"),
        // JSON became a message that was said to be compressed.
        ("gRPC's header in JSON", Call::post("/v1/sql", key, &[JSON, ("grpc-encoding", "br")], b"{}"), "INVALID_QUERY"),
        // The field of a parameter without a name had none either.
        ("no parameter", Call::get("/v1/keys?=", key), "INVALID_ARGUMENT"),
        ("half a parameter", Call::get("/v1/keys?tenant_id", key), "INVALID_ARGUMENT"),
        // JSON was told to be grpc-web.
        (
            "JSON as grpc-web",
            Call::post("/v1/events", key, &[("content-type", "application/grpc-web-text")], b"x"),
            "INVALID_ARGUMENT",
        ),
        // The connection was closed on a client that still wrote, and on its next request.
        ("refused unread", Call::post("/v1/events", operator, &[JSON], &long), "PERMISSION_DENIED"),
        ("the next", Call::post("/v1/events", operator, &[JSON], b"{}"), "PERMISSION_DENIED"),
    ] {
        assert_eq!(client.send(&call), Ok(Verdict::Refused(code.to_owned())), "{what}");
    }
}
