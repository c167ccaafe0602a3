//! Two answers to one question, held against each other.

use std::{cmp::Ordering, fmt};

use api::v1::{self, value::Kind};

/// A value of either engine. Whole numbers are numbers: both engines' counts stay far below 2^53.
#[derive(Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Number(f64),
    Time(i64),
    Text(String),
}

/// How near a column must be, where it can't be equal. Each reads its scale from the further columns that the other
/// engine's answer has at its end, in order.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// Within this share of the next further column: for a sum, the sum of absolute values.
    Within(f64),
    /// Between the next two further columns, ends included, or beyond by [`INTERPOLATED`].
    Between,
}

/// A sketch that means the value at a bound may say a little more or less, between it and the next: the data's are whole minutes and
/// speeds of hundreds.
const INTERPOLATED: f64 = 0.01;

/// And it has floats of 24 bits.
const SINGLE: f64 = 1.0 / (1 << 23) as f64;

/// A sum of floats depends on the order of its terms: 1e-9 of the sum of absolute values.
pub const ROUNDING: Bound = Bound::Within(1e-9);

impl Cell {
    pub fn of_wire(value: v1::Value) -> Self {
        match value.kind.expect("a value of a result has a kind") {
            Kind::Null(_) => Self::Null,
            Kind::Bool(b) => Self::Bool(b),
            Kind::Number(x) => Self::Number(x),
            Kind::Integer(i) => Self::Number(i as f64),
            Kind::Time(t) => Self::Time(t.seconds * 1_000 + i64::from(t.nanos) / 1_000_000),
            Kind::String(text) => Self::Text(text),
        }
    }

    /// Reads the tagged texts of `answers.py`.
    pub fn of_tagged(value: &serde_json::Value) -> Self {
        let Some(text) = value.as_str() else { return Self::Null };
        let (tag, text) = text.split_once(':').unwrap();
        match tag {
            "b" => Self::Bool(text.parse().unwrap()),
            "i" | "n" => Self::Number(text.parse().unwrap()),
            "t" => Self::Time(text.parse().unwrap()),
            _ => Self::Text(text.to_owned()),
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => (a + 0.0).total_cmp(&(b + 0.0)), // -0 is 0
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Time(_) => 3,
            Self::Text(_) => 4,
        }
    }

    /// Whether it is as near to the other as its bound asks; takes what it needs of the further columns.
    fn agrees(&self, other: &Self, bound: Option<Bound>, further: &mut impl Iterator<Item = Self>) -> bool {
        let mut number = || match further.next().expect("the question gives each bound its scale") {
            Self::Number(x) => x,
            _ => f64::NAN,
        };
        match (bound, self, other) {
            (None, ours, theirs) => ours == theirs,
            (Some(Bound::Within(share)), ours, theirs) => {
                let scale = number();
                match (ours, theirs) {
                    (Self::Number(a), Self::Number(b)) => a == b || (a - b).abs() <= share * scale,
                    (ours, theirs) => ours == theirs,
                }
            }
            (Some(Bound::Between), ours, _) => {
                let (low, high) = (number(), number());
                // Of no values there is no sketch.
                let nothing = low.is_nan() && high.is_nan() && *ours == Self::Null;
                let (less, more) = (INTERPOLATED + SINGLE * low.abs(), INTERPOLATED + SINGLE * high.abs());
                nothing || matches!(ours, Self::Number(x) if (low - less..=high + more).contains(x))
            }
        }
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Number(x) => write!(f, "{x}"),
            Self::Time(ms) => write!(f, "@{ms}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Says where the answers differ, if they do. `bounds` names the columns that need not be equal.
pub fn difference(
    mut ours: Vec<Vec<Cell>>,
    mut theirs: Vec<Vec<Cell>>,
    any_order: bool,
    bounds: &[(usize, Bound)],
) -> Option<String> {
    if any_order {
        let exact = |row: &[Cell]| -> Vec<Cell> {
            let kept = row.iter().enumerate().filter(|(i, _)| bounds.iter().all(|(column, _)| i != column));
            kept.map(|(_, cell)| cell.clone()).collect()
        };
        let order = |a: &Vec<Cell>, b: &Vec<Cell>| {
            let pairs = exact(a).into_iter().zip(exact(b)).map(|(a, b)| a.order(&b)).find(|order| order.is_ne());
            pairs.unwrap_or(Ordering::Equal)
        };
        ours.sort_by(order);
        theirs.sort_by(order);
    }
    let wrong = ours.iter().zip(&theirs).position(|(ours, theirs)| !same_row(ours, theirs, bounds));
    let said = match wrong {
        Some(row) => format!("row {row} differs: {:?} is not {:?}", ours[row], theirs[row]),
        None if ours.len() != theirs.len() => format!("{} rows, not {}", ours.len(), theirs.len()),
        None => return None,
    };
    let around = wrong.unwrap_or(0).saturating_sub(3);
    let shown = |rows: &[Vec<Cell>]| -> String {
        rows.iter().enumerate().skip(around).take(8).map(|(i, row)| format!("    {i}: {row:?}\n")).collect()
    };
    Some(format!("{said}\n  ours:\n{}  theirs:\n{}", shown(&ours), shown(&theirs)))
}

fn same_row(ours: &[Cell], theirs: &[Cell], bounds: &[(usize, Bound)]) -> bool {
    if theirs.len() < ours.len() {
        return false;
    }
    let (theirs, further) = theirs.split_at(ours.len());
    let mut further = further.iter().cloned();
    let agree = ours.iter().zip(theirs).enumerate().all(|(i, (ours, theirs))| {
        let bound = bounds.iter().find(|(column, _)| *column == i).map(|(_, bound)| *bound);
        ours.agrees(theirs, bound, &mut further)
    });
    agree && further.next().is_none()
}

#[test]
fn answers_that_differ_are_told_apart() {
    let row = |numbers: &[f64]| numbers.iter().map(|x| Cell::Number(*x)).collect::<Vec<_>>();
    let (ours, theirs) =
        (vec![row(&[1.0, 100.0]), row(&[2.0, 5.0])], vec![row(&[2.0, 5.0, 9.0]), row(&[1.0, 100.05, 99.0])]);
    let near = [(1, Bound::Within(1e-3))];
    assert_eq!(difference(ours.clone(), theirs.clone(), true, &near), None);
    assert!(difference(ours.clone(), theirs.clone(), false, &near).is_some());
    assert!(difference(ours.clone(), theirs.clone(), true, &[(1, ROUNDING)]).is_some());
    assert!(difference(ours.clone(), theirs[..1].to_vec(), true, &near).is_some());
    assert!(difference(ours, vec![row(&[1.0, 100.0]), row(&[2.0, 5.0])], true, &[]).is_none());
    let sketch = |x: f64| difference(vec![row(&[x])], vec![row(&[5.0, 4.0, 6.0])], false, &[(0, Bound::Between)]);
    assert!(sketch(6.0).is_none() && sketch(6.5).is_some());
    assert!(difference(vec![vec![Cell::Null]], vec![row(&[0.0])], false, &[]).is_some());
}
