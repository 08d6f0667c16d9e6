//! The tokens of a document (GraphQL specification, section 2.1). The parser of `apollo-compiler` ignores some
//! mistakes; `convert` accepts a document only if its tokens are those of its tree.

use async_graphql::Pos;

use super::Fault;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Punctuator,
    Name,
    Int,
    Float,
    String,
    BlockString,
}

/// A token with its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    pub kind: Kind,
    /// The offset of the first byte.
    pub start: usize,
    pub text: &'t str,
    pub pos: Pos,
}

impl Token<'_> {
    /// Whether the token is this punctuator or name.
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Punctuator | Kind::Name) && self.text == text
    }

    pub fn is_string(&self) -> bool {
        matches!(self.kind, Kind::String | Kind::BlockString)
    }
}

/// All tokens of a text.
///
/// # Errors
/// The position of an invalid token.
pub fn tokens(text: &str) -> Result<Vec<Token<'_>>, Fault> {
    let mut lexer = Lexer { text, at: 0, line: 1, column: 1 };
    let mut tokens = Vec::with_capacity(text.len() / 4);
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn pos(&self) -> Pos {
        Pos { line: self.line, column: self.column }
    }

    /// Advances by this many bytes, counting lines and UTF-16 units, as JavaScript does.
    fn skip(&mut self, bytes: usize) {
        let end = self.at.saturating_add(bytes);
        let mut chars = self.text.get(self.at..end).unwrap_or_default().chars().peekable();
        while let Some(char) = chars.next() {
            let ends_line = char == '\n'
                || (char == '\r'
                    && match chars.peek() {
                        Some(next) => *next != '\n',
                        None => self.text.as_bytes().get(end) != Some(&b'\n'),
                    });
            if ends_line {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += char.len_utf16();
            }
        }
        self.at = end;
    }

    fn next(&mut self) -> Result<Option<Token<'t>>, Fault> {
        loop {
            let rest = self.rest();
            let Some(first) = rest.chars().next() else { return Ok(None) };
            match first {
                ' ' | '\t' | ',' | '\n' | '\r' | '\u{feff}' => self.skip(first.len_utf8()),
                '#' => self.skip(rest.find(['\n', '\r']).unwrap_or(rest.len())),
                _ => break,
            }
        }
        let rest = self.rest();
        let (kind, length) = match rest.as_bytes() {
            [b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}', ..] => {
                (Kind::Punctuator, 1)
            }
            [b'.', b'.', b'.', ..] => (Kind::Punctuator, 3),
            [b'"', b'"', b'"', ..] => (Kind::BlockString, self.block_string(rest)?),
            [b'"', ..] => (Kind::String, self.string(rest)?),
            [b'-' | b'0'..=b'9', ..] => self.number(rest)?,
            [first, ..] if is_name_start(*first) => {
                (Kind::Name, rest.bytes().position(|byte| !is_name(byte)).unwrap_or(rest.len()))
            }
            _ => {
                let unknown = rest.chars().next().unwrap_or_default();
                return Err(self.fault(0, &format!("unexpected character {}", shown(unknown))));
            }
        };
        let token = Token { kind, start: self.at, text: rest.get(..length).unwrap_or_default(), pos: self.pos() };
        self.skip(length);
        Ok(Some(token))
    }

    /// A fault this many bytes ahead.
    fn fault(&mut self, ahead: usize, message: &str) -> Fault {
        self.skip(ahead);
        Fault::syntax(self.pos(), message)
    }

    fn number(&mut self, rest: &str) -> Result<(Kind, usize), Fault> {
        let bytes = rest.as_bytes();
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        let mut kind = Kind::Int;
        let mut at = usize::from(byte(0) == b'-');
        let whole = digits(at);
        if whole == 0 {
            return Err(self.fault(at, "a number needs a digit here"));
        }
        if whole > 1 && byte(at) == b'0' {
            return Err(self.fault(at + 1, "a number cannot begin with 0"));
        }
        at += whole;
        if byte(at) == b'.' {
            kind = Kind::Float;
            let fraction = digits(at + 1);
            at += 1 + fraction;
            if fraction == 0 {
                return Err(self.fault(at, "a number needs a digit here"));
            }
        }
        if matches!(byte(at), b'e' | b'E') {
            kind = Kind::Float;
            at += 1 + usize::from(matches!(byte(at + 1), b'+' | b'-'));
            let exponent = digits(at);
            if exponent == 0 {
                return Err(self.fault(at, "a number needs a digit here"));
            }
            at += exponent;
        }
        if byte(at) == b'.' || is_name_start(byte(at)) {
            return Err(self.fault(at, "a number cannot continue like this"));
        }
        Ok((kind, at))
    }

    fn string(&mut self, rest: &str) -> Result<usize, Fault> {
        let mut at = 1;
        loop {
            let ahead = rest.get(at..).unwrap_or_default();
            match ahead.chars().next() {
                Some('"') => return Ok(at + 1),
                None | Some('\n' | '\r') => return Err(self.fault(at, "the string does not end")),
                Some('\\') => match escape_length(ahead) {
                    Some(length) => at += length,
                    None => return Err(self.fault(at, "invalid escape sequence")),
                },
                Some(other) => at += other.len_utf8(),
            }
        }
    }

    fn block_string(&mut self, rest: &str) -> Result<usize, Fault> {
        let mut at = 3;
        while let Some(found) = rest.get(at..).and_then(|ahead| ahead.find(r#"""""#)) {
            at += found;
            // `\"""` is an escaped triple quote.
            if !rest.get(..at).is_some_and(|before| before.ends_with('\\')) {
                return Ok(at + 3);
            }
            at += 3;
        }
        Err(self.fault(rest.len(), "the block string does not end"))
    }
}

/// The length of the escape sequence at the start of a text. Two sequences can encode a surrogate pair.
fn escape_length(text: &str) -> Option<usize> {
    let fixed = |from: usize| {
        let digits = text.get(from..from + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    match text.as_bytes().get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' if text.as_bytes().get(2) == Some(&b'{') => {
            let digits = text.get(3..)?.split_once('}')?.0;
            // No code point has more than eight digits.
            let is_hex = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
            char::from_u32(code).map(|_| digits.len() + 4)
        }
        b'u' => match fixed(2)? {
            0xd800..=0xdbff => {
                let is_pair = text.get(6..8) == Some("\\u") && (0xdc00..=0xdfff).contains(&fixed(8)?);
                is_pair.then_some(12)
            }
            code => char::from_u32(code).map(|_| 6),
        },
        _ => None,
    }
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn shown(char: char) -> String {
    if matches!(char, ' '..='~') { format!("`{char}`") } else { format!("U+{:04X}", u32::from(char)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Result<Vec<(Kind, &str)>, (usize, usize)> {
        tokens(text)
            .map(|tokens| tokens.iter().map(|token| (token.kind, token.text)).collect())
            .map_err(|fault| (fault.pos.line, fault.pos.column))
    }

    #[test]
    fn tokens_are_those_of_the_specification() {
        use Kind::{BlockString, Float, Int, Name, Punctuator, String};
        for (text, expected) in [
            ("", vec![]),
            ("\u{feff} ,\t\r\n# {\u{0}\n", vec![]),
            ("{a}", vec![(Punctuator, "{"), (Name, "a"), (Punctuator, "}")]),
            ("...on", vec![(Punctuator, "..."), (Name, "on")]),
            ("-0 12 -3", vec![(Int, "-0"), (Int, "12"), (Int, "-3")]),
            ("1.50 1e3 -0.1E-2 1e+3", vec![(Float, "1.50"), (Float, "1e3"), (Float, "-0.1E-2"), (Float, "1e+3")]),
            (r#""" "a" """#, vec![(String, r#""""#), (String, r#""a""#), (String, r#""""#)]),
            (r#""\"\\\/\b\f\n\r\t""#, vec![(String, r#""\"\\\/\b\f\n\r\t""#)]),
            (r#""\u00e9\u{1F600}\ud83d\ude00""#, vec![(String, r#""\u00e9\u{1F600}\ud83d\ude00""#)]),
            ("\"\"\"\n a \\\"\"\" \"\" \"\"\"", vec![(BlockString, "\"\"\"\n a \\\"\"\" \"\" \"\"\"")]),
            ("\"\"\"\"\"\"\"\"", vec![(BlockString, "\"\"\"\"\"\""), (String, "\"\"")]),
        ] {
            assert_eq!(kinds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_where_it_is() {
        for (text, at) in [
            ("?", (1, 1)),
            ("..", (1, 1)),
            ("'a'", (1, 1)),
            ("\u{e9}", (1, 1)),
            ("a\r\nb\r\n%", (3, 1)),
            ("\u{1f600}", (1, 1)),
            ("01", (1, 2)),
            ("-", (1, 2)),
            ("1.", (1, 3)),
            ("1.e3", (1, 3)),
            ("1e", (1, 3)),
            ("1a", (1, 2)),
            ("1.5.2", (1, 4)),
            ("0x1", (1, 2)),
            ("1_000", (1, 2)),
            ("\"a", (1, 3)),
            ("\"a\nb\"", (1, 3)),
            (r#""\x""#, (1, 2)),
            (r#""\u12""#, (1, 2)),
            (r#""\ud83d""#, (1, 2)),
            (r#""\ude00""#, (1, 2)),
            (r#""\ud83d\u0041""#, (1, 2)),
            (r#""\u{}""#, (1, 2)),
            (r#""\u{110000}""#, (1, 2)),
            (r#""\u{d83d}""#, (1, 2)),
            (r#""\u{0000001F600}""#, (1, 2)),
            ("\"\"\"a", (1, 5)),
        ] {
            assert_eq!(kinds(text), Err(at), "{text}");
        }
    }
}
