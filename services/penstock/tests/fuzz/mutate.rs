//! Bytes that are nearly right.

pub mod json;
pub mod proto;
pub mod samples;

use rand::{RngExt, seq::IndexedRandom};

use crate::run::Random;

/// What parsers trip over, whatever they parse.
const TOKENS: [&[u8]; 22] = [
    b"\0",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"\\ud800",
    b"\\u0000",
    b"\"",
    b"\\",
    b"{",
    b"[",
    b"]",
    b"}",
    b"\n",
    b"\r\n",
    b",",
    b"1e999",
    b"-0",
    b"18446744073709551616",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
];

/// One of several, each as likely.
pub fn pick<T: Clone>(random: &mut Random, of: &[T]) -> T {
    of.choose(random).unwrap().clone()
}

/// Whether one in so many times.
pub fn one_in(random: &mut Random, times: u32) -> bool {
    random.random_range(0..times) == 0
}

/// Flips, overwrites, cuts, copies and inserts, without knowing what the bytes are.
pub fn bytes(random: &mut Random, input: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=input.len());
        let to = (at + random.random_range(0..=16)).min(input.len());
        match random.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = random.random(),
            2 => input.truncate(at),
            3 => drop(input.drain(at..to)),
            4 => {
                let copy = input[at..to].to_vec();
                let times = if one_in(random, 8) { 200 } else { 2 };
                input.splice(at..at, copy.repeat(times));
            }
            5 => {
                let token = pick(random, &TOKENS);
                input.splice(at..at, token.iter().copied());
            }
            6 => {
                let token = pick(random, &TOKENS);
                input.splice(at..to, token.iter().copied());
            }
            _ => {
                let noise: Vec<u8> = (0..random.random_range(1..12)).map(|_| random.random()).collect();
                input.splice(at..at, noise);
            }
        }
    }
}
