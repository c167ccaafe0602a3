//! ClickHouse's tokens, as far as safety and the split of statements need them.
//!
//! The rules follow the engine's own lexer, since a disagreement is a hole: nested `/* */`, `--`, `//`, `# ` and `#!`
//! comments, backslash and doubled quotes, Unicode quotes, here-documents. A test compares both on hostile text.

use std::borrow::Cow;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word or number: `[A-Za-z0-9_$]+`.
    Word,
    /// A quoted identifier; its name is unescaped by [`Token::name`].
    Quoted,
    /// A string literal or here-document.
    String,
    /// Any other single character.
    Punctuation(u8),
    /// A quote or comment that does not end, or bytes no token begins with.
    Broken,
}

/// One significant token (neither space nor comment) and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) start: usize,
}

impl<'a> Token<'a> {
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether this is the bare `word`, in any case.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(crate) fn is_punctuation(&self, byte: u8) -> bool {
        self.kind == Kind::Punctuation(byte)
    }

    /// The identifier that this token spells, if it can be one.
    pub(crate) fn name(&self) -> Option<Cow<'a, str>> {
        match self.kind {
            Kind::Word => Some(Cow::Borrowed(self.text)),
            Kind::Quoted => Some(unescape(self.text)),
            _ => None,
        }
    }
}

/// The content of a quoted token: ASCII quotes with backslash escapes and doubled quotes, Unicode quotes as they are.
fn unescape(text: &str) -> Cow<'_, str> {
    let quote = text.chars().next().unwrap_or('"');
    let inner = &text[quote.len_utf8()..text.len() - quote.len_utf8()];
    if !quote.is_ascii() || !inner.contains(['\\', quote]) {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'x' | b'X') => {
                    let (high, low) = (bytes.next(), bytes.next());
                    let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).unwrap_or(0) as u8;
                    out.push(digit(high) * 16 + digit(low));
                }
                Some(escape) => out.push(match escape {
                    b'a' => 7,
                    b'b' => 8,
                    b'e' => 27,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    b'0' => 0,
                    other => other,
                }),
                None => {}
            },
            byte if byte == quote as u8 => {
                bytes.next();
                out.push(byte);
            }
            byte => out.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Reads tokens off a text, lazily: what follows an insert's head is data, not SQL.
#[derive(Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    /// Skips spaces and comments; `false` if a comment does not end.
    fn skip(&mut self) -> bool {
        loop {
            let rest = self.rest();
            let spaces = rest.len() - rest.trim_start_matches(is_space).len();
            self.position += spaces;
            let rest = self.rest();
            let line = ["--", "//", "# ", "#!"].iter().any(|open| rest.starts_with(open));
            if line {
                self.position += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                match block_comment(rest.as_bytes()) {
                    Some(length) => self.position += length,
                    None => return false,
                }
            } else {
                return true;
            }
        }
    }

    fn token_length(rest: &str) -> (Kind, usize) {
        let first = rest.as_bytes()[0];
        let closed = |kind, length: Option<usize>| length.map_or((Kind::Broken, rest.len()), |n| (kind, n));
        match first {
            b'\'' => closed(Kind::String, quoted(rest.as_bytes(), first)),
            b'"' | b'`' => closed(Kind::Quoted, quoted(rest.as_bytes(), first)),
            b'$' => here_document(rest),
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' => (Kind::Word, word(rest)),
            0..0x80 => (Kind::Punctuation(first), 1),
            _ => {
                let length = |close: char| rest.find(close).map(|at| at + close.len_utf8());
                match rest.chars().next() {
                    Some('\u{2018}') => closed(Kind::String, length('\u{2019}')),
                    Some('\u{201c}') => closed(Kind::Quoted, length('\u{201d}')),
                    Some('\u{2212}') => (Kind::Punctuation(b'-'), 3),
                    other => (Kind::Broken, other.map_or(1, char::len_utf8)),
                }
            }
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let closed = self.skip();
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        let start = self.position;
        let (kind, length) = if closed { Self::token_length(rest) } else { (Kind::Broken, rest.len()) };
        self.position += length;
        Some(Token { kind, text: &rest[..length], start })
    }
}

/// Spaces to the engine: ASCII ones and those of Unicode that it skips.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' | '\u{85}' | '\u{a0}' | '\u{feff}')
        || matches!(c, '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{202f}')
        || matches!(c, '\u{205f}' | '\u{2060}' | '\u{3000}')
}

fn word(rest: &str) -> usize {
    rest.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'_' || b == b'$')).unwrap_or(rest.len())
}

/// The length of a quoted token with both quotes, if it ends.
fn quoted(bytes: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
    None
}

/// The length of a block comment, if it ends; they nest.
fn block_comment(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// `$tag$ ... $tag$`, or a word that begins with `$`.
fn here_document(rest: &str) -> (Kind, usize) {
    if let Some(tag_end) = rest[1..].find('$').map(|at| at + 2)
        && let Some(close) = rest[tag_end..].find(&rest[..tag_end])
    {
        return (Kind::String, tag_end + close + tag_end);
    }
    (Kind::Word, word(rest).max(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lex(text: &str) -> Vec<(Kind, &str)> {
        Lexer::new(text).map(|t| (t.kind, t.text)).collect()
    }

    #[test]
    fn comments_and_spaces_vanish() {
        let text = "a /* /* b */ 'c */ -- d\n// e\n# f\n#! g\n\u{a0}h";
        assert_eq!(lex(text), [(Kind::Word, "a"), (Kind::Word, "h")]);
    }

    #[test]
    fn quotes_end_where_the_engine_ends_them() {
        let text = r#"'a''b\'c' `d\`e` "f""g" $t$ ' $t$ ‘h'i’"#;
        let kinds: Vec<_> = lex(text).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::String, Kind::Quoted, Kind::Quoted, Kind::String, Kind::String]);
    }

    #[test]
    fn identifiers_are_unescaped() {
        for (text, name) in [("`f\\x69le`", "file"), ("\"f\\ile\"", "file"), ("“file”", "file"), ("\"a\"\"b\"", "a\"b")]
        {
            assert_eq!(Lexer::new(text).next().unwrap().name().unwrap(), name, "{text}");
        }
    }

    #[test]
    fn what_does_not_end_is_broken() {
        for text in ["'a", "`a", "/* /* */", "‘a", "'a\\'"] {
            assert_eq!(lex(text).last().unwrap().0, Kind::Broken, "{text}");
        }
    }
}
