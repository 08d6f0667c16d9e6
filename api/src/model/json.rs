//! JSON values as text, which keeps numbers and the order of keys exactly as written.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use serde::Serialize;

/// Maximum nesting of arrays and objects, when writing and when reading back.
pub const MAX_DEPTH: usize = 128;

/// A JSON value. A value from the database is not parsed until it is needed, so that a damaged value affects nothing
/// else.
#[derive(Clone, Debug)]
pub struct Json {
    text: Arc<str>,
    flaw: Option<Arc<str>>,
}

impl Json {
    /// `{}`.
    pub fn object() -> Self {
        Self::stored("{}")
    }

    /// `[]`.
    pub fn list() -> Self {
        Self::stored("[]")
    }

    /// A text that is expected to be JSON.
    pub fn stored(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), flaw: None }
    }

    /// A value that cannot be stored, with the reason as a sentence.
    pub fn flawed(why: &str) -> Self {
        Self { text: "null".into(), flaw: Some(why.into()) }
    }

    /// Serializes a value.
    pub fn of(value: &serde_json::Value) -> Self {
        Self::stored(value.to_string())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Why it cannot be stored, as a sentence.
    pub fn flaw(&self) -> Option<&str> {
        self.flaw.as_deref()
    }

    /// The text without white space between tokens.
    ///
    /// # Errors
    /// Why it is not JSON, as a sentence.
    pub fn compact(&self) -> Result<String, String> {
        compact(&self.text).map_err(|flaw| flaw.to_string())
    }

    /// Parses the value; null if that fails.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// Compares the spelling of values, ignoring white space.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.flaw.is_none() && other.flaw.is_none() && (self.text == other.text || is_same(&self.text, &other.text))
    }
}

fn is_same(this: &str, other: &str) -> bool {
    matches!((compact(this), compact(other)), (Ok(this), Ok(other)) if this == other)
}

impl From<Json> for String {
    fn from(json: Json) -> Self {
        json.text.as_ref().into()
    }
}

/// Serializes a value into exactly the memory that its JSON needs. A growing buffer would take three times as much for a
/// moment.
///
/// # Errors
/// If the value cannot be serialized.
pub fn exact(value: &impl Serialize) -> serde_json::Result<String> {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    serde_json::to_writer(&mut count, value)?;
    let mut json = Vec::with_capacity(count.0);
    serde_json::to_writer(&mut json, value)?;
    String::from_utf8(json).map_err(serde::ser::Error::custom)
}

/// Appends a string as a JSON token.
pub fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control @ '\0'..='\u{1f}' => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

fn compact(text: &str) -> Result<String, Flaw> {
    let mut compact = String::with_capacity(text.len());
    let mut tokens = Tokens::new(text);
    // Whether the last token ended a value; then the next value needs a comma.
    let mut after_value = false;
    while let Some(token) = tokens.next()? {
        let closes = matches!(token, Token::EndArray | Token::EndObject);
        if after_value && !closes {
            compact.push(',');
        }
        after_value = !matches!(token, Token::Array | Token::Object | Token::Key(_));
        match token {
            Token::Array => compact.push('['),
            Token::EndArray => compact.push(']'),
            Token::Object => compact.push('{'),
            Token::EndObject => compact.push('}'),
            Token::Key(key) => {
                write_string(&mut compact, &key.map_err(|()| tokens.flaw(LONE_SURROGATE))?);
                compact.push(':');
            }
            Token::String(string) => {
                write_string(&mut compact, &string.map_err(|()| tokens.flaw(LONE_SURROGATE))?);
            }
            Token::Number(number) => compact.push_str(number),
            Token::True => compact.push_str("true"),
            Token::False => compact.push_str("false"),
            Token::Null => compact.push_str("null"),
        }
        if tokens.depth() > MAX_DEPTH {
            return Err(tokens.flaw(TOO_DEEP));
        }
    }
    Ok(compact)
}

/// Why a text is not JSON, or cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at byte {at}.")]
pub struct Flaw {
    what: &'static str,
    at: usize,
}

/// A lone surrogate is not a character, so no text can contain it.
pub const LONE_SURROGATE: &str = "A string has a lone surrogate";

/// Nesting exceeds [`MAX_DEPTH`].
pub const TOO_DEEP: &str = "Arrays and objects nest deeper than 128 levels";

/// A JSON token. A string is `Err` if it contains a lone surrogate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token<'t> {
    /// `[`
    Array,
    /// `]`
    EndArray,
    /// `{`
    Object,
    /// `}`
    EndObject,
    /// The key of an object's next value.
    Key(Result<Cow<'t, str>, ()>),
    /// A string.
    String(Result<Cow<'t, str>, ()>),
    /// A number as written.
    Number(&'t str),
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// Tokenizes a text (RFC 8259) in time and memory linear in its length. Nesting takes one byte per level.
pub struct Tokens<'t> {
    text: &'t str,
    at: usize,
    open: Vec<Open>,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    Object,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    /// The first value of an array, or its end.
    ValueOrEnd,
    /// The first key of an object, or its end.
    KeyOrEnd,
    /// After a value: a comma, the end of the array or object, or the end of the text.
    Next,
}

impl<'t> Tokens<'t> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0, open: Vec::new(), expected: Expected::Value }
    }

    /// Number of open arrays and objects.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// An error at the current position.
    pub fn flaw(&self, what: &'static str) -> Flaw {
        Flaw { what, at: self.at }
    }

    /// The next token; `None` at the end of the text's single value.
    ///
    /// # Errors
    /// A syntax error with its position.
    // Not an iterator: callers could continue after an error.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Token<'t>>, Flaw> {
        self.skip_space();
        if self.expected == Expected::Next {
            match (self.open.last(), self.peek()) {
                (None, None) => return Ok(None),
                (None, Some(_)) => return Err(self.flaw("There is extra text after the value")),
                (Some(Open::Array), Some(b']')) => return Ok(Some(self.close(Token::EndArray))),
                (Some(Open::Object), Some(b'}')) => return Ok(Some(self.close(Token::EndObject))),
                (Some(open), Some(b',')) => {
                    let open = *open;
                    self.at += 1;
                    self.skip_space();
                    if open == Open::Object {
                        return self.key().map(Some);
                    }
                }
                (Some(_), _) => return Err(self.flaw("A comma or an end is missing")),
            }
        } else if self.expected == Expected::KeyOrEnd {
            return match self.peek() {
                Some(b'}') => Ok(Some(self.close(Token::EndObject))),
                _ => self.key().map(Some),
            };
        } else if self.expected == Expected::ValueOrEnd && self.peek() == Some(b']') {
            return Ok(Some(self.close(Token::EndArray)));
        }
        self.value().map(Some)
    }

    fn value(&mut self) -> Result<Token<'t>, Flaw> {
        let (open, expected, token) = match self.peek() {
            Some(b'[') => (Open::Array, Expected::ValueOrEnd, Token::Array),
            Some(b'{') => (Open::Object, Expected::KeyOrEnd, Token::Object),
            first => {
                self.expected = Expected::Next;
                return match first {
                    Some(b'"') => self.string().map(Token::String),
                    Some(b'-' | b'0'..=b'9') => self.number(),
                    Some(b't') => self.word("true", Token::True),
                    Some(b'f') => self.word("false", Token::False),
                    Some(b'n') => self.word("null", Token::Null),
                    _ => Err(self.flaw("A value is missing")),
                };
            }
        };
        self.at += 1;
        self.open.push(open);
        self.expected = expected;
        Ok(token)
    }

    fn key(&mut self) -> Result<Token<'t>, Flaw> {
        if self.peek() != Some(b'"') {
            return Err(self.flaw("A key is missing"));
        }
        let key = self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.flaw("A colon is missing"));
        }
        self.at += 1;
        self.expected = Expected::Value;
        Ok(Token::Key(key))
    }

    fn close(&mut self, token: Token<'t>) -> Token<'t> {
        self.at += 1;
        self.open.pop();
        self.expected = Expected::Next;
        token
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, token: Token<'t>) -> Result<Token<'t>, Flaw> {
        if !self.rest().starts_with(word) {
            return Err(self.flaw("A value is missing"));
        }
        self.at += word.len();
        Ok(token)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn digits(&mut self) -> Result<(), Flaw> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == from { Err(self.flaw("A digit is missing")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Token<'t>, Flaw> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        // A number cannot continue after a leading zero.
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Token::Number(self.text.get(from..self.at).unwrap_or_default()))
    }

    fn string(&mut self) -> Result<Result<Cow<'t, str>, ()>, Flaw> {
        self.at += 1;
        let mut string = Cow::Borrowed("");
        let mut is_whole = true;
        loop {
            let rest = self.rest();
            let end = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            let Some(end) = end else { return Err(self.flaw("A string does not end")) };
            let plain = rest.get(..end).unwrap_or_default();
            if string.is_empty() {
                string = Cow::Borrowed(plain);
            } else if !plain.is_empty() {
                string.to_mut().push_str(plain);
            }
            self.at += end;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(if is_whole { Ok(string) } else { Err(()) });
                }
                Some(b'\\') => match self.escape()? {
                    Some(character) => string.to_mut().push(character),
                    None => is_whole = false,
                },
                _ => return Err(self.flaw("A string has a control character that is not escaped")),
            }
        }
    }

    /// The escaped character; `None` for a lone surrogate.
    fn escape(&mut self) -> Result<Option<char>, Flaw> {
        self.at += 1;
        let sign = self.peek();
        self.at += 1;
        Ok(Some(match sign {
            Some(sign @ (b'"' | b'\\' | b'/')) => char::from(sign),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) || !self.rest().starts_with("\\u") {
                    return Ok(char::from_u32(first));
                }
                let before = self.at;
                self.at += 2;
                let second = self.unit()?;
                if !(0xdc00..0xe000).contains(&second) {
                    // It is a separate character, or the first half of the next one.
                    self.at = before;
                    return Ok(None);
                }
                return Ok(char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)));
            }
            _ => return Err(self.flaw("An escape is unknown")),
        }))
    }

    fn unit(&mut self) -> Result<u32, Flaw> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.flaw("An escape is unknown"))?;
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<String, String> {
        Json::stored(text).compact()
    }

    /// Cases of JSONTestSuite (<https://github.com/nst/JSONTestSuite>): `y_`, `n_`, and `i_` with this service's
    /// decisions.
    #[test]
    fn valid_json_is_accepted_and_anything_else_refused() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for (text, expected) in [
            // Arrays.
            ("[]", "[]"),
            ("[[]   ]", "[[]]"),
            ("[\"\"]", "[\"\"]"),
            (" [1]", "[1]"),
            ("[1,null,null,null,2]", "[1,null,null,null,2]"),
            ("[null, 1, \"1\", {}]", "[null,1,\"1\",{}]"),
            ("[2] ", "[2]"),
            // Numbers keep their spelling.
            ("123e65", "123e65"),
            ("0e+1", "0e+1"),
            ("0E1", "0E1"),
            ("1E-2", "1E-2"),
            ("-0", "-0"),
            ("-0.0", "-0.0"),
            ("1.0", "1.0"),
            ("1.10", "1.10"),
            ("20e1", "20e1"),
            ("123.456e78", "123.456e78"),
            ("1.7976931348623157e308", "1.7976931348623157e308"),
            ("0.9424502837770503", "0.9424502837770503"),
            ("18446744073709551616", "18446744073709551616"),
            ("-9223372036854775809", "-9223372036854775809"),
            ("0.4e00669999999999999999999999999", "0.4e00669999999999999999999999999"),
            ("-1e+9999", "-1e+9999"),
            ("123123e-10000000", "123123e-10000000"),
            ("100000000000000000000000000000000000001", "100000000000000000000000000000000000001"),
            // Objects.
            ("{}", "{}"),
            ("{\"a\":[]}", "{\"a\":[]}"),
            ("{\"\":0}", "{\"\":0}"),
            ("{\"z\": 1, \"a\" : 2 ,\"m\":3}", "{\"z\":1,\"a\":2,\"m\":3}"),
            ("{\"foo\\u0000bar\": 42}", "{\"foo\\u0000bar\":42}"),
            ("{\n\"a\": \"b\"\n}", "{\"a\":\"b\"}"),
            ("{\"a\":\"b\",\"a\":\"c\"}", "{\"a\":\"b\",\"a\":\"c\"}"),
            // Strings.
            ("\"\\u0060\\u012a\\u12AB\"", "\"`Īካ\""),
            ("\"\\uD801\\udc37\"", "\"\u{10437}\""),
            ("\"\\ud83d\\ude39\\ud83d\\udc8d\"", "\"😹💍\""),
            ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\t\""),
            ("\"\\\\u0000\"", "\"\\\\u0000\""),
            ("\"a/*b*/c/*d//e\"", "\"a/*b*/c/*d//e\""),
            ("\"\\u0000\"", "\"\\u0000\""),
            ("\"\u{7f}\u{2028}\u{2029}\u{feff}\u{10ffff}\"", "\"\u{7f}\u{2028}\u{2029}\u{feff}\u{10ffff}\""),
            ("\"\\uFDD0\\uFFFE\\uFFFF\"", "\"\u{fdd0}\u{fffe}\u{ffff}\""),
            // Structure.
            ("false", "false"),
            ("42", "42"),
            ("null", "null"),
            ("\"asd\"", "\"asd\""),
            ("true", "true"),
            (" \t\r\n[] ", "[]"),
            (&deep(128), &deep(128)),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            // Arrays.
            "[1 true]",
            "[1:2]",
            "[\"\"],",
            "[1,,2]",
            "[,1]",
            "[\"x\"]]",
            "[1,]",
            "[\"\",]",
            "[x",
            "[\"x\"",
            "[3[4]]",
            "[1",
            "[,",
            "[*]",
            "[1,\n1\n,1",
            "[{}",
            "[\"a\",\n4\n,1,",
            "[-]",
            // Numbers.
            "++1234",
            "-01",
            "-1.0.",
            "-2.",
            "-NaN",
            ".-1",
            ".2e-3",
            "0.1.2",
            "0.3e",
            "0.3e+",
            "0.e1",
            "0e",
            "0e+",
            "1.0e",
            "1.0e-",
            "1 000.0",
            "1eE2",
            "2.e3",
            "2.e+3",
            "9.e+",
            "Inf",
            "NaN",
            "\u{ff11}",
            "1+2",
            "0x1",
            "0x42",
            "Infinity",
            "0e+-1",
            "-123.123foo",
            "-foo",
            "- 1",
            "-012",
            "-.123",
            "-1x",
            "1ea",
            "1.",
            ".123",
            "1.2a-3",
            "1.8011670033376514H-308",
            "012",
            "+1",
            // Objects.
            "[\"x\", truth]",
            "{[: \"x\"}",
            "{\"x\", null}",
            "{\"x\"::\"b\"}",
            "{\"a\":\"a\" 123}",
            "{key: 'value'}",
            "{\"a\" b}",
            "{:\"b\"}",
            "{\"a\" \"b\"}",
            "{\"a\":",
            "{\"a\"",
            "{1:1}",
            "{9999E9999:1}",
            "{null:null,null:null}",
            "{\"id\":0,,,,,}",
            "{'a':0}",
            "{\"id\":0,}",
            "{\"a\":\"b\"}/**/",
            "{\"a\":\"b\"}#",
            "{\"a\":\"b\",,\"c\":\"d\"}",
            "{a: \"b\"}",
            "{\"a\":\"a",
            "{\"a\":\"b\"}#{}",
            "{\"a\":/*comment*/\"b\"}",
            "{",
            "}",
            "{\"a\":true} \"x\"",
            "{]",
            "[}",
            // Strings.
            "\"\\u00A\"",
            "\"\\uD834\\u\"",
            "\"\\x00\"",
            "\"\\\\\\\"",
            "\"\\\t\"",
            "\"\\🌀\"",
            "\"\\\"",
            "\"\\u\"",
            "\"\\uqqqq\"",
            "\"\\a\"",
            "\\u0020\"asd\"",
            "\\n",
            "\"",
            "'single quote'",
            "abc",
            "\"\\",
            "\"a\u{0}a\"",
            "\"new\nline\"",
            "\"\t\"",
            "\"\\U0041\"",
            "\"x\"x",
            "\"\\u+123\"",
            "\"\\u 123\"",
            // Lone surrogates.
            "\"\\uDADA\"",
            "\"\\uD888\\u1234\"",
            "\"\\uD800\\n\"",
            "\"\\uDd1ea\"",
            "\"\\uD800\\uD800\\n\"",
            "\"\\udc00\\ud800\"",
            "{\"\\ud800\":1}",
            "[\"\\uD83D\\uDE00\\uD83D\"]",
            // Structure.
            "",
            " ",
            "<.>",
            "[<null>]",
            "[1]x",
            "[1]]",
            "[\"asd]",
            "a\u{e5}",
            "[True]",
            "1]",
            "{\"x\": true,",
            "[][]",
            "]",
            "\u{feff}{}",
            "2@",
            "{}}",
            "{\"\":",
            "{\"a\":/*",
            "[\"",
            "{,",
            "{[",
            "{\"a",
            "[1,",
            "*",
            "{\"a\":\"b\"}#{}",
            "[\\u000A\"\"]",
            "[1\n",
            "nul",
            "\u{2060}[]",
            "[\u{c}]",
            "\u{a0}1",
            "nulll",
            "truefalse",
            &deep(129),
            &"[".repeat(100_000),
            &"[{\"\":".repeat(50_000),
        ] {
            assert!(read(text).is_err(), "{text:.60}: {:?}", read(text));
        }
    }

    #[test]
    fn values_with_the_same_spelling_are_equal() {
        let same = |this: &str, other: &str| Json::stored(this) == Json::stored(other);
        assert!(same("{\"a\":1,\"b\":[]}", "{\"a\": 1, \"b\": [ ]}") && same("\"\\u0041\"", "\"A\""));
        for (this, other) in
            [("1", "1.0"), ("0", "-0"), ("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}"), ("1e2", "1E2"), ("x", "y")]
        {
            assert!(!same(this, other), "{this} {other}");
        }
        assert!(same("x", "x") && Json::flawed("Odd.") != Json::stored("null"));
    }

    fn number() -> impl Strategy<Value = String> {
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?"
    }

    fn json() -> impl Strategy<Value = String> {
        let string = any::<String>().prop_map(|string| serde_json::to_string(&string).unwrap());
        let leaf = prop_oneof![number(), string.clone(), "null|true|false"];
        leaf.prop_recursive(6, 64, 8, move |inner| {
            let field = (string.clone(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..8).prop_map(|values| format!("[{}]", values.join(","))),
                prop::collection::vec(field, 0..8).prop_map(|fields| format!("{{{}}}", fields.join(","))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

        #[test]
        fn compacting_keeps_the_value(text in json(), space in "[ \t\r\n]{0,3}") {
            let compact = read(&text).unwrap();
            prop_assert_eq!(&read(&format!("{space}{text}{space}")).unwrap(), &compact);
            prop_assert_eq!(&read(&compact).unwrap(), &compact);
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            prop_assert_eq!(value(&compact), value(&text));
        }

        #[test]
        fn the_tokenizer_accepts_what_serde_json_accepts(text in "[\\[\\]{},:\" \\\\u0dDcC8e.+1-]{0,24}") {
            prop_assert_eq!(read(&text).is_ok(), serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }
}
