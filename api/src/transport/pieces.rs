//! Writes responses as JSON in pieces. What is written is freed: a large response exists once, and only a piece of it
//! twice.

use std::vec;

use async_graphql::{Name, ServerError, Value, indexmap};
use bytes::Bytes;

use super::operation::Outcome;
use crate::{
    graphql::json_text::{self, RAW_VALUE_TOKEN},
    model::error::{Error, Result},
};

/// A piece has about this many bytes; the last one can have fewer.
pub const PIECE_BYTES: usize = 64 * 1024;

/// A response, or several as an array, as far as it is not written yet.
pub struct Pieces {
    /// The last one is written first.
    parts: Vec<Part>,
}

enum Part {
    /// Text between values.
    Text(&'static str),
    Value(Value),
    Errors(Vec<ServerError>),
    /// The rest of a list, and what precedes its next item.
    Items(vec::IntoIter<Value>, &'static str),
    /// The rest of an object, and what precedes its next field.
    Fields(indexmap::map::IntoIter<Name, Value>, &'static str),
    /// The content of a long string.
    String(Bytes),
    /// JSON.
    Json(Bytes),
}

impl From<Outcome> for Pieces {
    fn from(outcome: Outcome) -> Self {
        let mut pieces = Self { parts: Vec::new() };
        pieces.push(outcome);
        pieces
    }
}

impl From<Vec<Outcome>> for Pieces {
    fn from(outcomes: Vec<Outcome>) -> Self {
        let mut pieces = Self { parts: vec![Part::Text("]")] };
        for (at, outcome) in outcomes.into_iter().enumerate().rev() {
            pieces.push(outcome);
            pieces.parts.extend((at > 0).then_some(Part::Text(",")));
        }
        pieces.parts.push(Part::Text("["));
        pieces
    }
}

impl From<Bytes> for Pieces {
    /// A response that is JSON already.
    fn from(json: Bytes) -> Self {
        Self { parts: vec![Part::Json(json)] }
    }
}

impl Pieces {
    /// Writes everything.
    ///
    /// # Errors
    /// `Internal` if an error of the response cannot be serialized.
    pub fn into_text(mut self) -> Result<String> {
        let mut all = Vec::new();
        while !self.is_empty() {
            all.append(&mut self.next()?);
        }
        String::from_utf8(all).map_err(Error::internal)
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Writes the next piece.
    ///
    /// # Errors
    /// As [`Pieces::into_text`].
    pub fn next(&mut self) -> Result<Vec<u8>> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES
            && let Some(part) = self.parts.pop()
        {
            self.write(part, &mut piece).map_err(Error::internal)?;
        }
        Ok(piece)
    }

    fn push(&mut self, outcome: Outcome) {
        self.parts.push(Part::Text("}"));
        let response = match outcome {
            Outcome::Refused { errors } => {
                self.parts.extend([Part::Errors(errors), Part::Text("{\"errors\":")]);
                return;
            }
            Outcome::Ran(response) => response,
        };
        if !response.errors.is_empty() {
            self.parts.extend([Part::Errors(response.errors), Part::Text(",\"errors\":")]);
        }
        if !response.extensions.is_empty() {
            let extensions = response.extensions.into_iter().map(|(name, value)| (Name::new(name), value));
            let extensions = Value::Object(extensions.collect());
            self.parts.extend([Part::Value(extensions), Part::Text(",\"extensions\":")]);
        }
        self.parts.extend([Part::Value(response.data), Part::Text("{\"data\":")]);
    }

    fn write(&mut self, part: Part, piece: &mut Vec<u8>) -> serde_json::Result<()> {
        match part {
            Part::Text(text) => piece.extend_from_slice(text.as_bytes()),
            Part::Value(value) => self.begin(value, piece)?,
            Part::Errors(errors) => serde_json::to_writer(piece, &errors)?,
            Part::Items(mut items, before) => match items.next() {
                Some(item) => {
                    piece.extend_from_slice(before.as_bytes());
                    self.parts.push(Part::Items(items, ","));
                    self.begin(item, piece)?;
                }
                None => piece.push(b']'),
            },
            Part::Fields(mut fields, before) => match fields.next() {
                Some((name, value)) => {
                    piece.extend_from_slice(before.as_bytes());
                    self.parts.push(Part::Fields(fields, ","));
                    serde_json::to_writer(&mut *piece, name.as_str())?;
                    piece.push(b':');
                    self.begin(value, piece)?;
                }
                None => piece.push(b'}'),
            },
            Part::String(mut rest) => {
                let text = rest.split_to(character_end(&rest));
                if !rest.is_empty() {
                    self.parts.push(Part::String(rest));
                }
                let start = piece.len();
                serde_json::to_writer(&mut *piece, &String::from_utf8_lossy(&text))?;
                // Without the quotes.
                piece.pop();
                piece.remove(start);
            }
            Part::Json(mut rest) => {
                piece.extend_from_slice(&rest.split_to(rest.len().min(PIECE_BYTES)));
                if !rest.is_empty() {
                    self.parts.push(Part::Json(rest));
                }
            }
        }
        Ok(())
    }

    /// Writes a value; of a list, an object or a long text only the beginning.
    fn begin(&mut self, value: Value, piece: &mut Vec<u8>) -> serde_json::Result<()> {
        match value {
            Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Enum(_) => json_text::write(&value, piece),
            Value::String(text) if text.len() <= PIECE_BYTES => json_text::write_string(&text, piece),
            Value::String(text) => self.string(text.into(), piece),
            Value::Binary(text) => self.string(text, piece),
            Value::List(items) => {
                piece.push(b'[');
                self.parts.push(Part::Items(items.into_iter(), ""));
            }
            Value::Object(mut fields) => {
                let json = match fields.get_mut(RAW_VALUE_TOKEN) {
                    Some(Value::String(json)) => Some(Bytes::from(std::mem::take(json))),
                    Some(Value::Binary(json)) => Some(std::mem::take(json)),
                    _ => None,
                };
                self.parts.push(match json {
                    Some(json) => Part::Json(json),
                    None => {
                        piece.push(b'{');
                        Part::Fields(fields.into_iter(), "")
                    }
                });
            }
        }
        Ok(())
    }

    fn string(&mut self, text: Bytes, piece: &mut Vec<u8>) {
        piece.push(b'"');
        self.parts.extend([Part::Text("\""), Part::String(text)]);
    }
}

/// The end of a character of a text, about a piece from its start.
fn character_end(text: &[u8]) -> usize {
    let is_inside = |at: &usize| text.get(*at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    (PIECE_BYTES..text.len()).find(|at| !is_inside(at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use async_graphql::{Response, value};

    use super::*;

    fn all(mut pieces: Pieces) -> (String, usize) {
        let (mut text, mut count) = (Vec::new(), 0);
        while !pieces.is_empty() {
            text.extend(pieces.next().unwrap());
            count += 1;
        }
        (String::from_utf8(text).unwrap(), count)
    }

    #[test]
    fn pieces_are_what_serde_writes() {
        let long = "a\"é\n\u{1}\\\u{1f600}".repeat(20_000);
        let json = format!("[{}1]", "1,".repeat(100_000));
        let raw = Value::Object([(Name::new(RAW_VALUE_TOKEN), Value::String(json))].into_iter().collect());
        let red = Value::Enum(Name::new("RED"));
        let many = Value::List((0..50_000).map(|n| value!({ "n": n, "e": [], "o": {} })).collect());
        let data =
            value!({ "a": long, "b": raw, "c": many, "d": [true, null, 1.5, red, "x"], "e\"": {}, "f": [[], [[]]] });
        let mut errors = vec![ServerError::new("It \"failed\".", None)];
        errors.push(ServerError::new(long.clone(), None));
        let with_errors = |mut response: Response| {
            response.errors.clone_from(&errors);
            response
        };
        let outcomes = || {
            vec![
                Outcome::Ran(Response::new(data.clone())),
                Outcome::Ran(with_errors(Response::new(data.clone())).extension("x", value!([1]))),
                Outcome::Refused { errors: errors.clone() },
                Outcome::Ran(Response::new(Value::Null)),
            ]
        };
        let shared = Value::Binary(long.clone().into());
        let (shared, _) = all(Outcome::Ran(Response::new(shared)).into());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shared).unwrap(), serde_json::json!({ "data": long }));
        for outcome in outcomes() {
            let expected = serde_json::to_string(&outcome).unwrap();
            let (text, count) = all(outcome.into());
            assert!(text == expected);
            assert!(count <= expected.len() / PIECE_BYTES + 1, "{count} for {} bytes", expected.len());
        }
        assert!(all(outcomes().into()).0 == serde_json::to_string(&outcomes()).unwrap());
        assert_eq!(all(Pieces::from(Vec::new())).0, "[]");
    }
}
