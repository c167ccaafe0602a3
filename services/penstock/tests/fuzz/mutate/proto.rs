//! Protobuf by its grammar: a message as a tree of fields, which can be broken at any one of them.

use prost::encoding::{WireType, decode_key, decode_varint, encode_varint};
use rand::RngExt;

use super::{one_in, pick};
use crate::run::Random;

/// A field's value as it is written.
#[derive(Clone)]
enum Node {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    Message(Vec<(u32, Node)>),
    /// In place of key and value.
    Raw(Vec<u8>),
}

const NUMBERS: [u64; 12] = [
    0,
    1,
    127,
    128,
    (1 << 31) - 1,
    1 << 31,
    u32::MAX as u64,
    (1 << 53) + 1,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
    253_402_300_800,
];

/// Breaks the message at one to three places. What is no message stays as it is.
pub fn mutate(random: &mut Random, message: &[u8]) -> Vec<u8> {
    let Some(mut fields) = parse(message, 6) else { return message.to_vec() };
    for _ in 0..random.random_range(1..=3) {
        break_one(random, &mut fields);
    }
    let mut out = Vec::new();
    write(&fields, &mut out);
    out
}

fn parse(mut message: &[u8], depth: u32) -> Option<Vec<(u32, Node)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let (tag, wire_type) = decode_key(&mut message).ok()?;
        let node = match wire_type {
            WireType::Varint => Node::Varint(decode_varint(&mut message).ok()?),
            WireType::SixtyFourBit => Node::Fixed64(*take(&mut message, 8)?.first_chunk()?),
            WireType::ThirtyTwoBit => Node::Fixed32(*take(&mut message, 4)?.first_chunk()?),
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
                let inner = take(&mut message, len)?;
                match parse(inner, depth.saturating_sub(1)).filter(|fields| depth > 0 && !fields.is_empty()) {
                    Some(fields) => Node::Message(fields),
                    None => Node::Bytes(inner.to_vec()),
                }
            }
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        fields.push((tag, node));
    }
    Some(fields)
}

fn take<'a>(message: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(len)?;
    *message = rest;
    Some(taken)
}

fn write(fields: &[(u32, Node)], out: &mut Vec<u8>) {
    for (tag, node) in fields {
        let key = |wire_type: u64, out: &mut Vec<u8>| encode_varint(u64::from(*tag) << 3 | wire_type, out);
        match node {
            Node::Varint(number) => {
                key(0, out);
                encode_varint(*number, out);
            }
            Node::Fixed64(bytes) => {
                key(1, out);
                out.extend(bytes);
            }
            Node::Fixed32(bytes) => {
                key(5, out);
                out.extend(bytes);
            }
            Node::Bytes(bytes) => {
                key(2, out);
                encode_varint(bytes.len() as u64, out);
                out.extend(bytes);
            }
            Node::Message(inner) => {
                let mut bytes = Vec::new();
                write(inner, &mut bytes);
                key(2, out);
                encode_varint(bytes.len() as u64, out);
                out.extend(bytes);
            }
            Node::Raw(bytes) => out.extend(bytes),
        }
    }
}

/// Goes down to a message somewhere in the tree and breaks one of its fields.
fn break_one(random: &mut Random, fields: &mut Vec<(u32, Node)>) {
    let inner: Vec<usize> = (0..fields.len()).filter(|&at| matches!(fields[at].1, Node::Message(_))).collect();
    if !inner.is_empty() && !one_in(random, 3) {
        let at = pick(random, &inner);
        if let Node::Message(fields) = &mut fields[at].1 {
            return break_one(random, fields);
        }
    }
    let at = random.random_range(0..=fields.len());
    if at == fields.len() || one_in(random, 4) {
        return fields.insert(at, (random.random_range(1..20), strange(random)));
    }
    let copy = fields[at].clone();
    let tag = copy.0;
    match random.random_range(0..9) {
        0 => drop(fields.remove(at)),
        1 => fields.push(copy),
        2 => fields[at].0 = pick(random, &[1, 2, 3, 4, 5, 6, 7, 15, 16, 50, 19_000, (1 << 29) - 1]),
        3 => fields[at].1 = Node::Varint(pick(random, &NUMBERS)),
        4 => fields[at].1 = Node::Fixed64(pick(random, &[f64::NAN, f64::INFINITY, -0.0, 1e308, 5e-324]).to_le_bytes()),
        5 => fields[at].1 = Node::Bytes(text(random)),
        6 => fields[at] = (1, strange(random)),
        7 => {
            let (mut bytes, mut body) = (Vec::new(), Vec::new());
            write(&[copy], &mut body);
            // The field, but with a length that isn't its own.
            encode_varint(u64::from(tag) << 3 | 2, &mut bytes);
            let len = body.len() as u64;
            encode_varint(pick(random, &[0, len.saturating_sub(1), len + 1, 1 << 31, u64::MAX]), &mut bytes);
            bytes.extend(body);
            fields[at].1 = Node::Raw(bytes);
        }
        _ => {
            let mut one = Vec::new();
            write(std::slice::from_ref(&copy), &mut one);
            // No batch has more than 1 MiB: ingest refuses what has before it reads it.
            let most = ((1 << 20) / one.len().max(1)).max(1);
            let times = if one_in(random, 10) { most.min(2_000) } else { most.min(3) };
            fields.extend(std::iter::repeat_n(copy, times));
        }
    }
}

fn text(random: &mut Random) -> Vec<u8> {
    match random.random_range(0..6) {
        0 => Vec::new(),
        1 => b"\xed\xa0\x80".to_vec(),
        2 => b"a\0b".to_vec(),
        3 => "\u{202e}\u{10ffff}".into(),
        _ => {
            let len = pick(random, &[127, 128, 129, 256, 257, 1_024, 1_025, 5_000]);
            vec![b'x'; len]
        }
    }
}

/// Fields that no contract has, or that no writer would write.
fn strange(random: &mut Random) -> Node {
    let depth = pick(random, &[1, 2, 90, 97, 98, 99, 100, 101, 102, 5_000]);
    let raw = match random.random_range(0..8) {
        // Groups: whole, left open, closed twice, of two numbers.
        0 => [[0x93, 0x03].repeat(depth), [0x94, 0x03].repeat(depth)].concat(),
        1 => [0x93, 0x03].repeat(depth),
        2 => vec![0x94, 0x03],
        3 => vec![0x93, 0x03, 0x9c, 0x03],
        // A varint of eleven bytes; one that overflows in its tenth; a key of field 0; a wire type that there is not.
        4 => [vec![0x08], vec![0x80; 10], vec![0x01]].concat(),
        5 => [vec![0x08], vec![0xff; 9], vec![0x02]].concat(),
        6 => vec![pick(random, &[0x00, 0x02, 0x0e, 0x0f])],
        _ => (0..depth.min(300)).fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut bytes = vec![pick(random, &[0x0a, 0x12, 0x1a, 0x22, 0x2a, 0x32])];
            encode_varint(inner.len() as u64, &mut bytes);
            bytes.extend(inner);
            bytes
        }),
    };
    Node::Raw(raw)
}
