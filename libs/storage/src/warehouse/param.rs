//! The text forms in which ClickHouse takes the values of a statement's parameters: tab-separated, so that no value can
//! end early or become another; and of texts in a statement that can't have parameters.

/// An instant, UTC ms, for the text of a statement that takes no parameters.
pub(super) fn instant(ms: i64) -> String {
    format!("fromUnixTimestamp64Milli(toInt64({ms}), 'UTC')")
}

/// NULL, for a Nullable type.
pub const NULL: &str = r"\N";

/// A value of String, Nullable(String) or LowCardinality(String).
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(text, &mut out);
    out
}

/// A value of Array(String).
pub fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::from("[");
    for text in texts {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&literal(text));
    }
    out.push(']');
    out
}

/// A text as it stands in a statement: with its quotes.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    escape(text, &mut out);
    out.push('\'');
    out
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '\'' => out.push_str(r"\'"),
            '\t' => out.push_str(r"\t"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\0' => out.push_str(r"\0"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_can_end_it() {
        assert_eq!(string("plain ä"), "plain ä");
        assert_eq!(string("a'b\\c\td\ne\0\r"), r"a\'b\\c\td\ne\0\r");
        assert_eq!(string(r"\N"), r"\\N");
        assert_eq!(literal("a'b\\"), r"'a\'b\\'");
        assert_eq!(strings([]), "[]");
        assert_eq!(strings(["", "a','b", "c]"]), r"['','a\',\'b','c]']");
    }
}
