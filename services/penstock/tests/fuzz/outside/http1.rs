//! HTTP/1.1 as no client speaks it: two lengths, chunks that are none, heads that don't end.

use rand::RngExt;

use super::answer;
use crate::{
    mutate::{self, one_in, pick},
    report::Verdict,
    run::Random,
};

/// `{key}` stands for a good key.
const SHAPES: [&str; 16] = [
    "POST /v1/events?app_id=xyz123 HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/keys HTTP/1.1\r\nx: y",
    "POST /v1/events?app_id=xyz123 HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n18\r\n[{\"event_type\":\"chunks\"}]\r\n0\r\n\r\n",
    "POST /v1/sql HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 5\r\ncontent-length: 60\r\n\r\n{\"sql\": 1}",
    "POST /v1/sql HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "POST /v1/sql HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding:\x0bchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "POST /v1/sql HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "POST /v1/sql HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "POST /v1/sql HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\n\r\n2;a=\"b\n\"\r\n{}\r\n0\r\nx-api-key: other\r\n\r\n",
    "POST /v1/sql HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: -1\r\n\r\n{}",
    "POST /v1/sql HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
    "POST /v1/sql HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}",
    "GET /v1/apps HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAAAAA\r\n\r\n",
    "GET /v1/apps HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n\r\nGET /v1/keys HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n\r\n",
    "GET http://other/v1/apps HTTP/1.1\r\nhost: x\r\nhost: y\r\nx-api-key: {key}\r\n folded: yes\r\n\r\n",
    "CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\nGET /v1/apps HTTP/1.0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: x\r\norigin: http://evil\r\naccess-control-request-method: POST\r\n\r\n",
];

pub fn bytes(random: &mut Random, key: &str) -> Vec<u8> {
    let mut input = pick(random, &SHAPES).replace("{key}", key).into_bytes();
    match random.random_range(0..10) {
        0 => {
            // A head without end, in one header or in many.
            let header = if one_in(random, 2) { b"x".repeat(200_000) } else { b"a: b\r\n".repeat(20_000) };
            input = [&b"GET /v1/apps HTTP/1.1\r\n"[..], &header].concat();
        }
        1 => input = input.repeat(50),
        2 => {}
        _ => mutate::bytes(random, &mut input),
    }
    input
}

/// The first answer: what HTTP itself refuses has no body, what the product refuses has one like any other's.
pub fn check(answer: &[u8]) -> Result<Verdict, String> {
    let text = String::from_utf8_lossy(answer);
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let Some(status) = text.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()) else {
        return Ok(Verdict::Refused("closed".to_owned()));
    };
    if status >= 500 {
        return Err(format!("a failure: {text}"));
    }
    let (head, rest) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    match length.filter(|length| *length > 0).and_then(|length: usize| rest.as_bytes().get(..length)) {
        Some(body) => answer::json(status, body),
        None if status >= 400 => Ok(Verdict::Refused(status.to_string())),
        None => Ok(Verdict::Accepted),
    }
}
