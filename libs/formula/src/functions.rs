//! The allow list: every function a text may call, with its types and its spelling in the engine.
//!
//! A name that is not here does not exist. Functions whose meaning depends on a zone or on the calendar have nodes of
//! their own (`resolve/calendar.rs`), since their spelling is more than a template.

use crate::{grain::PART_FUNCTIONS, resolve::windows::OVER_ROWS, types::Type};

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Param {
    /// A value of this type.
    Is(Type),
    /// A number or an integer, left as it is.
    Numeric,
    /// A value of the type that all such arguments have in common.
    Same,
    /// A literal integer within these bounds.
    Literal(i64, i64),
    /// A literal text.
    Text,
}

/// What a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    Always(Type),
    /// The type that its `Same` or `Numeric` arguments have in common.
    Common,
}

/// A function of the values of one row.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) name: &'static str,
    /// What must be given, in order.
    pub(crate) params: &'static [Param],
    /// What may follow: up to so many more of this.
    pub(crate) more: Option<(Param, usize)>,
    pub(crate) gives: Gives,
    /// ClickHouse: `$1` is the first argument, `$*` all of them, `$@` all of them with NULL as the empty text.
    pub(crate) template: &'static str,
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

const NUMBER: Param = Param::Is(Type::Number);
const INTEGER: Param = Param::Is(Type::Integer);
const STRING: Param = Param::Is(Type::String);
const MANY: usize = 64;

const fn scalar(name: &'static str, params: &'static [Param], gives: Type, template: &'static str) -> Scalar {
    Scalar { name, params, more: None, gives: Gives::Always(gives), template }
}

const fn common(
    name: &'static str,
    params: &'static [Param],
    more: Option<(Param, usize)>,
    template: &'static str,
) -> Scalar {
    Scalar { name, params, more, gives: Gives::Common, template }
}

/// Half away from zero: the engine's own `round` rounds halves to even. The addend is the largest float below one half,
/// so that the sum never rounds up on its own; `+ 0` turns -0 into 0.
const ROUND: &str = "((sign($1) * floor(abs($1) + 0.49999999999999994)) + 0)";
const ROUND_DIGITS: &str = "((sign($1) * floor((abs($1) * intExp10($2)) + 0.49999999999999994) / intExp10($2)) + 0)";

/// Functions whose result may leave the finite numbers give NULL there, as division by zero does.
pub(crate) static SCALARS: &[Scalar] = &[
    common("coalesce", &[Param::Same], Some((Param::Same, MANY)), "coalesce($*)"),
    common("ifnull", &[Param::Same, Param::Same], None, "coalesce($*)"),
    common("nullif", &[Param::Same, Param::Same], None, "nullIf($1, $2)"),
    common("greatest", &[Param::Same], Some((Param::Same, MANY)), "greatest($*)"),
    common("least", &[Param::Same], Some((Param::Same, MANY)), "least($*)"),
    common("if", &[Param::Is(Type::Bool), Param::Same, Param::Same], None, "if($1, $2, $3)"),
    common("abs", &[Param::Numeric], None, "abs($1)"),
    scalar("round", &[NUMBER], Type::Number, ROUND),
    scalar("round", &[NUMBER, Param::Literal(0, 15)], Type::Number, ROUND_DIGITS),
    scalar("floor", &[NUMBER], Type::Number, "floor($1)"),
    scalar("ceil", &[NUMBER], Type::Number, "ceil($1)"),
    scalar("ceiling", &[NUMBER], Type::Number, "ceil($1)"),
    scalar("trunc", &[NUMBER], Type::Number, "trunc($1)"),
    scalar("sign", &[NUMBER], Type::Integer, "toInt64(sign($1))"),
    scalar("sqrt", &[NUMBER], Type::Number, "ifNotFinite(sqrt($1), NULL)"),
    scalar("ln", &[NUMBER], Type::Number, "ifNotFinite(log($1), NULL)"),
    scalar("log10", &[NUMBER], Type::Number, "ifNotFinite(log10($1), NULL)"),
    scalar("log2", &[NUMBER], Type::Number, "ifNotFinite(log2($1), NULL)"),
    scalar("exp", &[NUMBER], Type::Number, "ifNotFinite(exp($1), NULL)"),
    scalar("power", &[NUMBER, NUMBER], Type::Number, "ifNotFinite(pow($1, $2), NULL)"),
    scalar("pow", &[NUMBER, NUMBER], Type::Number, "ifNotFinite(pow($1, $2), NULL)"),
    common("mod", &[Param::Numeric, Param::Numeric], None, "moduloOrNull($1, $2)"),
    scalar("lower", &[STRING], Type::String, "lowerUTF8($1)"),
    scalar("upper", &[STRING], Type::String, "upperUTF8($1)"),
    scalar("length", &[STRING], Type::Integer, "toInt64(lengthUTF8($1))"),
    scalar("char_length", &[STRING], Type::Integer, "toInt64(lengthUTF8($1))"),
    scalar("substring", &[STRING, Param::Literal(1, 1 << 31)], Type::String, "substringUTF8($1, $2)"),
    scalar(
        "substring",
        &[STRING, Param::Literal(1, 1 << 31), Param::Literal(0, 1 << 31)],
        Type::String,
        "substringUTF8($1, $2, $3)",
    ),
    scalar("substr", &[STRING, Param::Literal(1, 1 << 31)], Type::String, "substringUTF8($1, $2)"),
    scalar(
        "substr",
        &[STRING, Param::Literal(1, 1 << 31), Param::Literal(0, 1 << 31)],
        Type::String,
        "substringUTF8($1, $2, $3)",
    ),
    scalar("left", &[STRING, Param::Literal(0, 1 << 31)], Type::String, "leftUTF8($1, $2)"),
    scalar("right", &[STRING, Param::Literal(0, 1 << 31)], Type::String, "rightUTF8($1, $2)"),
    Scalar {
        name: "concat",
        params: &[STRING],
        more: Some((STRING, MANY)),
        gives: Gives::Always(Type::String),
        template: "concat($@)",
    },
    scalar("replace", &[STRING, STRING, STRING], Type::String, "replaceAll($1, $2, $3)"),
    scalar("trim", &[STRING], Type::String, "trimBoth($1)"),
    scalar("btrim", &[STRING], Type::String, "trimBoth($1)"),
    scalar("ltrim", &[STRING], Type::String, "trimLeft($1)"),
    scalar("rtrim", &[STRING], Type::String, "trimRight($1)"),
    scalar("reverse", &[STRING], Type::String, "reverseUTF8($1)"),
    scalar("starts_with", &[STRING, STRING], Type::Bool, "startsWith($1, $2)"),
    scalar("startswith", &[STRING, STRING], Type::Bool, "startsWith($1, $2)"),
    scalar("ends_with", &[STRING, STRING], Type::Bool, "endsWith($1, $2)"),
    scalar("endswith", &[STRING, STRING], Type::Bool, "endsWith($1, $2)"),
    scalar("contains", &[STRING, STRING], Type::Bool, "(position($1, $2) > 0)"),
    scalar("strpos", &[STRING, STRING], Type::Integer, "toInt64(positionUTF8($1, $2))"),
    // POSITION(needle IN text): the needle comes first.
    scalar("position", &[STRING, STRING], Type::Integer, "toInt64(positionUTF8($2, $1))"),
    scalar(
        "split_part",
        &[STRING, Param::Text, Param::Literal(1, 1000)],
        Type::String,
        "if($1 IS NULL, NULL, arrayElement(splitByString($2, ifNull($1, '')), $3))",
    ),
    scalar("div", &[INTEGER, INTEGER], Type::Integer, "intDivOrNull($1, $2)"),
];

/// `a || b`: NULL if one side is, unlike `CONCAT`.
pub(crate) static CONCATENATION: Scalar = scalar("||", &[STRING, STRING], Type::String, "concat($1, $2)");

/// How a set of values becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregation {
    /// Rows, whatever they hold.
    Rows,
    /// Values that are not NULL.
    Values,
    Distinct,
    ApproximateDistinct,
    Sum,
    Average,
    Minimum,
    Maximum,
    /// By t-digest.
    Sketch(Level),
    /// Exact, interpolated.
    Continuous(Level),
    /// Exact, one of the values.
    Discrete(Level),
    /// Of a sample.
    Deviation,
    /// Of a sample.
    Variance,
}

/// A share between 0 and 1, in billionths, so that it is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level(u32);

impl Level {
    pub(crate) const ONE: u32 = 1_000_000_000;
    pub(crate) const HALF: Self = Self(Self::ONE / 2);

    /// The share, if it is between 0 and 1 and has at most 9 decimals.
    pub(crate) fn new(share: f64) -> Option<Self> {
        let billionths = (share * f64::from(Self::ONE)).round();
        let exact = (0.0..=1.0).contains(&share) && (billionths / f64::from(Self::ONE) - share).abs() < 1e-12;
        exact.then_some(Self(billionths as u32))
    }

    pub(crate) const fn billionths(self) -> u32 {
        self.0
    }
}

/// An aggregate by the name that users write.
#[derive(Debug)]
pub(crate) struct AggregateFunction {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
}

/// The arguments an aggregate takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// `COUNT(*)`, `COUNT(x)`, `COUNT(DISTINCT x, ...)`
    Count,
    /// A condition.
    CountIf,
    /// A number and a condition.
    SumIf,
    /// One number.
    OfNumber(Aggregation),
    /// One value that has an order: a number, a string or a time.
    OfOrdered(Aggregation),
    /// One value of any type.
    OfAny(Aggregation),
    /// A share and a number, or WITHIN GROUP.
    Percentile(fn(Level) -> Aggregation),
    /// A share and a value that has an order, or WITHIN GROUP.
    PercentileOfOrdered(fn(Level) -> Aggregation),
}

const fn aggregate(name: &'static str, form: Form) -> AggregateFunction {
    AggregateFunction { name, form }
}

pub(crate) static AGGREGATES: &[AggregateFunction] = &[
    aggregate("count", Form::Count),
    aggregate("count_if", Form::CountIf),
    aggregate("countif", Form::CountIf),
    aggregate("sum", Form::OfNumber(Aggregation::Sum)),
    aggregate("sum_if", Form::SumIf),
    aggregate("sumif", Form::SumIf),
    aggregate("avg", Form::OfNumber(Aggregation::Average)),
    aggregate("min", Form::OfOrdered(Aggregation::Minimum)),
    aggregate("max", Form::OfOrdered(Aggregation::Maximum)),
    aggregate("median", Form::OfNumber(Aggregation::Continuous(Level::HALF))),
    aggregate("percentile", Form::Percentile(Aggregation::Sketch)),
    aggregate("approx_percentile", Form::Percentile(Aggregation::Sketch)),
    aggregate("percentile_cont", Form::Percentile(Aggregation::Continuous)),
    aggregate("percentile_disc", Form::PercentileOfOrdered(Aggregation::Discrete)),
    aggregate("stddev", Form::OfNumber(Aggregation::Deviation)),
    aggregate("stddev_samp", Form::OfNumber(Aggregation::Deviation)),
    aggregate("variance", Form::OfNumber(Aggregation::Variance)),
    aggregate("var_samp", Form::OfNumber(Aggregation::Variance)),
    aggregate("approx_count_distinct", Form::OfAny(Aggregation::ApproximateDistinct)),
    aggregate("count_distinct", Form::OfAny(Aggregation::Distinct)),
];

/// Functions of the calendar, which `resolve/calendar.rs` knows; here for suggestions.
pub(crate) const CALENDAR: [&str; 8] =
    ["date_trunc", "date_part", "date_diff", "date", "now", "today", "current_date", "current_timestamp"];

/// The names of all functions that a SELECT can call, in small letters; some more than once.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    let (scalars, aggregates) = (SCALARS.iter().map(|f| f.name), AGGREGATES.iter().map(|f| f.name));
    let parts = PART_FUNCTIONS.iter().map(|(name, _)| *name);
    scalars.chain(aggregates).chain(CALENDAR).chain(OVER_ROWS).chain(parts)
}

/// The scalar functions of that name, in any case; more than one if the number of arguments decides.
pub(crate) fn scalars(name: &str) -> impl Iterator<Item = &'static Scalar> {
    SCALARS.iter().filter(move |f| f.name.eq_ignore_ascii_case(name))
}

/// The aggregate of that name, in any case.
pub(crate) fn aggregate_named(name: &str) -> Option<&'static AggregateFunction> {
    AGGREGATES.iter().find(|f| f.name.eq_ignore_ascii_case(name))
}

impl Aggregation {
    /// The type of the result, given that of the argument.
    pub(crate) const fn gives(self, argument: Type) -> Type {
        match self {
            Self::Rows | Self::Values | Self::Distinct | Self::ApproximateDistinct => Type::Integer,
            Self::Minimum | Self::Maximum | Self::Discrete(_) => argument,
            _ => Type::Number,
        }
    }

    /// The sketch that the result comes from, if it isn't exact.
    pub(crate) const fn sketch(self) -> Option<&'static str> {
        match self {
            Self::Sketch(_) => Some("t-digest"),
            Self::ApproximateDistinct => Some("uniqCombined64"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_both_a_function_and_an_aggregate() {
        for scalar in SCALARS {
            assert!(aggregate_named(scalar.name).is_none(), "{}", scalar.name);
        }
    }

    #[test]
    fn a_level_is_exact_or_nothing() {
        assert_eq!(Level::new(0.95).map(Level::billionths), Some(950_000_000));
        for share in [-0.1, 1.1, f64::NAN, 1.0 / 3.0] {
            assert_eq!(Level::new(share), None, "{share}");
        }
    }
}
