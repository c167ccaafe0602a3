//! The shape of a query: every part of it is taken apart by name, so that a part that a newer parser knows of can't
//! slip through unseen.

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, Ident, InTarget, Join, JoinConstraint, JoinOperator, LimitClause,
    ObjectName, ObjectNamePart, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Query, Select, SelectFlavor,
    SelectItem, SetExpr, SetOperator, SetQuantifier, TableAlias, TableFactor, Value, WithFill,
};

use super::{
    Refusal, allowed,
    expr::{Names, Of, check as check_expr},
};

pub(super) fn check(query: &Query, locks: usize) -> Result<(), Refusal> {
    let Query {
        with: None,
        body,
        order_by,
        limit_clause,
        fetch: None,
        locks: for_update,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return Err(Refusal::Construct("a clause of this query"));
    };
    if !for_update.is_empty() || !pipe_operators.is_empty() {
        return Err(Refusal::Construct("a lock or a pipe"));
    }
    let names = check_body(body, locks)?;
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
fn check_body(body: &SetExpr, locks: usize) -> Result<Names, Refusal> {
    let (mut body, mut several) = (body, false);
    // UNION ALL binds to the left.
    while let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier: SetQuantifier::All, right } = body {
        let SetExpr::Select(select) = &**right else { return Err(Refusal::Construct("anything but a SELECT")) };
        check_select(select, locks)?;
        (body, several) = (left, true);
    }
    let SetExpr::Select(select) = body else { return Err(Refusal::Construct("anything but a SELECT")) };
    let names = check_select(select, locks)?;
    Ok(if several { names.aliases() } else { names })
}

pub(super) fn check_order(item: &OrderByExpr, names: Names) -> Result<(), Refusal> {
    let OrderByExpr { expr, options: OrderByOptions { sort, nulls_first: _ }, with_fill } = item;
    if let Some(WithFill { from, to, step }) = with_fill {
        from.iter().chain(to).try_for_each(|end| check_expr(end, names.aliases()))?;
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
fn check_select(select: &Select, locks: usize) -> Result<Names, Refusal> {
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
    table.joins.iter().try_for_each(|join| check_join(join, locks))?;
    let names = check_table(&table.relation, selection.as_ref(), locks)?;
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
fn check_join(join: &Join, locks: usize) -> Result<(), Refusal> {
    let Join { relation, global: false, join_operator } = join else { return Err(Refusal::Construct("a join")) };
    let TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None } = relation else {
        return Err(Refusal::Table);
    };
    check_alias(alias)?;
    check(subquery, locks)?;
    match join_operator {
        JoinOperator::Inner(JoinConstraint::On(on)) | JoinOperator::Left(JoinConstraint::On(on)) => {
            check_expr(on, Names { of: Of::Columns, locks })
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
fn check_table(table: &TableFactor, selection: Option<&Expr>, locks: usize) -> Result<Names, Refusal> {
    match table {
        TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
            alias.iter().try_for_each(check_alias)?;
            check(subquery, locks)?;
            Ok(Names { of: Of::Aliases, locks })
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
            let of = columns_of(name).ok_or(Refusal::Table)?;
            let holds = |is: &dyn Fn(&Expr) -> bool| selection.is_some_and(|condition| any_term(condition, is));
            let of_shape = (of == Of::StateColumns).then_some("shape");
            for predicate in ["tenant", "app"].into_iter().chain(of_shape) {
                if !holds(&|term| is_predicate(term, predicate)) {
                    return Err(Refusal::MissingPredicate(predicate));
                }
            }
            match of {
                // Of the shape of what they were computed from, which has the locks.
                Of::StateColumns => {}
                Of::UserColumns if locks > 0 => return Err(Refusal::Table),
                _ => {
                    if !(0..locks).all(|lock| holds(&|term| is_lock(term, lock))) {
                        return Err(Refusal::MissingPredicate("lock"));
                    }
                }
            }
            Ok(Names { of, locks })
        }
        _ => Err(Refusal::Table),
    }
}

fn columns_of(table: &ObjectName) -> Option<Of> {
    let [ObjectNamePart::Identifier(Ident { value, quote_style: None, .. })] = table.0.as_slice() else { return None };
    match value.as_str() {
        "events" => Some(Of::Columns),
        "daily_users" => Some(Of::DailyColumns),
        "users" => Some(Of::UserColumns),
        "bucket_states" => Some(Of::StateColumns),
        _ => None,
    }
}

/// Whether one of the terms that AND joins at the top is so.
fn any_term(condition: &Expr, is: &dyn Fn(&Expr) -> bool) -> bool {
    let mut rest = condition;
    // AND binds to the left, so the terms hang down the left side.
    while let Expr::BinaryOp { left, op: BinaryOperator::And, right } = rest {
        if is(right) {
            return true;
        }
        rest = left;
    }
    is(rest)
}

/// Whether the term is `column = {column:String}`.
fn is_predicate(term: &Expr, column: &str) -> bool {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = term else { return false };
    let names = matches!(&**left, Expr::Identifier(id) if id.quote_style.is_none() && id.value == column);
    let binds = matches!(&**right, Expr::Value(v)
        if matches!(&v.value, Value::Placeholder(name) if name.strip_prefix(':') == Some(column)));
    names && binds
}

/// Whether the term is `(... IN ({lock0:Array(String)}))`, of this lock.
fn is_lock(term: &Expr, lock: usize) -> bool {
    let Expr::Nested(term) = term else { return false };
    let Expr::In { target: InTarget::List(list), negated: false, global: false, .. } = &**term else { return false };
    matches!(list.as_slice(), [Expr::Value(v)]
        if matches!(&v.value, Value::Placeholder(name) if *name == format!(":lock{lock}")))
}
