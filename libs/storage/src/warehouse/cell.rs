use clickhouse::native::DataTypeNode;
use model::DAY_MS;

use super::{WarehouseError, blocks::broken};

/// One value of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// From Float64 and Float32.
    Number(f64),
    /// From the integer types up to 64 bits.
    Integer(i64),
    /// From String. Bytes that aren't UTF-8 are replaced.
    String(String),
    /// From Bool.
    Bool(bool),
    /// UTC ms, from DateTime64, DateTime and Date.
    Time(i64),
}

/// Some rows of a result, column by column.
#[derive(Debug, Clone, PartialEq)]
pub struct RowBlock {
    /// How many rows there are; every column has as many cells.
    pub rows: usize,
    /// The columns in the order of the statement.
    pub columns: Vec<ResultColumn>,
}

/// One column of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultColumn {
    /// Its name in the statement.
    pub name: String,
    /// Its values, one a row.
    pub cells: Vec<Cell>,
}

impl RowBlock {
    /// The rows, each with its cells in the order of the columns.
    pub fn into_rows(self) -> impl Iterator<Item = Vec<Cell>> {
        let mut columns: Vec<_> = self.columns.into_iter().map(|column| column.cells.into_iter()).collect();
        (0..self.rows).map(move |_| columns.iter_mut().filter_map(Iterator::next).collect())
    }
}

/// How a value of a type lies in its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Text,
    Bool,
    F64,
    F32,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Days,
    Seconds,
    /// Ticks of 10^-n seconds.
    Ticks(u32),
}

/// The form under Nullable and LowCardinality; none for types that no statement of ours returns.
pub(super) fn form(data_type: &DataTypeNode) -> Option<Form> {
    use DataTypeNode as Type;
    Some(match data_type {
        Type::Nullable(inner) | Type::LowCardinality(inner) => return form(inner),
        Type::String => Form::Text,
        Type::Bool => Form::Bool,
        Type::Float64 => Form::F64,
        Type::Float32 => Form::F32,
        Type::Int64 => Form::I64,
        Type::Int32 => Form::I32,
        Type::Int16 => Form::I16,
        Type::Int8 => Form::I8,
        Type::UInt64 => Form::U64,
        Type::UInt32 => Form::U32,
        Type::UInt16 => Form::U16,
        Type::UInt8 => Form::U8,
        Type::Date => Form::Days,
        Type::DateTime(_) => Form::Seconds,
        Type::DateTime64(precision, _) => Form::Ticks(precision.clone() as u32),
        _ => return None,
    })
}

impl Form {
    /// How many bytes a value has; none for texts, which say so themselves.
    pub(super) fn width(self) -> Option<usize> {
        Some(match self {
            Self::Text => return None,
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::Days => 2,
            Self::F32 | Self::I32 | Self::U32 | Self::Seconds => 4,
            Self::F64 | Self::I64 | Self::U64 | Self::Ticks(_) => 8,
        })
    }

    /// A value of as many bytes.
    pub(super) fn read(self, bytes: &[u8]) -> Result<Cell, WarehouseError> {
        macro_rules! read {
            ($number:ty) => {
                <$number>::from_le_bytes(bytes.try_into().map_err(|_| broken("a value has another width"))?)
            };
        }
        Ok(match self {
            Self::Text => Cell::String(String::from_utf8_lossy(bytes).into_owned()),
            Self::Bool => Cell::Bool(read!(u8) != 0),
            Self::F64 => Cell::Number(read!(f64)),
            Self::F32 => Cell::Number(f64::from(read!(f32))),
            Self::I64 => Cell::Integer(read!(i64)),
            Self::I32 => Cell::Integer(i64::from(read!(i32))),
            Self::I16 => Cell::Integer(i64::from(read!(i16))),
            Self::I8 => Cell::Integer(i64::from(read!(i8))),
            Self::U64 => Cell::Integer(
                i64::try_from(read!(u64)).map_err(|_| broken("a number is larger than 64 bits with a sign"))?,
            ),
            Self::U32 => Cell::Integer(i64::from(read!(u32))),
            Self::U16 => Cell::Integer(i64::from(read!(u16))),
            Self::U8 => Cell::Integer(i64::from(read!(u8))),
            Self::Days => Cell::Time(i64::from(read!(u16)) * DAY_MS),
            Self::Seconds => Cell::Time(i64::from(read!(u32)) * 1000),
            Self::Ticks(digits) => Cell::Time(to_ms(read!(i64), digits)),
        })
    }
}

/// Ticks of 10^-`digits` seconds in milliseconds, rounded down.
fn to_ms(ticks: i64, digits: u32) -> i64 {
    match digits {
        ..=3 => ticks.saturating_mul(10i64.pow(3 - digits)),
        _ => ticks.div_euclid(10i64.pow(digits - 3)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(kind: &str, bytes: &[u8]) -> Result<Cell, WarehouseError> {
        form(&DataTypeNode::new(kind).unwrap()).unwrap().read(bytes)
    }

    #[test]
    fn every_type_that_a_statement_returns_becomes_a_cell() {
        use Cell::{Bool, Integer, Number, Time};
        for (kind, bytes, cell) in [
            ("Float64", &1.5f64.to_le_bytes()[..], Number(1.5)),
            ("Nullable(Float64)", &f64::INFINITY.to_le_bytes(), Number(f64::INFINITY)),
            ("Float32", &0.25f32.to_le_bytes(), Number(0.25)),
            ("Nullable(Int64)", &i64::MIN.to_le_bytes(), Integer(i64::MIN)),
            ("Int8", &[0xff], Integer(-1)),
            ("UInt64", &(1u64 << 40).to_le_bytes(), Integer(1 << 40)),
            ("UInt16", &[1, 2], Integer(513)),
            ("Nullable(Bool)", &[1], Bool(true)),
            ("Nullable(DateTime64(3, 'UTC'))", &(-1i64).to_le_bytes(), Time(-1)),
            ("DateTime64(6)", &1_500i64.to_le_bytes(), Time(1)),
            ("DateTime64(6)", &(-1i64).to_le_bytes(), Time(-1)),
            ("Date", &[0, 1], Time(256 * DAY_MS)),
            ("DateTime", &[1, 0, 0, 0], Time(1_000)),
            ("LowCardinality(Nullable(String))", "ä".as_bytes(), Cell::String("ä".into())),
        ] {
            assert_eq!(read(kind, bytes).unwrap(), cell, "{kind}");
        }
    }

    #[test]
    fn what_fits_no_cell_is_an_error() {
        assert!(matches!(read("UInt64", &[0xff; 8]), Err(WarehouseError::Protocol(_))));
        assert!(matches!(read("UInt64", &[0xff; 7]), Err(WarehouseError::Protocol(_))));
        assert!(form(&DataTypeNode::new("Array(UInt8)").unwrap()).is_none());
    }
}
