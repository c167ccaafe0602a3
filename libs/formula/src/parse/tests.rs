#![allow(clippy::unwrap_used)]

use super::{expression, query};
use crate::ast::{BinaryOp, CompareOp, Expr, Node};

/// The tree in brackets, operator first.
fn tree(expr: &Expr) -> String {
    let list = |word: &str, list: &[Expr]| format!("({word} {})", list.iter().map(tree).collect::<Vec<_>>().join(" "));
    match &expr.node {
        Node::Integer(i) => i.to_string(),
        Node::Number(x) => format!("{x:?}"),
        Node::Text(text) => format!("'{text}'"),
        Node::Name(name) => name.qualifier.iter().map(|q| format!("{}.", q.text)).collect::<String>() + &name.name,
        Node::Negate(a) => format!("(neg {})", tree(a)),
        Node::Not(a) => format!("(not {})", tree(a)),
        Node::IsNull(a) => format!("(null? {})", tree(a)),
        Node::All(terms) => list("and", terms),
        Node::Any(terms) => list("or", terms),
        Node::Binary(op, a, b) => {
            let op = match op {
                BinaryOp::Add => "+",
                BinaryOp::Subtract => "-",
                BinaryOp::Multiply => "*",
                BinaryOp::Divide => "/",
                BinaryOp::Remainder => "%",
                BinaryOp::Concat => "||",
                BinaryOp::Compare(CompareOp::Eq) => "=",
                BinaryOp::Compare(op) => op.symbol(),
            };
            format!("({op} {} {})", tree(a), tree(b))
        }
        Node::In(a, items) => format!("(in {} {})", tree(a), list("list", items)),
        Node::Between(a, low, high) => format!("(between {} {} {})", tree(a), tree(low), tree(high)),
        Node::Cast { value, to } => format!("(cast {} {})", tree(value), to.text),
        Node::AtTimeZone(a, zone) => format!("(at {} {})", tree(a), tree(zone)),
        Node::Interval(i) => format!("[{}m {}d {}ms]", i.months, i.days, i.ms),
        Node::Call(call) => list(&call.name.text, &call.args),
        other => format!("{other:?}"),
    }
}

fn check(text: &str, want: &str) {
    assert_eq!(tree(&expression(text).unwrap()), want, "{text}");
}

#[test]
fn operators_bind_as_in_postgresql() {
    check("1 + 2 * 3 - 4", "(- (+ 1 (* 2 3)) 4)");
    check("(1 + 2) * -3", "(* (+ 1 2) -3)");
    check("-a * b", "(* (neg a) b)");
    check("a = 1 or b = 2 and not c = 3", "(or (= a 1) (and (= b 2) (not (= c 3))))");
    check("a and b and c", "(and a b c)");
    check("a between 1 and 2 and b", "(and (between a 1 2) b)");
    check("a not in (1, 2) or b is not null", "(or (not (in a (list 1 2))) (not (null? b)))");
    check("a || 'x' = b", "(= (|| a 'x') b)");
    check("a::number / b::integer", "(/ (cast a number) (cast b integer))");
    check("t at time zone 'UTC' - interval 1 day", "(- (at t 'UTC') [0m 1d 0ms])");
    check("a + b > c - d", "(> (+ a b) (- c d))");
}

#[test]
fn forms_have_their_spellings() {
    check("interval '2 hours'", "[0m 0d 7200000ms]");
    check("interval '1' month", "[1m 0d 0ms]");
    check("now() - '7 days'::interval", "(- (now ) [0m 7d 0ms])");
    check("interval -'1 day'", "[0m -1d 0ms]");
    check("interval -1 day", "[0m -1d 0ms]");
    check("cast(a as double precision)", "(cast a double)");
    check("properties.\"page.url\"", "properties.page.url");
    check("position('a' in b)", "(position 'a' b)");
    check("count(distinct (a, b))", "(count a b)");
    check("9007199254740993", "9007199254740992.0");
}

#[test]
fn faults_say_what_was_expected() {
    for (text, want) in [
        ("1 +", "found the end of the text, expected a field, a value or a function"),
        ("sum(a", "found the end of the text, expected `)` after the arguments"),
        ("a in ()", "found `)`, expected an item of the list"),
        ("case 1 end", "found `end`, expected WHEN in this CASE"),
        ("a between 1 or 2", "found `or`, expected AND between the bounds of BETWEEN"),
        ("a b", "found `b`, expected the end of the expression"),
        ("a similar to 'b%'", "SIMILAR TO is not available; write LIKE, ILIKE or CONTAINS"),
        ("a not similar to 'b%'", "SIMILAR TO is not available; write LIKE, ILIKE or CONTAINS"),
        ("exists(select 1)", "EXISTS and ANY are not available; write x IN (SELECT ...)"),
        ("a in (select b from c)", "a formula holds no query; write a SELECT instead"),
        ("sum(a) over w", "windows have no names; write the window itself, as in OVER (ORDER BY day)"),
        (
            "sum(a) over (order by b range 1 preceding)",
            "frames are counted in ROWS, as in ROWS BETWEEN 6 PRECEDING AND CURRENT ROW",
        ),
        ("sum(a) over (order by b rows 6)", "found `)`, expected PRECEDING or FOLLOWING"),
        ("sum(a) over (order by b rows between 1 following and 1 preceding)", "this frame ends before it begins"),
        ("1e999", "this number is too large; a number is a 64-bit float"),
    ] {
        assert_eq!(expression(text).unwrap_err().message, want, "{text}");
    }
}

#[test]
fn other_engines_clauses_are_named() {
    for (text, want) in [
        ("select a from url('x')", "table functions are not available"),
        ("select a from generate_series(1, 2)", "a typed query with `fill`"),
        ("select a from events, users", "tables stand apart by JOIN"),
        ("select a from events e join users u", "expected ON, as in JOIN users ON"),
        ("select a from events right join users on true", "for RIGHT JOIN exchange the tables"),
        ("select a from events full outer join users on true", "there are JOIN, LEFT JOIN and CROSS JOIN"),
        ("select a from events natural join users", "there are JOIN, LEFT JOIN and CROSS JOIN"),
        ("select a from events except select b from events", "write x IN (SELECT ...) or NOT IN"),
        ("select a from events union select b from events union all select c from events", "don't mix"),
        ("with recursive x as (select 1) select a from x", "WITH RECURSIVE is not available"),
        ("with x(a) as (select 1) select a from x", "name the columns in the query itself"),
        ("select distinct on (a) a from events", "ROW_NUMBER() OVER (PARTITION BY"),
        ("select a from events settings max_threads = 1", "SETTINGS are not available"),
        ("select a from events where b format JSON", "FORMAT is not available"),
        ("select a from events into outfile 'x'", "INTO is not available"),
        ("select a from events final", "FINAL and SAMPLE are not available"),
        ("select a from events limit 1 by a", "LIMIT BY is not available"),
        ("select a from events limit 1.5", "LIMIT takes a whole number"),
        ("select a from events group by all", "GROUP BY ALL is not available"),
        ("select a from events; drop table events", "one call runs one statement"),
        ("insert into events values (1)", "expected SELECT; a query only reads"),
        ("", "the query is empty"),
    ] {
        let message = query(text).unwrap_err().message;
        assert!(message.contains(want), "{text}: {message}");
    }
}

#[test]
fn what_is_too_large_is_refused_at_once() {
    for text in [
        "(".repeat(64 * 1024),
        "not ".repeat(16_000),
        "-".repeat(2) + &"(-".repeat(30_000),
        "case when ".repeat(6_000),
        "a + ".repeat(10_000) + "a",
        "f(".repeat(30_000),
        format!("a in ({}1)", "1,".repeat(25_000)),
        "count(distinct (".repeat(4_000),
        "x".repeat(65 * 1024),
    ] {
        assert!(expression(&text).is_err(), "{}", &text[..20]);
    }
    assert!(expression(&("a or ".repeat(5_000) + "a")).is_ok());
    for open in ["select a from (", "select (", "select a from b where c in (", "with x as ("] {
        let message = query(&open.repeat(1_000)).unwrap_err().message;
        assert!(message.starts_with("queries stand more than 12 deep"), "{open}: {message}");
    }
}

#[test]
fn comments_and_a_semicolon_are_fine() {
    let query = query("select a /* b, */ from events -- all\n where x and (y and z) ;").unwrap();
    assert_eq!((query.selects[0].items.len(), query.selects[0].filter.len()), (1, 3));
}
