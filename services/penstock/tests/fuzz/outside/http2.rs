//! HTTP/2 in frames of our own making: floods, resets, wrong streams, windows of nothing, headers without end.

use rand::RngExt;

use crate::{
    mutate::{self, one_in, pick},
    run::Random,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub fn bytes(random: &mut Random, key: &str) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    let window = if one_in(random, 4) { vec![0, 4, 0, 0, 0, 0] } else { Vec::new() };
    frame(&mut out, SETTINGS, 0, 0, &window);
    let request = request(key);
    let many = pick(random, &[1, 10, 300, 3_000]);
    match random.random_range(0..14) {
        0 => {
            for stream in [0, 2, 5, 3, 5, 0x7fff_ffff] {
                frame(&mut out, HEADERS, END_HEADERS | END_STREAM, stream, &request);
            }
        }
        1 => frame(&mut out, HEADERS, END_HEADERS | END_STREAM, 1, &hpack(random)),
        2 => {
            frame(&mut out, HEADERS, 0, 1, &request);
            let piece = if one_in(random, 2) { Vec::new() } else { header("x", &"y".repeat(100)) };
            (0..many).for_each(|_| frame(&mut out, CONTINUATION, 0, 1, &piece));
        }
        3 => {
            // Rapid reset.
            for stream in (1..).step_by(2).take(many) {
                frame(&mut out, HEADERS, END_HEADERS, stream, &request);
                frame(&mut out, RESET, 0, stream, &8u32.to_be_bytes());
            }
        }
        4 => (0..many).for_each(|_| frame(&mut out, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        5 => (0..many).for_each(|_| frame(&mut out, PING, 0, 0, &[7; 8])),
        6 => {
            let by = pick(random, &[0, 1, 0x7fff_ffff]);
            (0..many).for_each(|i| frame(&mut out, WINDOW, 0, i as u32 % 2, &u32::to_be_bytes(by)));
        }
        7 => {
            // Said to be over, and then not.
            frame(&mut out, HEADERS, END_HEADERS | END_STREAM, 1, &request);
            frame(&mut out, DATA, END_STREAM, 1, b"\0\0\0\0\0");
            frame(&mut out, HEADERS, END_HEADERS, 1, &request);
        }
        8 => {
            // Open, and nothing comes; or more than any window.
            frame(&mut out, HEADERS, END_HEADERS, 1, &request);
            (0..many.min(50)).for_each(|_| frame(&mut out, DATA, 0, 1, &[0; 16_000]));
        }
        9 => (1..).step_by(2).take(many).for_each(|stream| frame(&mut out, HEADERS, END_HEADERS, stream, &request)),
        10 => {
            frame(&mut out, PRIORITY, 0, 1, &[0, 0, 0, 1, 255]);
            frame(&mut out, PUSH, END_HEADERS, 1, &[0, 0, 0, 2]);
            frame(&mut out, GOAWAY, 0, 0, &[0xff; 8]);
        }
        11 => {
            for _ in 0..many.min(100) {
                let payload: Vec<u8> = (0..random.random_range(0..40)).map(|_| random.random()).collect();
                frame(&mut out, random.random_range(0..12), random.random(), random.random_range(0..8), &payload);
            }
        }
        12 => out.extend([0xff, 0xff, 0xff, pick(random, &[DATA, HEADERS, SETTINGS, 0x7f]), 0, 0, 0, 0, 1]),
        _ => {
            frame(&mut out, HEADERS, END_HEADERS, 1, &request);
            frame(&mut out, DATA, END_STREAM | 8, 1, &[200, 1, 2]); // padded by more than there is
        }
    }
    if one_in(random, 3) {
        mutate::bytes(random, &mut out);
    }
    out
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// A header as a literal that isn't indexed, its texts not longer than one byte of length says.
fn header(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn request(key: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/penstock.v1.IngestService/Publish"),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-api-key", key),
    ];
    headers.iter().flat_map(|(name, value)| header(name, value)).collect()
}

/// Header blocks that can't be read, or would not end.
fn hpack(random: &mut Random) -> Vec<u8> {
    match random.random_range(0..7) {
        0 => vec![0x80],
        1 => vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        2 => vec![0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f],
        3 => vec![0, 0x7f, 0xff, 0xff, 0xff, 0x0f, b'x'],
        4 => {
            [header(":path", "/"), header(":path", "/v1"), header("Upper", "x"), header("connection", "close")].concat()
        }
        // One entry in the table, named again and again: little on the wire, much in memory.
        5 => [vec![0x40, 1, b'a', 0x7f, 0x81, 0x1e], vec![b'x'; 4_000], vec![0xbe; 12_000]].concat(),
        _ => (0..40).map(|_| random.random()).collect(),
    }
}
