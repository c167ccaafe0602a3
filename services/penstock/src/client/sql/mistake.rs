//! A refusal, with what is wrong in the text underlined.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use crate::client::ClientError;

/// What the service says against a text: the line that is wrong, its fault underlined, and what would be right.
pub(super) fn of(sql: &str, status: tonic::Status) -> ClientError {
    let error = api::status::from_status(&status);
    let [violation] = error.violations.as_slice() else {
        return status.into();
    };
    let Some(text) = violation.span.and_then(|span| underline(sql, span)) else {
        return status.into();
    };
    let underlined = format!("{}: {}\n{text}{}", error.code.reason(), violation.field, violation.description);
    ClientError::Underlined { underlined, status: Box::new(status) }
}

/// The line in which the bytes begin, and a line under it that points at them and ends in a blank.
fn underline(sql: &str, (start, end): (usize, usize)) -> Option<String> {
    let before = sql.get(..start)?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = sql[line_start..].lines().next().unwrap_or_default();
    // A fault may be at the very end of its line, where what ends the line has two bytes.
    let end = end.clamp(start, (line_start + line.len()).max(start));
    let width = sql.get(start..end)?.width().max(1);
    let number = before.matches('\n').count() + 1;
    let margin = if sql.trim().contains('\n') { format!("{number} | ") } else { "  ".to_owned() };
    let mut text = format!("{margin}{}\n", line.replace('\t', " "));
    let pad = margin.width() + sql[line_start..start].replace('\t', " ").width();
    let _ = write!(text, "{:pad$}{} ", "", "^".repeat(width)); // a String takes all
    Some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_is_underlined_in_its_line() {
        assert_eq!(underline("SELECT x", (7, 8)).unwrap(), "  SELECT x\n         ^ ");
        assert_eq!(underline("SELECT a,\n\tümlaut FROM e", (11, 18)).unwrap(), "2 |  ümlaut FROM e\n     ^^^^^^ ");
        // At the end, and over several lines.
        assert_eq!(underline("SELECT", (6, 6)).unwrap(), "  SELECT\n        ^ ");
        assert_eq!(underline("a b\nc", (2, 5)).unwrap(), "1 | a b\n      ^ ");
        assert_eq!(underline("a\r\nb", (2, 3)).unwrap().lines().next(), Some("1 | a"));
        assert_eq!(underline("ü", (1, 2)), None);
    }
}
