//! How long a caller waits: the `grpc-timeout` header.

use std::time::Duration;

/// The header's name.
pub const HEADER: &str = "grpc-timeout";

/// The time that the header's value gives; `None` if it isn't up to 8 digits and a unit out of `H M S m u n`.
pub fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

/// The header's value for that much time, rounded down to what eight digits can say.
pub fn format(left: Duration) -> String {
    match left.as_millis() {
        ms if ms < 100_000_000 => format!("{ms}m"),
        ms => format!("{}S", (ms / 1_000).min(99_999_999)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        for (left, text) in [(0, "0m"), (99_999_999, "99999999m"), (100_000_500, "100000S")] {
            assert_eq!(format(Duration::from_millis(left)), text);
        }
        assert_eq!(format(Duration::MAX), "99999999S");
        for bad in ["", "m", "1", "1x", "-1m", "123456789m", "1.5S", "ä"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
