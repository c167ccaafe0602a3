//! Answers that are read in pieces, and can be gone on with wherever they broke off.
//!
//! What is read is pinned to a position of the log, so that nothing that is committed later is in it, be it ever so early by its
//! own time; and its rows come in one order. Single events come by time and place in the log, so the next piece is what lies behind the last
//! row. The rows of any other plan are ordered by all their columns, and are passed over again.

use std::ops::Range;

use model::Position;

use crate::{
    ast::CompareOp,
    plan::{Order, OrderBy, Output, Source},
    seal::SealedPlan,
    typed::{Expr, Field, Node},
    types::Type,
};

/// An event among all others of its app: by time, then by place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    /// When it happened, UTC ms.
    pub time_ms: i64,
    /// The life of the log that has it.
    pub incarnation: i64,
    /// Its partition.
    pub partition: i64,
    /// Its offset there.
    pub offset: i64,
}

impl EventPlace {
    /// How many columns hold one: time, incarnation, partition, offset.
    pub const COLUMNS: usize = ORDER.len();
}

/// By what events are ordered.
const ORDER: [Field; 4] = [Field::Timestamp, Field::Incarnation, Field::Partition, Field::Offset];

impl SealedPlan {
    /// The same question about what the log had before this position.
    pub fn as_of(&self, position: &Position) -> Self {
        let mut plan = self.plan().clone();
        plan.each(&mut |plan| {
            if !matches!(plan.source, Source::Plans(_)) {
                plan.filters.push(before(position));
            }
        });
        Self::new(plan, self.scope())
    }

    /// Whether its rows are single events in no other order than by time, all of them: then [`Self::piece`] reads some.
    pub fn is_of_events(&self) -> bool {
        let plan = self.plan();
        let by_time = plan.order.iter().all(|order| {
            let by = match &order.by {
                OrderBy::Output(place) => plan.outputs.get(*place).map(|output| &output.expr),
                OrderBy::Expr(expr) => Some(expr),
            };
            !order.descending && by.is_some_and(|by| by.node == Node::Field(Field::Timestamp))
        });
        by_time
            && plan.groups.is_none()
            && !plan.distinct
            && plan.limit.is_none()
            && plan.offset == 0
            && plan.is_plain()
    }

    /// Of the first or the last of its events the time, as the one column of at most one row.
    pub fn edge(&self, last: bool) -> Self {
        let mut plan = self.plan().clone();
        plan.outputs = vec![output(Field::Timestamp)];
        plan.order = vec![order(OrderBy::Output(0), last)];
        plan.limit = Some(1);
        Self::new(plan, self.scope())
    }

    /// Of its events those of these times, UTC ms, behind that place, in their order. The last [`EventPlace::COLUMNS`] columns are
    /// their places.
    pub fn piece(&self, times: &Range<i64>, after: Option<EventPlace>) -> Self {
        let mut plan = self.over(std::slice::from_ref(times)).plan().clone();
        plan.filters.extend(after.map(behind));
        plan.outputs.extend(ORDER.map(output));
        plan.order = ORDER.map(|field| order(OrderBy::Expr(self::field(field)), false)).into();
        Self::new(plan, self.scope())
    }

    /// The same rows in an order that leaves nothing open.
    pub fn ordered(&self) -> Self {
        let mut plan = self.plan().clone();
        let keys = plan.row_key();
        let others = (0..plan.outputs.len()).filter(|place| !keys.contains(place));
        let all: Vec<_> = keys.iter().copied().chain(others).collect();
        plan.order.extend(all.into_iter().map(|place| order(OrderBy::Output(place), false)));
        Self::new(plan, self.scope())
    }
}

/// What lies before each end, and what an earlier life of the log had.
fn before(position: &Position) -> Expr {
    let incarnation = integer(position.incarnation);
    let of_partition = |(partition, end): &(u32, u64)| {
        let is_it = compare(Field::Partition, CompareOp::Eq, integer((*partition).into()));
        condition(Node::All(vec![is_it, compare(Field::Offset, CompareOp::Lt, integer(*end))]))
    };
    let ends: Vec<_> = position.ends.iter().map(of_partition).collect();
    let earlier = compare(Field::Incarnation, CompareOp::Lt, incarnation.clone());
    if ends.is_empty() {
        return earlier;
    }
    let same = compare(Field::Incarnation, CompareOp::Eq, incarnation);
    condition(Node::Any(vec![earlier, condition(Node::All(vec![same, condition(Node::Any(ends))]))]))
}

/// What comes behind a place.
fn behind(place: EventPlace) -> Expr {
    let EventPlace { time_ms, incarnation, partition, offset } = place;
    let values = [Expr::new(Node::Time(time_ms), Type::Time, Default::default())].into_iter();
    let values = values.chain([incarnation, partition, offset].map(whole));
    let fields: Vec<_> = ORDER.into_iter().zip(values).collect();
    let behind = fields.into_iter().rev().fold(None, |less: Option<Expr>, (field, value)| {
        let greater = compare(field, CompareOp::Gt, value.clone());
        Some(match less {
            None => greater,
            Some(less) => {
                let equal = condition(Node::All(vec![compare(field, CompareOp::Eq, value), less]));
                condition(Node::Any(vec![greater, equal]))
            }
        })
    });
    behind.unwrap_or_else(|| condition(Node::Bool(true)))
}

fn field(field: Field) -> Expr {
    Expr::new(Node::Field(field), field.ty(), Default::default())
}

fn output(of: Field) -> Output {
    Output::new(String::new(), String::new(), field(of), &[])
}

fn order(by: OrderBy, descending: bool) -> Order {
    Order { by, descending, nulls_first: false }
}

/// Offsets and lives are far from the end of the numbers.
fn integer(value: u64) -> Expr {
    whole(i64::try_from(value).unwrap_or(i64::MAX))
}

fn whole(value: i64) -> Expr {
    Expr::new(Node::Integer(value), Type::Integer, Default::default())
}

fn compare(of: Field, op: CompareOp, value: Expr) -> Expr {
    condition(Node::Compare(op, Box::new(field(of)), Box::new(value)))
}

fn condition(node: Node) -> Expr {
    Expr::new(node, Type::Bool, Default::default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fixture::{plan, readable, schema, scope};

    fn sealed(sql: &str) -> SealedPlan {
        plan(sql).unwrap().seal(&scope(), &schema()).unwrap()
    }

    fn text(plan: &SealedPlan) -> String {
        readable(&plan.compile().unwrap())
    }

    #[test]
    fn a_piece_lies_behind_a_place_and_before_a_position() {
        let position = Position::new(9, vec![(1, 20), (0, 10)]);
        let plan = sealed("SELECT user_id FROM events WHERE timestamp >= '2024-05-01'").as_of(&position);
        let after = EventPlace { time_ms: 1_717_200_000_000, incarnation: 9, partition: 1, offset: 7 };
        let text = text(&plan.piece(&(1_717_200_000_000..1_717_203_600_000), Some(after)));
        for part in [
            "CAST(ts AS Nullable(DateTime64(3, 'UTC'))) AS c1, CAST(_incarnation AS Nullable(Int64)) AS c2, \
             CAST(_partition AS Nullable(Int64)) AS c3, CAST(_offset AS Nullable(Int64)) AS c4 FROM events",
            "WHERE tenant = {tenant:String} AND app = {app:String}",
            "((_incarnation < <9>) OR ((_incarnation = <9>) AND (((_partition = <0>) AND (_offset < <10>)) OR \
             ((_partition = <1>) AND (_offset < <20>)))))",
            "((ts > <2024-06-01 00:00:00.000>) OR ((ts = <2024-06-01 00:00:00.000>) AND ((_incarnation > <9>) OR \
             ((_incarnation = <9>) AND ((_partition > <1>) OR ((_partition = <1>) AND (_offset > <7>)))))))",
            " ORDER BY ts ASC NULLS LAST, _incarnation ASC NULLS LAST, _partition ASC NULLS LAST, _offset ASC NULLS LAST",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("2024-05-01"), "the piece's own times are in the place of the question's: {text}");
    }

    #[test]
    fn every_read_of_a_table_is_as_of_the_position_however_deep() {
        let position = Position::new(3, vec![(0, 5)]);
        for (sql, tables) in [
            ("SELECT COUNT(DISTINCT user_id) AS u FROM events", 1),
            ("SELECT user_id FROM events WHERE user_id IN (SELECT user_id FROM users WHERE plan = 'pro')", 2),
            ("SELECT a.user_id FROM events AS a JOIN (SELECT user_id FROM events) AS b ON a.user_id = b.user_id", 3),
            ("SELECT user_id FROM events UNION SELECT user_id FROM users", 2),
            ("SELECT COUNT(*) AS n, (SELECT MAX(code::number) FROM events) AS m FROM events", 2),
        ] {
            let text = text(&sealed(sql).as_of(&position));
            let reads = text.matches(" FROM events").count() + text.matches(" FROM users").count();
            assert_eq!((text.matches("_offset < <5>").count(), text.contains("daily_users")), (reads, false), "{text}");
            assert!(reads >= tables.min(2) || tables == 1, "{text}");
        }
    }

    #[test]
    fn events_are_told_from_other_answers_and_the_others_ordered_by_all_they_have() {
        for sql in ["SELECT user_id FROM events", "SELECT user_id, timestamp FROM events ORDER BY timestamp"] {
            assert!(sealed(sql).is_of_events(), "{sql}");
        }
        for sql in [
            "SELECT DISTINCT user_id FROM events",
            "SELECT user_id FROM events LIMIT 5",
            "SELECT user_id FROM events ORDER BY user_id",
            "SELECT user_id, timestamp FROM events ORDER BY timestamp DESC",
            "SELECT COUNT(*) AS n FROM events",
            "SELECT ROW_NUMBER() OVER (ORDER BY timestamp) AS n FROM events",
        ] {
            assert!(!sealed(sql).is_of_events(), "{sql}");
        }
        let grouped = sealed("SELECT COUNT(*) AS n, status FROM events GROUP BY status ORDER BY n DESC").ordered();
        let order = " ORDER BY c0 DESC NULLS FIRST, c1 ASC NULLS LAST, c0 ASC NULLS LAST";
        assert!(text(&grouped).ends_with(order), "{}", text(&grouped));
    }
}
