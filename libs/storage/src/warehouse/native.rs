//! The Native format, as far as inserts need it: one block, column by column, as ClickHouse writes it over HTTP.

/// Appends an unsigned LEB128 number: how Native writes counts and lengths.
pub(super) fn put_varuint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a length and the bytes.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_bytes(text.as_bytes(), out);
}

pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varuint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// One column's values, at least as many as it was last padded to.
pub(super) trait WireColumn {
    /// Whether any row has a value of its own; the block leaves the others out, and the server fills in the default.
    fn is_used(&self) -> bool;
    /// About how many bytes [`WireColumn::write`] appends.
    fn wire_bytes(&self, rows: usize) -> usize;
    /// Appends what precedes the values of the type, then the values of `rows` rows; missing ones are the default.
    fn write(&self, rows: usize, out: &mut Vec<u8>);
}

/// Appends a block of the named columns that are used.
pub(super) fn write_block(columns: &[(&str, &str, &dyn WireColumn)], rows: usize) -> Vec<u8> {
    let used = || columns.iter().filter(|(_, _, column)| column.is_used());
    let bytes: usize = used().map(|(name, kind, column)| name.len() + kind.len() + 2 + column.wire_bytes(rows)).sum();
    let mut out = Vec::with_capacity(bytes + 20);
    put_varuint(used().count() as u64, &mut out);
    put_varuint(rows as u64, &mut out);
    for (name, kind, column) in used() {
        put_text(name, &mut out);
        put_text(kind, &mut out);
        column.write(rows, &mut out);
    }
    out
}
