//! What compiled SQL may name, written down apart from the compiler's own tables.

use sqlparser::ast::DataType;

use super::states;

/// Columns of `events` that users' expressions come from, `tenant` and `app` included, and where the log has an event.
const COLUMNS: [&str; 14] = [
    "tenant",
    "app",
    "event",
    "ts",
    "user",
    "event_id",
    "country",
    "plan",
    "received_at",
    "n_more",
    "s_more",
    "_incarnation",
    "_partition",
    "_offset",
];

/// Columns of the rollup `daily_users`.
const DAILY_COLUMNS: [&str; 5] = ["tenant", "app", "day", "user", "events"];

/// Columns of `users`.
const USER_COLUMNS: [&str; 10] =
    ["tenant", "app", "user", "country", "plan", "n_more", "s_more", "_incarnation", "_partition", "_offset"];

/// Columns of `bucket_states`.
const STATE_COLUMNS: [&str; 9] =
    ["tenant", "app", "shape", "piece", "bucket", "numbers", "integers", "texts", "states"];

/// Slot columns `n0..n15`, `s0..s15`.
const SLOTS: usize = 16;

const FUNCTIONS: &[&str] = &[
    // of values
    "abs",
    "accurateCastOrNull",
    "array",
    "arrayElement",
    "arrayElementOrNull",
    "arraySort",
    "ceil",
    "coalesce",
    "concat",
    "endsWith",
    "exp",
    "floor",
    "greatest",
    "if",
    "ifNotFinite",
    "ifNull",
    "intDiv",
    "intDivOrNull",
    "intExp10",
    "least",
    "leftUTF8",
    "length",
    "lengthUTF8",
    "log",
    "log10",
    "log2",
    "lowerUTF8",
    "mapContains",
    "moduloOrNull",
    "nullIf",
    "position",
    "positionUTF8",
    "pow",
    "replaceAll",
    "reverseUTF8",
    "rightUTF8",
    "round",
    "sign",
    "splitByString",
    "sqrt",
    "startsWith",
    "substringUTF8",
    "toFloat64",
    "toFloat64OrNull",
    "toInt64",
    "toInt64OrNull",
    "toNullable",
    "toString",
    "trimBoth",
    "trimLeft",
    "trimRight",
    "trunc",
    "upperUTF8",
    // of the calendar
    "addDays",
    "addMilliseconds",
    "addMonths",
    "dateDiff",
    "dateTrunc",
    "fromUnixTimestamp64Milli",
    "parseDateTime64BestEffortOrNull",
    "timezoneOffset",
    "toDate32",
    "toDateTime64",
    "toDayOfMonth",
    "toDayOfWeek",
    "toDayOfYear",
    "toHour",
    "toISOWeek",
    "toISOYear",
    "toMinute",
    "toMonth",
    "toQuarter",
    "toSecond",
    "toTimeZone",
    "toUnixTimestamp64Milli",
    "toYear",
    // of groups
    "avg",
    "count",
    "countIf",
    "dense_rank",
    "groupArray",
    "lagInFrame",
    "leadInFrame",
    "max",
    "min",
    "quantileExactInclusive",
    "quantileTDigest",
    "rank",
    "row_number",
    "stddevSampStable",
    "sum",
    "sumIf",
    "uniqCombined64",
    "uniqExact",
    "uniqExactIf",
    "varSampStable",
];

/// Words in quotes: zones and units that the compiler itself writes.
const TEXTS: [&str; 11] = ["", "UTC", "Int64", "second", "minute", "hour", "day", "week", "month", "quarter", "year"];

pub(super) fn column(name: &str) -> bool {
    COLUMNS.contains(&name) || (numbered(name, &['n', 's']).is_some_and(|i| i < SLOTS))
}

pub(super) fn daily_column(name: &str) -> bool {
    DAILY_COLUMNS.contains(&name)
}

pub(super) fn user_column(name: &str) -> bool {
    USER_COLUMNS.contains(&name)
}

pub(super) fn state_column(name: &str) -> bool {
    STATE_COLUMNS.contains(&name)
}

/// Names of derived tables, by their number.
pub(super) fn table(name: &str) -> bool {
    numbered(name, &['t']).is_some()
}

/// Aliases by position: keys, aggregates, columns of the result.
pub(super) fn alias(name: &str) -> bool {
    numbered(name, &['k', 'a', 'c']).is_some()
}

fn numbered(name: &str, letters: &[char]) -> Option<usize> {
    let digits = name.strip_prefix(letters)?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

pub(super) fn function(name: &str) -> bool {
    FUNCTIONS.contains(&name) || states::function(name)
}

pub(super) fn text(text: &str) -> bool {
    TEXTS.contains(&text)
}

/// The type of a state.
pub(super) fn state(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Custom(name, modifiers) if modifiers.is_empty() && states::is_type(&name.to_string()))
}

/// Types that values are cast to: the few that cross the wire.
pub(super) fn data_type(data_type: &DataType) -> bool {
    let DataType::Nullable(inner) = data_type else { return false };
    match &**inner {
        DataType::Float64 | DataType::Int64 | DataType::String(None) | DataType::Bool => true,
        DataType::Datetime64(3, Some(zone)) => zone == "UTC",
        _ => false,
    }
}
