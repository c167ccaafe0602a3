//! Expressions: an allow list of forms.

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, InTarget, ObjectNamePart, UnaryOperator, Value, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::{Refusal, allowed, query};

/// What an expression may name, and how many locks bind whatever reads events within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) of: Of,
    pub(super) locks: usize,
}

/// Whose names they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Columns of `events` and positional aliases.
    Columns,
    /// Columns of `daily_users` and positional aliases.
    DailyColumns,
    /// Columns of `users` and positional aliases.
    UserColumns,
    /// Columns of `bucket_states` and positional aliases.
    StateColumns,
    /// Positional aliases alone.
    Aliases,
}

impl Names {
    /// Positional aliases alone, under the same locks.
    pub(super) const fn aliases(self) -> Self {
        Self { of: Of::Aliases, ..self }
    }
}

pub(super) fn check(expr: &Expr, names: Names) -> Result<(), Refusal> {
    let mut expr = expr;
    // Chains hang down the left side: a loop walks them, whatever their length.
    while let Expr::BinaryOp { left, op, right } = expr {
        operator(op)?;
        check(right, names)?;
        expr = left;
    }
    match expr {
        Expr::Identifier(name) => identifier(name, names),
        // Only derived tables have aliases, and theirs are columns that were checked there.
        Expr::CompoundIdentifier(path) => match path.as_slice() {
            [table, column] if table.quote_style.is_none() && allowed::table(&table.value) => {
                identifier(column, names.aliases())
            }
            _ => Err(Refusal::Name(path.last().map_or_else(String::new, |name| name.value.clone()))),
        },
        Expr::Subquery(query) => query::check(query, names.locks),
        Expr::Value(value) => literal(&value.value),
        Expr::Nested(inner) | Expr::IsNull(inner) => check(inner, names),
        Expr::UnaryOp { op: UnaryOperator::Not | UnaryOperator::Minus, expr } => check(expr, names),
        Expr::In { expr, target: InTarget::List(list), negated: false, global: false } => {
            check(expr, names)?;
            list.iter().try_for_each(|item| check(item, names))
        }
        Expr::In { expr, target: InTarget::Subquery(query), negated: false, global: false } => {
            check(expr, names)?;
            query::check(query, names.locks)
        }
        Expr::Like { negated: false, any: false, expr, pattern, escape_char: None }
        | Expr::ILike { negated: false, any: false, expr, pattern, escape_char: None } => {
            check(expr, names)?;
            check(pattern, names)
        }
        Expr::Cast { kind: CastKind::Cast, expr, data_type, format: None } => {
            let of_state = names.of == Of::StateColumns && allowed::state(data_type) && is_kept(expr);
            if !allowed::data_type(data_type) && !of_state {
                return Err(Refusal::Value("type of a cast"));
            }
            check(expr, names)
        }
        Expr::Case { operand: None, conditions, else_result, .. } => {
            for branch in conditions {
                check(&branch.condition, names)?;
                check(&branch.result, names)?;
            }
            else_result.as_deref().map_or(Ok(()), |e| check(e, names))
        }
        Expr::Floor { expr, field } | Expr::Ceil { expr, field } => match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => check(expr, names),
            _ => Err(Refusal::Construct("this form of FLOOR or CEIL")),
        },
        Expr::Function(function) => call(function, names),
        _ => Err(Refusal::Construct("a form of expression")),
    }
}

/// `arrayElement(states, 1)`: no other bytes are taken for a state.
fn is_kept(expr: &Expr) -> bool {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return false };
    let states = |arg: &FunctionArg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(id))) if id.value == "states");
    name.to_string() == "arrayElement" && list.args.len() == 2 && list.args.first().is_some_and(states)
}

fn identifier(name: &Ident, names: Names) -> Result<(), Refusal> {
    let known = allowed::alias(&name.value)
        || match names.of {
            Of::Columns => allowed::column(&name.value),
            Of::DailyColumns => allowed::daily_column(&name.value),
            Of::UserColumns => allowed::user_column(&name.value),
            Of::StateColumns => allowed::state_column(&name.value),
            Of::Aliases => false,
        };
    if name.quote_style.is_none() && known { Ok(()) } else { Err(Refusal::Name(name.value.clone())) }
}

fn literal(value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Number(..) | Value::Boolean(_) | Value::Null => Ok(()),
        // `placeholders` has seen each of them bound.
        Value::Placeholder(name) if name.starts_with(':') => Ok(()),
        Value::SingleQuotedString(text) if allowed::text(text) => Ok(()),
        _ => Err(Refusal::Value("literal")),
    }
}

fn operator(op: &BinaryOperator) -> Result<(), Refusal> {
    use BinaryOperator::{And, Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Or, Plus};
    match op {
        And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | Plus | Minus | Multiply | Divide | Modulo => Ok(()),
        _ => Err(Refusal::Value("operator")),
    }
}

fn call(function: &Function, names: Names) -> Result<(), Refusal> {
    let Function {
        name,
        uses_odbc_syntax: false,
        parameters,
        args: FunctionArguments::List(args),
        within_group,
        filter: None,
        null_treatment: None,
        over,
    } = function
    else {
        return Err(Refusal::Construct("this form of call"));
    };
    let [ObjectNamePart::Identifier(Ident { value: name, quote_style: None, .. })] = name.0.as_slice() else {
        return Err(Refusal::Function(name.to_string()));
    };
    if !within_group.is_empty() || !allowed::function(name) {
        return Err(Refusal::Function(name.clone()));
    }
    match parameters {
        FunctionArguments::None => {}
        FunctionArguments::List(list) => arguments(list, names.aliases())?,
        FunctionArguments::Subquery(_) => return Err(Refusal::Construct("a subquery")),
    }
    if let Some(over) = over {
        window(over, names)?;
    }
    arguments(args, names)
}

/// A window over rows of the same SELECT.
fn window(over: &WindowType, names: Names) -> Result<(), Refusal> {
    let WindowType::WindowSpec(WindowSpec { window_name: None, partition_by, order_by, window_frame }) = over else {
        return Err(Refusal::Construct("a named window"));
    };
    partition_by.iter().try_for_each(|by| check(by, names))?;
    order_by.iter().try_for_each(|by| query::check_order(by, names))?;
    let Some(WindowFrame { units, start_bound, end_bound }) = window_frame else { return Ok(()) };
    let counted = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow | WindowFrameBound::Preceding(None) | WindowFrameBound::Following(None) => true,
        WindowFrameBound::Preceding(Some(rows)) | WindowFrameBound::Following(Some(rows)) => {
            matches!(&**rows, Expr::Value(value) if matches!(value.value, Value::Number(..)))
        }
    };
    let known = *units == WindowFrameUnits::Rows && counted(start_bound) && end_bound.iter().all(counted);
    if known { Ok(()) } else { Err(Refusal::Construct("this frame of a window")) }
}

fn arguments(list: &FunctionArgumentList, names: Names) -> Result<(), Refusal> {
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return Err(Refusal::Construct("a clause among arguments"));
    }
    list.args.iter().try_for_each(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => check(expr, names),
        _ => Err(Refusal::Construct("this form of argument")),
    })
}
