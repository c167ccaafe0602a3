//! Bound values.

use std::{borrow::Cow, collections::HashMap};

use model::{AppId, Scope};

use crate::seal::Param;

/// The values of one statement; an equal value is bound once.
pub(super) struct Params {
    list: Vec<Param>,
    names: HashMap<(&'static str, String), usize>,
}

impl Params {
    /// The first are the scope's: `tenant` and `app`, and `lock0`, `lock1`, ... of its filters.
    pub(super) fn new(scope: &Scope, app: &AppId) -> Self {
        let mut params = Self { list: Vec::new(), names: HashMap::new() };
        params.own("tenant", scope.tenant.as_str());
        params.own("app", app.as_str());
        for (i, filter) in scope.filters.iter().enumerate() {
            let value = array(filter.values.iter().map(String::as_str));
            params.list.push(Param { name: format!("lock{i}"), kind: "Array(String)", value });
        }
        params
    }

    /// Binds a text under a name of its own, which the text that is written knows.
    pub(super) fn own(&mut self, name: &str, value: &str) {
        self.list.push(Param { name: name.into(), kind: "String", value: escaped(value, false) });
    }

    /// The place in the text that stands for the value, as in `{p0:String}`.
    pub(super) fn bind(&mut self, kind: &'static str, value: String) -> String {
        let next = self.names.len();
        let list = &mut self.list;
        let i = *self.names.entry((kind, value)).or_insert_with_key(|(kind, value)| {
            list.push(Param { name: format!("p{next}"), kind, value: value.clone() });
            next
        });
        format!("{{p{i}:{kind}}}")
    }

    pub(super) fn text(&mut self, text: &str) -> String {
        self.bind("String", escaped(text, false))
    }

    pub(super) fn texts<'a>(&mut self, texts: impl Iterator<Item = &'a str>) -> String {
        self.bind("Array(String)", array(texts))
    }

    pub(super) fn into_list(self) -> Vec<Param> {
        self.list
    }
}

fn array<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = texts.map(|text| format!("'{}'", escaped(text, true))).collect();
    format!("[{}]", quoted.join(","))
}

/// The shortest text that reads as the same float.
pub(super) fn number(x: f64) -> String {
    format!("{x:?}")
}

/// ClickHouse's escaped text: what would end a field or a quoted text stands behind a backslash.
fn escaped(text: &str, quoted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let escape = match c {
            '\\' => "\\\\",
            '\t' => "\\t",
            '\n' => "\\n",
            '\r' => "\\r",
            '\0' => "\\0",
            '\x08' => "\\b",
            '\x0c' => "\\f",
            '\'' if quoted => "\\'",
            _ => {
                out.push(c);
                continue;
            }
        };
        out.push_str(escape);
    }
    out
}

/// Instants as the warehouse reads them.
pub(super) fn instant(ms: i64) -> Cow<'static, str> {
    // The resolver lets no instant outside 1900 to 2299 through.
    crate::time::format_utc(ms).map_or(Cow::Borrowed("1970-01-01 00:00:00.000"), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        assert_eq!(escaped("a\tb\\c'd\0\n", false), "a\\tb\\\\c'd\\0\\n");
        assert_eq!(escaped("it's \\", true), "it\\'s \\\\");
    }
}
