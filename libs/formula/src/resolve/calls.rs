//! Function calls against the allow list.

use super::{
    Expr, Node, Outcome, Resolver, Rule, Span, Type, ast, fault,
    windows::{OF_BUCKETS, OVER_ROWS},
};
use crate::{
    ast::Call,
    diagnostics::excerpt,
    functions::{AGGREGATES, CALENDAR, Gives, Param, SCALARS, Scalar, aggregate_named, scalars},
    grain::PART_FUNCTIONS,
    suggest::did_you_mean,
};

impl Resolver<'_> {
    pub(super) fn call(&mut self, call: &Call, span: Span, hint: Option<Type>) -> Outcome<Expr> {
        if let Some(over) = &call.over {
            return self.window(call, over, span);
        }
        if let Some(outcome) = self.of_buckets(call, span) {
            return outcome;
        }
        if OVER_ROWS.iter().any(|name| name.eq_ignore_ascii_case(&call.name.text)) {
            let shown = call.name.text.to_uppercase();
            let message = format!("{shown} needs a window, as in {shown}(...) OVER (ORDER BY day)");
            return fault(span, Rule::WrongArguments, message);
        }
        if let Some(function) = aggregate_named(&call.name.text) {
            return self.aggregate(function, call, span, hint);
        }
        let known = scalars(&call.name.text).next().is_some();
        if !known && let Some(outcome) = self.calendar(call, span) {
            return outcome;
        }
        if !known {
            return fault(call.name.span, Rule::UnknownFunction, unknown(&call.name.text));
        }
        self.plain(call)?;
        let Some(function) = scalars(&call.name.text).find(|f| f.takes(call.args.len())) else {
            return fault(span, Rule::WrongArguments, counts(&call.name.text, call.args.len()));
        };
        let (args, common) = self.typed_arguments(function, &call.args, hint)?;
        let ty = match function.gives {
            Gives::Always(ty) => ty,
            Gives::Common => common,
        };
        Ok(Expr::new(Node::Call(function, args), ty, span))
    }

    fn typed_arguments(
        &mut self,
        function: &Scalar,
        args: &[ast::Expr],
        hint: Option<Type>,
    ) -> Outcome<(Vec<Expr>, Type)> {
        let same = args.iter().enumerate().filter(|(i, _)| function.shared(*i)).map(|(_, arg)| arg);
        let numeric = function.params.contains(&Param::Numeric);
        let hint = if numeric { Some(Type::Number) } else { hint.filter(|_| function.gives == Gives::Common) };
        let mut unified = self.unified(same, hint)?.into_iter();
        let mut common = Type::Null;
        let mut typed = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            typed.push(match function.param(i) {
                Some(Param::Is(ty)) => self.expr_of(arg, ty)?,
                Some(Param::Literal(least, most)) => literal(arg, least, most)?,
                Some(Param::Text) => {
                    let word = super::literal_text(arg, "this argument")?;
                    Expr::new(Node::Text(word.text), Type::String, word.span)
                }
                _ => {
                    let value = unified.next().unwrap_or_else(|| Expr::new(Node::Null, Type::Null, arg.span));
                    let value =
                        if numeric && !value.ty.is_numeric() { self.coerce(value, Type::Number)? } else { value };
                    common = value.ty;
                    value
                }
            });
        }
        Ok((typed, common))
    }

    /// The arguments of a function that takes neither DISTINCT, FILTER nor a star.
    pub(super) fn arguments<'a>(&self, call: &'a Call, least: usize, most: usize) -> Outcome<&'a [ast::Expr]> {
        self.plain(call)?;
        if (least..=most).contains(&call.args.len()) {
            return Ok(&call.args);
        }
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let message = format!("{} takes {wanted} arguments, not {}", call.name.text.to_uppercase(), call.args.len());
        fault(call.name.span, Rule::WrongArguments, message)
    }

    fn plain(&self, call: &Call) -> Outcome<()> {
        if call.distinct || call.star || call.filter.is_some() || call.within.is_some() {
            let message = format!(
                "{} is no aggregate: it takes no DISTINCT, *, FILTER or WITHIN GROUP",
                call.name.text.to_uppercase()
            );
            return fault(call.name.span, Rule::WrongArguments, message);
        }
        Ok(())
    }
}

impl Scalar {
    fn takes(&self, count: usize) -> bool {
        let most = self.params.len() + self.more.map_or(0, |(_, more)| more);
        (self.params.len()..=most).contains(&count)
    }

    fn param(&self, i: usize) -> Option<Param> {
        self.params.get(i).copied().or(self.more.map(|(param, _)| param))
    }

    /// Whether the argument shares its type with others.
    fn shared(&self, i: usize) -> bool {
        matches!(self.param(i), Some(Param::Same | Param::Numeric))
    }
}

fn literal(arg: &ast::Expr, least: i64, most: i64) -> Outcome<Expr> {
    match arg.node {
        ast::Node::Integer(i) if (least..=most).contains(&i) => {
            Ok(Expr::new(Node::Integer(i), Type::Integer, arg.span))
        }
        _ => fault(arg.span, Rule::WrongArguments, format!("this must be a whole number from {least} to {most}")),
    }
}

fn unknown(name: &str) -> String {
    if let Some(instead) = instead(&name.to_ascii_lowercase()) {
        return format!("there is no function `{}`; {instead}", excerpt(name));
    }
    let names = SCALARS.iter().map(|f| f.name).chain(AGGREGATES.iter().map(|f| f.name));
    let calendar = CALENDAR.into_iter().chain(PART_FUNCTIONS.map(|(name, _)| name));
    let windows = OF_BUCKETS.into_iter().chain(OVER_ROWS);
    let near = did_you_mean(name, names.chain(calendar).chain(windows));
    format!("there is no function `{}`{near}", excerpt(name))
}

fn counts(name: &str, given: usize) -> String {
    let forms: Vec<_> = scalars(name)
        .map(|f| if f.more.is_some() { format!("{} or more", f.params.len()) } else { f.params.len().to_string() })
        .collect();
    format!("{} takes {} arguments, not {given}", name.to_uppercase(), forms.join(" or "))
}

/// What to write for functions of other engines that analysts know.
fn instead(name: &str) -> Option<&'static str> {
    Some(match name {
        "to_char" | "strftime" | "date_format" => {
            "write date_trunc('month', timestamp) for buckets, EXTRACT(month FROM timestamp) for parts of a date"
        }
        "string_agg" | "array_agg" | "group_concat" | "listagg" => {
            "a value is never a list; group by what it would hold"
        }
        "bool_or" | "bool_and" | "every" => "write COUNT_IF(x) > 0, or COUNT_IF(NOT x) = 0",
        "first_value" | "last_value" | "nth_value" | "ntile" => {
            "rank the rows by ROW_NUMBER() OVER (...) in a subquery and keep the one you want"
        }
        "generate_series" => "a typed query with `fill` has a row for every bucket",
        "to_timestamp" | "to_date" | "from_unixtime" | "make_date" => "write '2024-01-31'::time, or x::time for a text",
        "age" | "timestampdiff" => "write date_diff('day', a, b)",
        "dateadd" | "date_add" | "date_sub" => "write time + INTERVAL 1 DAY",
        "getdate" | "sysdate" => "write now()",
        "nvl" | "isnull" => "write COALESCE(x, y)",
        "iif" | "decode" => "write CASE WHEN ... THEN ... ELSE ... END",
        "len" => "write LENGTH(x)",
        "convert" => "write CAST(x AS number), or x::number",
        "regexp_match" | "regexp_matches" | "regexp_like" | "regexp_replace" => "patterns are those of LIKE and ILIKE",
        "stddev_pop" | "var_pop" => "write STDDEV(x) or VARIANCE(x), which are of a sample",
        "unnest" | "json_extract" | "jsonb_extract_path_text" => "every property is a column of its own name",
        _ => return None,
    })
}
