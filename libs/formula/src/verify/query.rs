//! The shape of a query: every part of it is taken apart by name, so that a part that a newer parser knows of can't
//! slip through unseen.

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, ObjectName,
    ObjectNamePart, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Query, Select, SelectFlavor, SelectItem,
    SetExpr, SetOperator, SetQuantifier, TableAlias, TableFactor, Value, WithFill,
};

use super::{Refusal, allowed, expr::Names, expr::check as check_expr};

pub(super) fn check(query: &Query) -> Result<(), Refusal> {
    let Query {
        with: None,
        body,
        order_by,
        limit_clause,
        fetch: None,
        locks,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return Err(Refusal::Construct("a clause of this query"));
    };
    if !locks.is_empty() || !pipe_operators.is_empty() {
        return Err(Refusal::Construct("a lock or a pipe"));
    }
    let names = check_body(body)?;
    if let Some(order_by) = order_by {
        let OrderByKind::Expressions(items) = &order_by.kind else { return Err(Refusal::Construct("ORDER BY ALL")) };
        if order_by.interpolate.is_some() {
            return Err(Refusal::Construct("INTERPOLATE"));
        }
        items.iter().try_for_each(|item| check_order(item, names))?;
    }
    check_limit(limit_clause.as_ref(), names)
}

/// Checks a SELECT, or several whose rows follow one another, and tells what their ORDER BY may name.
fn check_body(body: &SetExpr) -> Result<Names, Refusal> {
    let (mut body, mut several) = (body, false);
    // UNION ALL binds to the left.
    while let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier: SetQuantifier::All, right } = body {
        let SetExpr::Select(select) = &**right else { return Err(Refusal::Construct("anything but a SELECT")) };
        check_select(select)?;
        (body, several) = (left, true);
    }
    let SetExpr::Select(select) = body else { return Err(Refusal::Construct("anything but a SELECT")) };
    let names = check_select(select)?;
    Ok(if several { Names::Aliases } else { names })
}

pub(super) fn check_order(item: &OrderByExpr, names: Names) -> Result<(), Refusal> {
    let OrderByExpr { expr, options: OrderByOptions { sort, nulls_first: _ }, with_fill } = item;
    if let Some(WithFill { from, to, step }) = with_fill {
        from.iter().chain(to).try_for_each(|end| check_expr(end, Names::Aliases))?;
        let is_number = |e: &Expr| matches!(e, Expr::Value(v) if matches!(v.value, Value::Number(..)));
        if !step.iter().all(|step| matches!(step, Expr::Interval(interval) if is_number(&interval.value))) {
            return Err(Refusal::Construct("this step of WITH FILL"));
        }
    }
    if matches!(sort, Some(OrderBySort::Using(_))) {
        return Err(Refusal::Construct("ORDER BY USING"));
    }
    check_expr(expr, names)
}

fn check_limit(limit: Option<&LimitClause>, names: Names) -> Result<(), Refusal> {
    let (limit, offset) = match limit {
        None => return Ok(()),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
            limit_by.iter().try_for_each(|by| check_expr(by, names))?;
            (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
        }
        Some(_) => return Err(Refusal::Construct("this form of LIMIT")),
    };
    let is_number = |e: &Expr| matches!(e, Expr::Value(v) if matches!(v.value, Value::Number(..)));
    if limit.into_iter().chain(offset).all(is_number) { Ok(()) } else { Err(Refusal::Construct("a computed LIMIT")) }
}

/// Checks a SELECT and tells what its own ORDER BY may name.
fn check_select(select: &Select) -> Result<Names, Refusal> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: None | Some(Distinct::Distinct),
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views,
        prewhere: None,
        selection,
        connect_by,
        group_by: GroupByExpr::Expressions(keys, modifiers),
        cluster_by,
        distribute_by,
        sort_by,
        having: None,
        named_window,
        qualify: None,
        window_before_qualify: _,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    } = select
    else {
        return Err(Refusal::Construct("a clause of this SELECT"));
    };
    let plain = optimizer_hints.is_empty()
        && lateral_views.is_empty()
        && connect_by.is_empty()
        && modifiers.is_empty()
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && named_window.is_empty();
    if !plain {
        return Err(Refusal::Construct("a clause of this SELECT"));
    }
    let [table] = from.as_slice() else { return Err(Refusal::Construct("more or less than one table")) };
    table.joins.iter().try_for_each(check_join)?;
    let names = check_table(&table.relation, selection.as_ref())?;
    for item in projection {
        let SelectItem::ExprWithAlias { expr, alias } = item else {
            return Err(Refusal::Construct("a column without a positional name"));
        };
        // An alias hides a column of the same name in WHERE, so it may be none.
        if alias.quote_style.is_some() || !allowed::alias(&alias.value) {
            return Err(Refusal::Name(alias.value.clone()));
        }
        check_expr(expr, names)?;
    }
    selection.iter().chain(keys).try_for_each(|e| check_expr(e, names))?;
    Ok(names)
}

/// Checks a further table: a derived one, whose columns have names of their own, so that it can neither stand in for a column of
/// the first table nor hide one.
fn check_join(join: &Join) -> Result<(), Refusal> {
    let Join { relation, global: false, join_operator } = join else { return Err(Refusal::Construct("a join")) };
    let TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None } = relation else {
        return Err(Refusal::Table);
    };
    check_alias(alias)?;
    check(subquery)?;
    match join_operator {
        JoinOperator::Inner(JoinConstraint::On(on)) | JoinOperator::Left(JoinConstraint::On(on)) => {
            check_expr(on, Names::Columns)
        }
        JoinOperator::CrossJoin(JoinConstraint::None) => Ok(()),
        _ => Err(Refusal::Construct("this form of join")),
    }
}

fn check_alias(alias: &TableAlias) -> Result<(), Refusal> {
    let TableAlias { explicit: true, name, columns, at: None } = alias else {
        return Err(Refusal::Construct("this form of alias"));
    };
    if columns.is_empty() && name.quote_style.is_none() && allowed::table(&name.value) {
        Ok(())
    } else {
        Err(Refusal::Name(name.value.clone()))
    }
}

/// Checks the first table of a SELECT and tells what may be named over it.
fn check_table(table: &TableFactor, selection: Option<&Expr>) -> Result<Names, Refusal> {
    match table {
        TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
            alias.iter().try_for_each(check_alias)?;
            check(subquery)?;
            Ok(Names::Aliases)
        }
        TableFactor::Table {
            name,
            alias: None,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_directives,
            inheritance: None,
        } if with_hints.is_empty() && partitions.is_empty() && index_directives.is_empty() => {
            let names = columns_of(name).ok_or(Refusal::Table)?;
            let of_shape = (names == Names::StateColumns).then_some("shape");
            for predicate in ["tenant", "app"].into_iter().chain(of_shape) {
                if !selection.is_some_and(|condition| holds(condition, predicate)) {
                    return Err(Refusal::MissingPredicate(predicate));
                }
            }
            Ok(names)
        }
        _ => Err(Refusal::Table),
    }
}

fn columns_of(table: &ObjectName) -> Option<Names> {
    let [ObjectNamePart::Identifier(Ident { value, quote_style: None, .. })] = table.0.as_slice() else { return None };
    match value.as_str() {
        "events" => Some(Names::Columns),
        "daily_users" => Some(Names::DailyColumns),
        "users" => Some(Names::UserColumns),
        "bucket_states" => Some(Names::StateColumns),
        _ => None,
    }
}

/// Whether `column = {column:String}` is among the terms that AND joins at the top.
fn holds(condition: &Expr, column: &str) -> bool {
    let mut rest = condition;
    // AND binds to the left, so the terms hang down the left side.
    while let Expr::BinaryOp { left, op: BinaryOperator::And, right } = rest {
        if is_predicate(right, column) {
            return true;
        }
        rest = left;
    }
    is_predicate(rest, column)
}

fn is_predicate(term: &Expr, column: &str) -> bool {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = term else { return false };
    let names = matches!(&**left, Expr::Identifier(id) if id.quote_style.is_none() && id.value == column);
    let binds = matches!(&**right, Expr::Value(v)
        if matches!(&v.value, Value::Placeholder(name) if name.strip_prefix(':') == Some(column)));
    names && binds
}
