use clickhouse::native::{
    Block, DataTypeNode,
    decode::{Decode, ValueReader},
};
use model::DAY_MS;

use super::WarehouseError;

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
    pub(super) fn decode(block: &Block) -> Result<Self, WarehouseError> {
        let columns = block.columns().iter().map(|column| {
            let cells = column.iter::<Cell>()?.collect::<Result<Vec<_>, _>>()?;
            let name = String::from_utf8_lossy(column.name_bytes()).into_owned();
            Ok(ResultColumn { name, cells })
        });
        Ok(Self { rows: block.num_rows(), columns: columns.collect::<Result<_, clickhouse::error::Error>>()? })
    }

    /// The rows, each with its cells in the order of the columns.
    pub fn into_rows(self) -> impl Iterator<Item = Vec<Cell>> {
        let mut columns: Vec<_> = self.columns.into_iter().map(|column| column.cells.into_iter()).collect();
        (0..self.rows).map(move |_| columns.iter_mut().filter_map(Iterator::next).collect())
    }
}

/// How a value of a type lies in its bytes.
#[derive(Clone, Copy)]
enum Form {
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
fn form(data_type: &DataTypeNode) -> Option<Form> {
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

impl Decode<'_> for Cell {
    fn compatible(data_type: &DataTypeNode) -> bool {
        form(data_type).is_some()
    }

    fn decode(reader: &mut ValueReader<'_>) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        macro_rules! read {
            ($number:ty) => {
                <$number>::from_le_bytes(*reader.read_bytes_fixed()?)
            };
        }
        let form = form(reader.data_type()).ok_or_else(|| format!("{} is not a cell", reader.data_type()))?;
        Ok(match form {
            Form::Text => Self::String(String::from_utf8_lossy(reader.native_bytes()).into_owned()),
            Form::Bool => Self::Bool(read!(u8) != 0),
            Form::F64 => Self::Number(read!(f64)),
            Form::F32 => Self::Number(f64::from(read!(f32))),
            Form::I64 => Self::Integer(read!(i64)),
            Form::I32 => Self::Integer(i64::from(read!(i32))),
            Form::I16 => Self::Integer(i64::from(read!(i16))),
            Form::I8 => Self::Integer(i64::from(read!(i8))),
            Form::U64 => Self::Integer(i64::try_from(read!(u64))?),
            Form::U32 => Self::Integer(i64::from(read!(u32))),
            Form::U16 => Self::Integer(i64::from(read!(u16))),
            Form::U8 => Self::Integer(i64::from(read!(u8))),
            Form::Days => Self::Time(i64::from(read!(u16)) * DAY_MS),
            Form::Seconds => Self::Time(i64::from(read!(u32)) * 1000),
            Form::Ticks(digits) => Self::Time(to_ms(read!(i64), digits)),
        })
    }

    fn decode_null(_: &DataTypeNode) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self::Null)
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
    use clickhouse::native::{
        builder::BlockBuilder,
        encode::{Encode, ValueWriter},
    };

    use super::*;

    /// A value whose type and bytes the test gives.
    struct Raw<const TYPE: usize>(Option<Vec<u8>>);

    const TYPES: [&str; 3] = ["Nullable(DateTime64(3, 'UTC'))", "Date", "DateTime64(6)"];

    impl<const TYPE: usize> Encode for Raw<TYPE> {
        fn produces() -> DataTypeNode {
            DataTypeNode::new(TYPES[TYPE]).unwrap()
        }

        fn encode(&self, writer: &mut ValueWriter<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            match &self.0 {
                None => writer.write_null()?,
                Some(bytes) => writer.write_fixed(bytes)?,
            }
            Ok(())
        }
    }

    fn ticks<const TYPE: usize>(n: i64) -> Raw<TYPE> {
        Raw(Some(n.to_le_bytes().to_vec()))
    }

    #[test]
    fn every_type_that_a_statement_returns_becomes_a_cell() {
        let mut builder = BlockBuilder::new();
        builder.upsert_column("n").unwrap().add_all([Some(1.5f64), None]).unwrap();
        builder.upsert_column("i").unwrap().add_all([None, Some(i64::MIN)]).unwrap();
        builder.upsert_column("s").unwrap().add_all([Some("a"), None]).unwrap();
        builder.upsert_column("b").unwrap().add_all([Some(true), None]).unwrap();
        builder.upsert_column("t").unwrap().add_all([ticks::<0>(-1), Raw::<0>(None)]).unwrap();
        builder.upsert_column("c").unwrap().add_all([7u64, 1 << 40]).unwrap();
        builder.upsert_column("d").unwrap().add_all([Raw::<1>(Some(vec![1, 0])), Raw::<1>(Some(vec![0, 1]))]).unwrap();
        builder.upsert_column("u").unwrap().add_all([ticks::<2>(1_500), ticks::<2>(-1)]).unwrap();
        builder.upsert_column("x").unwrap().add_all([0.25f64, f64::INFINITY]).unwrap();
        builder.upsert_column("y").unwrap().add_all(["", "ä"]).unwrap();
        let block = RowBlock::decode(&builder.build().unwrap()).unwrap();

        let names: Vec<_> = block.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["n", "i", "s", "b", "t", "c", "d", "u", "x", "y"]);
        let rows: Vec<_> = block.into_rows().collect();
        let text = |s: &str| Cell::String(s.into());
        use Cell::{Bool, Integer, Null, Number, Time};
        let first = [
            Number(1.5),
            Null,
            text("a"),
            Bool(true),
            Time(-1),
            Integer(7),
            Time(DAY_MS),
            Time(1),
            Number(0.25),
            text(""),
        ];
        let second = [
            Null,
            Integer(i64::MIN),
            Null,
            Null,
            Null,
            Integer(1 << 40),
            Time(256 * DAY_MS),
            Time(-1),
            Number(f64::INFINITY),
            text("ä"),
        ];
        assert_eq!(rows, [first.to_vec(), second.to_vec()]);
    }

    #[test]
    fn what_fits_no_cell_is_an_error() {
        let mut builder = BlockBuilder::new();
        builder.upsert_column("c").unwrap().add_all([u64::MAX]).unwrap();
        assert!(matches!(RowBlock::decode(&builder.build().unwrap()), Err(WarehouseError::Protocol(_))));
        builder.upsert_column("a").unwrap().add_all([vec![1u8]]).unwrap();
        assert!(matches!(RowBlock::decode(&builder.build().unwrap()), Err(WarehouseError::Protocol(_))));
    }
}
