//! Expressions over the columns of a table, each in the words of both engines.

use std::sync::Arc;

use jiff::Timestamp;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::data::{STATUSES, TYPES, day_ms};

/// Whose words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Ours,
    Theirs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    Integer,
    Text,
    Bool,
    Time,
}

use Kind::{Bool, Integer, Number, Text, Time};

/// How alike both engines compute a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// Equal, and so are sums of it in any order: quarters that aren't too large.
    Summable,
    /// Equal.
    Equal,
    /// Within the rounding.
    Near,
}

use Precision::{Equal, Near, Summable};

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    pub ours: String,
    pub theirs: String,
    pub kind: Kind,
    pub precision: Precision,
    /// Too huge or tiny to be computed with.
    pub wild: bool,
}

/// What can be asked of.
pub type Table = Vec<Arc<Column>>;

/// A function of values of one row: `$1` is its first argument.
#[derive(Debug)]
pub struct Function {
    gives: Kind,
    takes: &'static [Kind],
    ours: &'static str,
    theirs: &'static str,
    precision: Precision,
}

const fn f(gives: Kind, takes: &'static [Kind], text: &'static str) -> Function {
    Function { gives, takes, ours: text, theirs: text, precision: Summable }
}

impl Function {
    const fn theirs(self, theirs: &'static str) -> Self {
        Self { theirs, ..self }
    }

    const fn at_best(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
}

static FUNCTIONS: &[Function] = &[
    f(Number, &[Number, Number], "($1 + $2)"),
    f(Number, &[Number, Number], "($1 - $2)"),
    f(Number, &[Number, Number], "($1 * $2)").at_best(Equal),
    f(Number, &[Number, Number], "($1 / $2)").at_best(Equal),
    f(Number, &[Number, Number], "($1 % $2)").at_best(Equal),
    f(Number, &[Number, Number], "MOD($1, $2)").theirs("($1 % $2)").at_best(Equal),
    f(Number, &[Number], "(-$1)"),
    f(Number, &[Number], "ABS($1)"),
    f(Number, &[Number], "FLOOR($1)"),
    f(Number, &[Number], "CEIL($1)"),
    f(Number, &[Number], "TRUNC($1)"),
    f(Number, &[Number], "ROUND($1)"),
    f(Number, &[Number], "ROUND($1, 1)").at_best(Near),
    f(Number, &[Number], "SQRT($1)").theirs("CASE WHEN $1 >= 0 THEN SQRT($1) END").at_best(Equal),
    f(Number, &[Number], "LN($1)").theirs("CASE WHEN $1 > 0 THEN LN($1) END").at_best(Near),
    f(Number, &[Number], "LOG10($1)").theirs("CASE WHEN $1 > 0 THEN LOG10($1) END").at_best(Near),
    f(Number, &[Number], "LOG2($1)").theirs("CASE WHEN $1 > 0 THEN LOG2($1) END").at_best(Near),
    f(Number, &[Number], "EXP(LEAST($1, 1000000) / 1000000)").at_best(Near),
    f(Number, &[Number], "POWER($1, 2)").at_best(Near),
    f(Number, &[Number, Number], "COALESCE($1, $2)"),
    f(Number, &[Number, Number], "NULLIF($1, $2)"),
    f(Number, &[Number, Number], "GREATEST($1, $2)"),
    f(Number, &[Number, Number], "LEAST($1, $2)"),
    f(Number, &[Bool, Number, Number], "IF($1, $2, $3)").theirs("CASE WHEN $1 THEN $2 ELSE $3 END"),
    f(Number, &[Bool, Number], "CASE WHEN $1 THEN $2 END"),
    f(Number, &[Bool, Number, Bool, Number], "CASE WHEN $1 THEN $2 WHEN $3 THEN $4 ELSE 0.5 END")
        .theirs("CASE WHEN $1 THEN $2 WHEN $3 THEN $4 ELSE '0.5'::DOUBLE END"),
    f(Number, &[Text], "$1::number").theirs("TRY_CAST($1 AS DOUBLE)").at_best(Equal),
    f(Number, &[Bool], "$1::number").theirs("CAST($1 AS DOUBLE)"),
    f(Number, &[Integer], "$1::number").theirs("CAST($1 AS DOUBLE)"),
    f(Number, &[Time], "EXTRACT(epoch FROM $1)").at_best(Equal),
    f(Integer, &[Number], "SIGN($1)").theirs("CAST(SIGN($1) AS BIGINT)"),
    f(Integer, &[Number], "CAST(ROUND($1) AS integer)").theirs("CAST(ROUND($1) AS BIGINT)"),
    f(Integer, &[Number], "CAST($1 AS integer)").theirs("CAST($1 AS BIGINT)"),
    f(Integer, &[Integer, Integer], "($1 + $2)"),
    f(Integer, &[Integer, Integer], "($1 - $2)"),
    f(Integer, &[Integer, Integer], "($1 % $2)"),
    f(Integer, &[Integer, Integer], "DIV($1, $2)").theirs("($1 // $2)"),
    f(Integer, &[Integer, Integer], "COALESCE($1, $2)"),
    f(Integer, &[Text], "LENGTH($1)"),
    f(Integer, &[Text], "STRPOS($1, 'r')"),
    f(Integer, &[Text], "POSITION('a' IN $1)"),
    f(Integer, &[Time], "EXTRACT(year FROM $1)"),
    f(Integer, &[Time], "EXTRACT(isoyear FROM $1)"),
    f(Integer, &[Time], "EXTRACT(quarter FROM $1)"),
    f(Integer, &[Time], "EXTRACT(month FROM $1)"),
    f(Integer, &[Time], "EXTRACT(week FROM $1)"),
    f(Integer, &[Time], "EXTRACT(day FROM $1)"),
    f(Integer, &[Time], "EXTRACT(doy FROM $1)"),
    f(Integer, &[Time], "EXTRACT(dow FROM $1)"),
    f(Integer, &[Time], "EXTRACT(isodow FROM $1)"),
    f(Integer, &[Time], "EXTRACT(hour FROM $1)"),
    f(Integer, &[Time], "EXTRACT(minute FROM $1)"),
    f(Integer, &[Time], "EXTRACT(second FROM $1)"),
    f(Integer, &[Time], "EXTRACT(hour FROM $1 AT TIME ZONE 'America/Santiago')"),
    // The other engine takes a day without a midnight for a shorter one, and an hour that comes twice for one.
    f(Integer, &[Time, Time], "date_diff('day', $1, $2)").theirs("date_diff('day', $1::DATE, $2::DATE)"),
    f(Integer, &[Time, Time], "date_diff('hour', $1, $2)").theirs(
        "date_diff('hour', ($1 - ($1::TIMESTAMP - date_trunc('hour', $1::TIMESTAMP)))::TIMESTAMPTZ AT TIME ZONE 'UTC', \
         ($2 - ($2::TIMESTAMP - date_trunc('hour', $2::TIMESTAMP)))::TIMESTAMPTZ AT TIME ZONE 'UTC')",
    ),
    f(Integer, &[Time, Time], "date_diff('month', $1, $2)"),
    f(Text, &[Text], "LOWER($1)"),
    f(Text, &[Text], "UPPER($1)"),
    f(Text, &[Text], "LEFT($1, 3)"),
    f(Text, &[Text], "RIGHT($1, 2)"),
    f(Text, &[Text], "SUBSTRING($1, 2, 3)"),
    f(Text, &[Text], "SUBSTRING($1, 3)"),
    f(Text, &[Text], "REPLACE($1, 'e', '—')"),
    f(Text, &[Text], "TRIM($1)"),
    f(Text, &[Text], "LTRIM($1)"),
    f(Text, &[Text], "RTRIM($1)"),
    f(Text, &[Text], "SPLIT_PART($1, ' ', 2)"),
    // Theirs turns whole graphemes round.
    f(Text, &[], "REVERSE(event_type)"),
    f(Text, &[Text, Text], "CONCAT($1, '-', $2)"),
    f(Text, &[Text, Text], "($1 || $2)"),
    f(Text, &[Text, Text], "COALESCE($1, $2)"),
    f(Text, &[Text, Text], "NULLIF($1, $2)"),
    f(Text, &[Text, Text], "GREATEST($1, $2)"),
    f(Text, &[Text, Text], "LEAST($1, $2)"),
    f(Text, &[Bool, Text, Text], "CASE WHEN $1 THEN $2 ELSE $3 END"),
    f(Text, &[Text], "CASE $1 WHEN 'paid' THEN 'yes' WHEN '' THEN NULL ELSE 'no' END"),
    f(Text, &[Integer], "$1::string").theirs("CAST($1 AS VARCHAR)"),
    f(Text, &[Bool], "$1::string").theirs("CAST($1 AS VARCHAR)"),
    f(Bool, &[Number, Number], "($1 = $2)"),
    f(Bool, &[Number, Number], "($1 <> $2)"),
    f(Bool, &[Number, Number], "($1 < $2)"),
    f(Bool, &[Number, Number], "($1 >= $2)"),
    f(Bool, &[Number, Number, Number], "($1 BETWEEN $2 AND $3)"),
    f(Bool, &[Number, Number], "($1 IS DISTINCT FROM $2)"),
    f(Bool, &[Number], "($1 IN (0, 1, 2.5, 12))"),
    f(Bool, &[Number], "($1 NOT IN (0, 3, NULL))"),
    f(Bool, &[Number], "($1 IS NULL)"),
    f(Bool, &[Integer, Integer], "($1 > $2)"),
    f(Bool, &[Text, Text], "($1 = $2)"),
    f(Bool, &[Text, Text], "($1 <= $2)"),
    f(Bool, &[Text, Text], "($1 IS NOT DISTINCT FROM $2)"),
    f(Bool, &[Text], "($1 IN ('paid', 'it''s', 'DE', 'view', 'u7'))"),
    f(Bool, &[Text], "($1 NOT IN ('open', '', 'pro'))"),
    f(Bool, &[Text], "($1 LIKE '%e%')"),
    f(Bool, &[Text], "($1 NOT LIKE '_a%')"),
    f(Bool, &[Text], "($1 ILIKE '%E_')"),
    f(Bool, &[Text], "($1 ILIKE 'ét%')"),
    f(Bool, &[Text], "($1 IS NOT NULL)"),
    f(Bool, &[Text], "STARTS_WITH($1, 'p')"),
    f(Bool, &[Text], "ENDS_WITH($1, 'n')"),
    f(Bool, &[Text], "CONTAINS($1, 'r')"),
    f(Bool, &[Time, Time], "($1 < $2)"),
    f(Bool, &[Time, Time], "($1 >= $2)"),
    f(Bool, &[Time], "($1 IS NULL)"),
    f(Bool, &[Bool, Bool], "($1 AND $2)"),
    f(Bool, &[Bool, Bool], "($1 OR $2)"),
    f(Bool, &[Bool, Bool], "($1 = $2)"),
    f(Bool, &[Bool], "(NOT $1)"),
    f(Bool, &[Bool], "($1 IS TRUE)"),
    f(Bool, &[Bool], "($1 IS NOT FALSE)"),
    f(Bool, &[Bool, Bool], "COALESCE($1, $2)"),
    // By the clock of the zone, each of two equal hours for itself: theirs would join them.
    f(Time, &[Time], "date_trunc('minute', $1)").theirs("($1 - ($1::TIMESTAMP - date_trunc('minute', $1::TIMESTAMP)))"),
    f(Time, &[Time], "date_trunc('hour', $1)").theirs("($1 - ($1::TIMESTAMP - date_trunc('hour', $1::TIMESTAMP)))"),
    f(Time, &[Time], "date_trunc('day', $1)"),
    f(Time, &[Time], "date_trunc('week', $1)"),
    f(Time, &[Time], "date_trunc('month', $1)"),
    f(Time, &[Time], "date_trunc('quarter', $1)"),
    f(Time, &[Time], "date_trunc('year', $1)"),
    f(Time, &[Time], "($1 + INTERVAL '1 day')"),
    f(Time, &[Time], "($1 - INTERVAL '1 month')"),
    f(Time, &[Time], "($1 + INTERVAL '90 minutes')"),
    f(Time, &[Time, Time], "COALESCE($1, $2)"),
    f(Time, &[Time, Time], "GREATEST($1, $2)"),
    f(Time, &[Time, Time], "LEAST($1, $2)"),
    f(Time, &[Bool, Time, Time], "CASE WHEN $1 THEN $2 ELSE $3 END"),
];

#[derive(Debug, Clone)]
pub enum Expr {
    Column(Arc<Column>),
    Literal { kind: Kind, ours: String, theirs: String },
    Call(&'static Function, Vec<Expr>),
}

impl Expr {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Column(column) => column.kind,
            Self::Literal { kind, .. } => *kind,
            Self::Call(function, _) => function.gives,
        }
    }

    pub fn text(&self, engine: Engine) -> String {
        match (self, engine) {
            (Self::Column(column), Engine::Ours) => column.ours.clone(),
            (Self::Column(column), Engine::Theirs) => column.theirs.clone(),
            (Self::Literal { ours, .. }, Engine::Ours) => ours.clone(),
            (Self::Literal { theirs, .. }, Engine::Theirs) => theirs.clone(),
            (Self::Call(function, args), engine) => {
                let template = if engine == Engine::Ours { function.ours } else { function.theirs };
                let args: Vec<_> = args.iter().map(|arg| arg.text(engine)).collect();
                filled(template, &args)
            }
        }
    }

    pub fn precision(&self) -> Precision {
        match self {
            Self::Column(column) => column.precision,
            Self::Literal { .. } => Summable,
            Self::Call(function, args) => {
                let of_args = args.iter().map(Self::precision).max().unwrap_or(Summable);
                // What a condition chooses by must be equal; a product of products may have too many bits.
                function.precision.max(if function.gives == Bool { Summable } else { of_args })
            }
        }
    }

    pub fn is_constant(&self) -> bool {
        match self {
            Self::Column(_) => false,
            Self::Literal { .. } => true,
            Self::Call(_, args) => !args.is_empty() && args.iter().all(Self::is_constant),
        }
    }

    /// What is simpler and of the same kind.
    pub fn smaller(&self, table: &Table) -> Vec<Self> {
        let Self::Call(function, args) = self else { return Vec::new() };
        let mut smaller: Vec<Self> = args.iter().filter(|arg| arg.kind() == function.gives).cloned().collect();
        smaller.extend(table.iter().filter(|column| column.kind == function.gives).take(2).cloned().map(Self::Column));
        for (i, arg) in args.iter().enumerate() {
            smaller.extend(arg.smaller(table).into_iter().map(|with| {
                let mut args = args.clone();
                args[i] = with;
                Self::Call(function, args)
            }));
        }
        smaller
    }
}

/// The template with `$1` to `$9` filled.
pub fn filled(template: &str, args: &[String]) -> String {
    let mut pieces = template.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digit, rest) = piece.split_at(1);
        text += &args[digit.parse::<usize>().unwrap() - 1];
        text += rest;
    }
    text
}

/// An expression of this kind over the table, so many calls deep at most.
pub fn expr(random: &mut StdRng, table: &Table, kind: Kind, depth: u32) -> Expr {
    let tries = if depth == 0 || random.random_bool(0.25) { 0 } else { 20 };
    for _ in 0..tries {
        let functions: Vec<_> = FUNCTIONS.iter().filter(|function| function.gives == kind).collect();
        let function = *functions.choose(random).unwrap();
        if function.ours.contains("(event_type)") && !table.iter().any(|column| column.ours == "event_type") {
            continue;
        }
        let args: Vec<_> = function.takes.iter().map(|kind| expr(random, table, *kind, depth - 1)).collect();
        // Of constants alone the engines know more than of values: that is no question about events.
        let constant = !args.is_empty() && args.iter().all(Expr::is_constant);
        // What is near may lie on either side of a bound, and of a step.
        let steps = function.gives != Number || function.ours.contains("ROUND") || function.theirs.contains("CASE");
        let steps = steps
            || ["FLOOR", "CEIL", "TRUNC", "%", "NULLIF", "GREATEST", "LEAST", "/"]
                .iter()
                .any(|f| function.ours.contains(f));
        let near = args.iter().any(|arg| arg.kind() == Number && arg.precision() == Near);
        // The rest of what has all its bits used is computed in one way here and in another there.
        let rest = function.ours.contains('%') || function.ours.contains("MOD");
        let rest = rest && args.iter().any(|arg| arg.precision() > Summable);
        if constant || rest || (steps && near) {
            continue;
        }
        return Expr::Call(function, args);
    }
    leaf(random, table, kind, false)
}

/// A column of this kind or a constant.
pub fn leaf(random: &mut StdRng, table: &Table, kind: Kind, wild: bool) -> Expr {
    let fits = |column: &&Arc<Column>| column.kind == kind && (wild || !column.wild) && column.precision < Near;
    let columns: Vec<_> = table.iter().filter(fits).collect();
    match columns.choose(random) {
        Some(column) if random.random_bool(0.85) => Expr::Column(Arc::clone(column)),
        _ => literal(random, kind),
    }
}

fn literal(random: &mut StdRng, kind: Kind) -> Expr {
    let (ours, theirs) = match kind {
        Number => {
            let x = *[0.0, 0.5, 1.0, 2.5, 10.0, 100.25].choose(random).unwrap();
            (format!("{x:?}"), format!("'{x:?}'::DOUBLE"))
        }
        Integer => {
            let i = random.random_range(0..12).to_string();
            (i.clone(), i)
        }
        Text => {
            let words: Vec<&str> = STATUSES.into_iter().chain(TYPES).chain(["DE", "pro"]).collect();
            let text = quoted(words.choose(random).unwrap());
            (text.clone(), text)
        }
        Bool => {
            let text = ["TRUE", "FALSE"].choose(random).unwrap().to_string();
            (text.clone(), text)
        }
        Time => instant(day_ms(random) + random.random_range(0..24) * 3_600_000),
    };
    Expr::Literal { kind, ours, theirs }
}

/// A literal of the instant.
pub fn instant(ms: i64) -> (String, String) {
    let text = Timestamp::from_millisecond(ms).unwrap();
    (format!("'{text}'::time"), format!("TIMESTAMPTZ '{text}'"))
}

pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The columns of `events`, and what they are called in the other engine.
pub fn events() -> Table {
    let column = |ours: &str, theirs: &str, kind, precision, wild| {
        Arc::new(Column { ours: ours.to_owned(), theirs: theirs.to_owned(), kind, precision, wild })
    };
    let mut table = Vec::new();
    for name in ["event_type", "user_id", "country", "user_plan", "status", "city", "text_3", "text_17"] {
        table.push(column(name, name, Text, Summable, false));
    }
    table.push(column("code::string", "code_text", Text, Summable, false));
    for (name, precision, wild) in [
        ("amount", Summable, false),
        ("quantity", Summable, false),
        ("score", Equal, false),
        ("huge", Equal, true),
        ("tiny", Equal, true),
        ("number_4", Summable, false),
        ("number_18", Summable, false),
    ] {
        table.push(column(name, name, Number, precision, wild));
    }
    table.push(column("code::number", "code", Number, Summable, false));
    table.push(column("vip", "vip", Bool, Summable, false));
    for name in ["timestamp", "due"] {
        table.push(column(name, name, Time, Summable, false));
    }
    table
}
