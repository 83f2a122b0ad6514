//! A YAML document as a tree that remembers its lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Options, Spanned};

use super::Fault;

/// A value and the line that it starts on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub(crate) line: u64,
    pub(crate) value: Value,
}

/// What YAML and JSON have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Float(f64),
    Integer(i64),
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
    Null,
    Text(String),
    /// A number above those of `Integer`.
    Unsigned(u64),
}

/// A key of a map, and its line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) line: u64,
    pub(crate) text: String,
}

impl Tree {
    /// Reads one document, whose first line is `first_line` of its file. None when there is nothing but comments.
    pub(crate) fn parse(text: &str, first_line: u64) -> Result<Option<Self>, Fault> {
        if text.lines().all(says_nothing) {
            return Ok(None);
        }
        let read = serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options());
        match read {
            Ok(raw) => Ok(Some(Self::of(raw, first_line - 1))),
            Err(error) => {
                let at = error.location().filter(|at| *at != Location::UNKNOWN);
                let line = at.map_or(first_line, |at| first_line - 1 + at.line());
                Err(Fault { line, field: String::new(), message: message(&error) })
            }
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(pairs) => pairs.iter().find(|(own, _)| own.text == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn of(raw: Spanned<Raw>, offset: u64) -> Self {
        let value = match raw.value {
            Raw::Bool(value) => Value::Bool(value),
            Raw::Float(value) => Value::Float(value),
            Raw::Integer(value) => Value::Integer(value),
            Raw::List(items) => Value::List(items.into_iter().map(|item| Self::of(item, offset)).collect()),
            Raw::Map(pairs) => Value::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| {
                        let line = key.referenced.line() + offset;
                        (Key { line, text: key.value }, Self::of(value, offset))
                    })
                    .collect(),
            ),
            Raw::Null => Value::Null,
            Raw::Text(value) => Value::Text(value),
            Raw::Unsigned(value) => Value::Unsigned(value),
        };
        Self { line: raw.referenced.line() + offset, value }
    }
}

/// A blank line, a comment, a directive, or a marker with nothing after it.
fn says_nothing(line: &str) -> bool {
    let content = line.strip_prefix("---").unwrap_or(line).trim_start();
    content.is_empty() || content.starts_with('#') || line.starts_with('%')
}

/// What the parser gives.
enum Raw {
    Bool(bool),
    Float(f64),
    Integer(i64),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
    Null,
    Text(String),
    Unsigned(u64),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(i64::try_from(value).map_or(Raw::Unsigned(value), Raw::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Raw::Map(pairs))
    }
}

/// A list of a whole cluster's pods is one document: the parser's own bounds are far below that. Aliases stay bounded,
/// for they are what makes a small file large.
fn options() -> Options {
    serde_saphyr::options! {
        // A `y` among texts is one; where a boolean is wanted, the decoder takes the old words.
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: 100_000_000,
            max_nodes: 50_000_000,
            max_total_scalar_bytes: 1 << 30,
        },
    }
}

/// The parser's words without its place.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.split(" at line ").next().unwrap_or_default().trim_end_matches([' ', ',']).to_owned()
}
