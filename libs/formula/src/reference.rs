//! The reference of functions for people, `docs/reference/functions.md`, made of the tables that the compiler reads. A function without a meaning here fails.

mod sql;

use std::{fmt::Write as _, path::Path};

use crate::{
    functions::{AGGREGATES, Aggregation, CALENDAR, Form, Gives, Level, Param, SCALARS, Scalar},
    grain::{Grain, PART_FUNCTIONS, PARTS},
    resolve::windows::{OF_BUCKETS, OVER_ROWS},
    types::Type,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/functions.md");

/// What a function does, in one line; those that are another's second name say so.
const MEANINGS: &[(&str, &str)] = &[
    ("coalesce", "the first argument that isn't NULL"),
    ("ifnull", "as COALESCE, of two"),
    ("nullif", "NULL where both are equal, else the first"),
    ("greatest", "the greatest of them; NULL only of NULLs"),
    ("least", "the least of them; NULL only of NULLs"),
    ("if", "the second where the first is true, else the third"),
    ("abs", "without its sign"),
    ("round", "to whole numbers or so many decimals; halves away from zero"),
    ("floor", "the next whole number below"),
    ("ceil", "the next whole number above"),
    ("ceiling", "as CEIL"),
    ("trunc", "without its decimals"),
    ("sign", "-1, 0 or 1"),
    ("sqrt", "the square root; NULL of what is below zero"),
    ("ln", "the natural logarithm; NULL where there is none"),
    ("log10", "the logarithm to 10; NULL where there is none"),
    ("log2", "the logarithm to 2; NULL where there is none"),
    ("exp", "e to the power; NULL where it is too large"),
    ("power", "the first to the power of the second; NULL where it is too large or no number"),
    ("pow", "as POWER"),
    ("mod", "what is left of a division; NULL by zero"),
    ("div", "a division without its decimals; NULL by zero"),
    ("lower", "in small letters, of all alphabets"),
    ("upper", "in capital letters, of all alphabets"),
    ("length", "how many characters"),
    ("char_length", "as LENGTH"),
    ("substring", "from this character on, the first is 1, perhaps so many; also SUBSTRING(text FROM n FOR m)"),
    ("substr", "as SUBSTRING"),
    ("left", "its first characters"),
    ("right", "its last characters"),
    ("concat", "one after another; NULL is the empty text here, unlike with `||`"),
    ("replace", "each place of the second by the third"),
    ("trim", "without spaces at both ends"),
    ("btrim", "as TRIM"),
    ("ltrim", "without spaces at its beginning"),
    ("rtrim", "without spaces at its end"),
    ("reverse", "its characters backwards"),
    ("starts_with", "whether it begins with the second"),
    ("startswith", "as STARTS_WITH"),
    ("ends_with", "whether it ends with the second"),
    ("endswith", "as ENDS_WITH"),
    ("contains", "whether the second is in it"),
    ("strpos", "at which character the second begins in the first, from 1; 0 if it isn't there"),
    ("position", "at which character the first begins in the second: POSITION(needle IN text)"),
    ("split_part", "the part of this number, from 1, between places of the second; the empty text if there is none"),
    (
        "count",
        "rows; with an argument those where it isn't NULL; with DISTINCT the different ones, of combinations too",
    ),
    ("count_if", "rows where the condition is true"),
    ("countif", "as COUNT_IF"),
    ("sum", "the sum; NULL of nothing"),
    ("sum_if", "the sum where the condition is true"),
    ("sumif", "as SUM_IF"),
    ("avg", "the mean"),
    ("min", "the least"),
    ("max", "the greatest"),
    ("median", "the value in the middle, between two if need be"),
    ("percentile", "the value below which this share lies, from 0 to 1"),
    ("approx_percentile", "as PERCENTILE"),
    ("percentile_cont", "the same, exact, between two values if need be; also WITHIN GROUP (ORDER BY x)"),
    ("percentile_disc", "the same, exact, always one of the values; also WITHIN GROUP (ORDER BY x)"),
    ("stddev", "the standard deviation, of a sample"),
    ("stddev_samp", "as STDDEV"),
    ("variance", "the variance, of a sample"),
    ("var_samp", "as VARIANCE"),
    ("approx_count_distinct", "how many different values, in little memory"),
    ("count_distinct", "how many different values"),
    ("date_trunc", "DATE_TRUNC('grain', time [, 'zone']): where the grain begins that the time lies in"),
    ("date_part", "DATE_PART('part', time [, 'zone']): a part of the time; also EXTRACT(part FROM time)"),
    ("date_diff", "DATE_DIFF('grain', from, to): how many beginnings of the grain lie between; also DATEDIFF"),
    ("date", "DATE(time [, 'zone']): where its day begins"),
    ("now", "this instant: the last millisecond of the current second"),
    ("today", "where this day begins; without brackets too"),
    ("current_date", "as TODAY"),
    ("current_timestamp", "as NOW"),
    ("row_number", "the row's number in the order"),
    ("rank", "the row's rank; equal ones share it, and the next ones are passed over"),
    ("dense_rank", "the row's rank; equal ones share it, and none is passed over"),
    ("lag", "LAG(x [, rows]): x so many rows before, 1 by default"),
    ("lead", "LEAD(x [, rows]): x so many rows after, 1 by default"),
];

/// Of formulas alone, where RANK is another's name.
const OF_BUCKETS_MEANINGS: [(&str, &str); OF_BUCKETS.len()] = [
    ("moving_avg", "MOVING_AVG(x, 7): the mean of the last buckets, this one counted"),
    ("cumulative", "CUMULATIVE(x): the sum of all buckets up to this one"),
    ("change", "CHANGE(x): how much more than in the bucket before"),
    ("percent_change", "PERCENT_CHANGE(x): the same in percent of what was before"),
    ("share", "SHARE(x): its part of the sum over all groups of the bucket, from 0 to 1"),
    ("rank", "RANK(x): its place among the groups of the bucket, the greatest first"),
    ("rate", "RATE(x, 'hour'): per second, minute, hour, day or week"),
];

fn meaning(name: &str) -> &'static str {
    let known = MEANINGS.iter().find(|(known, _)| *known == name);
    known.unwrap_or_else(|| panic!("{name} has no meaning in libs/formula/src/reference.rs")).1
}

fn param(param: Param) -> String {
    match param {
        Param::Is(ty) => ty.to_string(),
        Param::Numeric => "number".to_owned(),
        Param::Same => "value".to_owned(),
        Param::Literal(least, most) if most > 1_000_000 => format!("whole number from {least}"),
        Param::Literal(least, most) => format!("whole number {least} to {most}"),
        Param::Text => "'text'".to_owned(),
    }
}

fn signature(function: &Scalar) -> String {
    let mut params: Vec<_> = function.params.iter().copied().map(param).collect();
    params.extend(function.more.map(|_| "...".to_owned()));
    format!("`{}({})`", function.name.to_uppercase(), params.join(", "))
}

fn scalar_gives(function: &Scalar) -> String {
    match function.gives {
        Gives::Always(ty) => ty.to_string(),
        Gives::Common => "as its arguments".to_owned(),
    }
}

/// The arguments of an aggregate, and how its values become one.
fn shape(form: Form) -> (&'static str, Aggregation) {
    match form {
        Form::Count => ("* or [DISTINCT] value, ...", Aggregation::Rows),
        Form::CountIf => ("condition", Aggregation::Rows),
        Form::SumIf => ("number, condition", Aggregation::Sum),
        Form::OfNumber(aggregation) => ("number", aggregation),
        Form::OfOrdered(aggregation) => ("number, string or time", aggregation),
        Form::OfAny(aggregation) => ("value", aggregation),
        Form::Percentile(of) => ("share, number", of(Level::HALF)),
        Form::PercentileOfOrdered(of) => ("share, number, string or time", of(Level::HALF)),
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Functions\n\nEvery function that a formula or SQL may call; one that isn't here does not exist. Names may be written in capitals or not. This page is made of the \
         tables that the compiler reads.\n\nDivision by zero is NULL, and so is what leaves the finite numbers. A function of NULL is NULL, unless it says otherwise.\n",
    );
    let mut table = |title: &str, about: &str, head: &str, rows: &mut dyn Iterator<Item = String>| {
        let columns = head.matches('|').count() - 1;
        let _ = write!(page, "\n## {title}\n\n{about}\n\n{head}\n{}|\n", "|---".repeat(columns));
        rows.for_each(|row| page.push_str(&row));
    };
    table(
        "Of a row's values",
        "Anywhere in a formula or a query.",
        "| function | gives | |",
        &mut SCALARS.iter().map(|f| format!("| {} | {} | {} |\n", signature(f), scalar_gives(f), meaning(f.name))),
    );
    table(
        "Aggregates",
        "Any of them takes a condition of its own: `SUM(amount) FILTER (WHERE status = 'paid')`. None counts NULL. The answer says for each column whether it is exact.",
        "| function | gives | accuracy | |",
        &mut AGGREGATES.iter().map(|f| {
            let (arguments, aggregation) = shape(f.form);
            let same = aggregation.gives(Type::Null) == Type::Null;
            let gives = if same { "as its argument".to_owned() } else { aggregation.gives(Type::Null).to_string() };
            let accuracy = aggregation.sketch().unwrap_or("exact");
            format!("| `{}({arguments})` | {gives} | {accuracy} | {} |\n", f.name.to_uppercase(), meaning(f.name))
        }),
    );
    table(
        "Of time buckets and groups",
        "In formulas: along the buckets of the answer, or among its groups. In SQL write the window.",
        "| function | |",
        &mut OF_BUCKETS.into_iter().zip(OF_BUCKETS_MEANINGS).map(|(name, (known, meaning))| {
            assert_eq!(name, known, "the meanings are in another order");
            format!("| `{}` | {meaning} |\n", name.to_uppercase())
        }),
    );
    table(
        "Over rows",
        "In SQL, with `OVER ([PARTITION BY ...] ORDER BY ...)`. COUNT, SUM, AVG, MIN and MAX stand there too, with a frame (`ROWS BETWEEN 6 PRECEDING AND CURRENT ROW`) or without.",
        "| function | |",
        &mut OVER_ROWS.iter().map(|name| format!("| `{}` | {} |\n", name.to_uppercase(), meaning(name))),
    );
    table(
        "Of the calendar",
        "In the query's time zone, or the one that is named.",
        "| function | |",
        &mut CALENDAR.iter().map(|name| format!("| `{}` | {} |\n", name.to_uppercase(), meaning(name))),
    );
    let listed = |names: &mut dyn Iterator<Item = &'static str>| {
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let _ = write!(
        page,
        "\nGrains: {}. Weeks begin on Monday.\n\nParts: {}. `dow` is 0 on Sunday, `isodow` 1 on Monday to 7, `week` that of ISO 8601, `epoch` seconds since 1970.\n\n\
         Functions of one time and perhaps a zone that give a part: {}.\n",
        listed(&mut Grain::ALL.iter().map(|grain| grain.name())),
        listed(&mut PARTS.iter().map(|(name, _)| *name)),
        listed(&mut PART_FUNCTIONS.iter().map(|(name, _)| *name)),
    );
    page
}

/// Holds what lies there against a page that was made; with `PENSTOCK_WRITE` puts it there.
fn written(path: &str, page: &str) {
    if std::fs::read_to_string(path).unwrap_or_default() != page {
        assert!(
            std::env::var_os("PENSTOCK_WRITE").is_some(),
            "{path} is behind; run PENSTOCK_WRITE=1 cargo test -p formula reference"
        );
        std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, page).unwrap();
    }
}

#[test]
fn the_page_says_what_the_tables_say() {
    written(PAGE, &page());
}

#[test]
fn nothing_is_explained_that_is_not_there() {
    let names: Vec<_> = SCALARS
        .iter()
        .map(|f| f.name)
        .chain(AGGREGATES.iter().map(|f| f.name))
        .chain(CALENDAR)
        .chain(OVER_ROWS)
        .collect();
    for (name, _) in MEANINGS {
        assert!(names.contains(name), "there is no {name}");
    }
}
