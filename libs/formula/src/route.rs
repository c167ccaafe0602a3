//! Which table a plan's answer is computed from: the narrowest that has everything the plan speaks of.
//!
//! `daily_users` has a row for each user and UTC day with the number of events. What asks for no more than users, counts and whole
//! UTC days gets the same answer from it, and reads a row a user and day in place of a row an event.

use std::fmt::{self, Display, Formatter};

use model::DAY_MS;

use crate::{
    ast::CompareOp,
    functions::Aggregation,
    grain::Grain,
    plan::{Groups, Plan, Source},
    typed::{Aggregate, Expr, FIELDS, Field, Node},
};

/// Where the rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// The events themselves.
    Raw(Obstacle),
    /// The rollup of users by UTC day.
    DailyUsers,
    /// States that were computed before, and the events of what they leave.
    States,
}

/// What of a plan the rollup can't answer: the first such thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// Single events are asked for.
    Rows,
    /// A column or property that the rollup doesn't have.
    Name(String),
    /// A time that isn't a whole UTC day's.
    Time,
    /// An aggregate of anything but events and users.
    Aggregate,
    /// What is known of users is asked for, not what they did.
    Users,
    /// The caller wants no rollup.
    Unwanted,
}

impl Display for Route {
    /// Why this route, and why not the other.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::DailyUsers => {
                return f
                    .write_str("rollup: users and their events by UTC day (daily_users) have all that is asked for");
            }
            Self::States => {
                return f.write_str(
                    "states: put together from those of whole UTC hours and days, and the events of what is left",
                );
            }
            Self::Raw(Obstacle::Rows) => "it has no single events",
            Self::Raw(Obstacle::Name(name)) => {
                return write!(f, "raw: computed from the events; not from daily_users, which has no `{name}`");
            }
            Self::Raw(Obstacle::Time) => "it has whole UTC days alone",
            Self::Raw(Obstacle::Aggregate) => "it counts events and users alone",
            Self::Raw(Obstacle::Users) => "it has nothing that is known of users",
            Self::Raw(Obstacle::Unwanted) => "the question's options leave it out",
        };
        write!(f, "raw: computed from the events; not from daily_users, since {why}")
    }
}

impl Plan {
    /// The table that can answer it.
    pub(crate) fn route(&self) -> Route {
        let own = match self.source {
            Source::Plans(_) => None,
            Source::Users => Some(Route::Raw(Obstacle::Users)),
            Source::Events => Some(self.own_route()),
        };
        // All plans in it come from the rollup, or the first that doesn't says why.
        let routes = own.into_iter().chain(self.nested().into_iter().map(Self::route));
        routes.reduce(|a, b| if a == Route::DailyUsers { b } else { a }).unwrap_or(Route::Raw(Obstacle::Rows))
    }

    /// The table of events that this plan itself reads.
    pub(crate) fn own_route(&self) -> Route {
        if !self.joins.is_empty() {
            return Route::Raw(Obstacle::Rows);
        }
        let Some(groups) = &self.groups else { return Route::Raw(Obstacle::Rows) };
        match self.filters.iter().chain(&groups.keys).try_for_each(fits).and_then(|()| aggregates(groups)) {
            Ok(()) => Route::DailyUsers,
            Err(obstacle) => Route::Raw(obstacle),
        }
    }
}

fn aggregates(groups: &Groups) -> Result<(), Obstacle> {
    groups.aggregates.iter().try_for_each(|Aggregate { aggregation, args, filter }| {
        use Aggregation::{ApproximateDistinct, Distinct, Rows, Values};
        match (aggregation, args.as_slice()) {
            (Rows, _) => {}
            (Values | Distinct | ApproximateDistinct, [arg]) if arg.node == Node::Field(Field::UserId) => {}
            (_, args) => {
                args.iter().try_for_each(fits)?;
                return Err(Obstacle::Aggregate);
            }
        }
        filter.iter().try_for_each(fits)
    })
}

/// Whether an expression over events is the same for all events of a user and UTC day, and can be computed from these.
fn fits(expr: &Expr) -> Result<(), Obstacle> {
    match &expr.node {
        Node::Field(Field::UserId | Field::AppId) => Ok(()),
        Node::Field(Field::Timestamp) => Err(Obstacle::Time),
        Node::Field(field) => {
            let name = FIELDS.iter().find(|(_, known)| known == field).map_or("", |(name, _)| name);
            Err(Obstacle::Name(name.to_owned()))
        }
        Node::Property(property) => Err(Obstacle::Name(property.name.to_string())),
        Node::Truncate(grain, zone, inner)
            if *grain >= Grain::Day && zone.name() == "UTC" && inner.node == Node::Field(Field::Timestamp) =>
        {
            Ok(())
        }
        Node::Compare(op, left, right) if left.node == Node::Field(Field::Timestamp) => match right.node {
            Node::Time(ms) if parts_days(*op, ms) => Ok(()),
            _ => Err(Obstacle::Time),
        },
        _ => expr.children().into_iter().try_for_each(fits),
    }
}

/// Whether the comparison with this instant is true of all instants of a UTC day, or of none.
fn parts_days(op: CompareOp, ms: i64) -> bool {
    match op {
        CompareOp::Ge | CompareOp::Lt => ms.rem_euclid(DAY_MS) == 0,
        CompareOp::Gt | CompareOp::Le => ms.rem_euclid(DAY_MS) == DAY_MS - 1,
        _ => false,
    }
}
