//! A YAML document as a tree that remembers its lines.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Options, Spanned};

use super::Fault;
use super::document::{self, says_nothing};

/// A value and the line that it starts on; 0 where lines were not asked for.
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

/// Whether a tree knows its lines. That costs more than all the rest, and only what is wrong has to say where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// It does; the document's first is this one of its file.
    From(u64),
    Unknown,
}

impl Tree {
    /// Reads one document. None when there is nothing but comments.
    pub(crate) fn parse(text: &str, lines: Lines) -> Result<Option<Self>, Fault> {
        if document::lines(text).all(says_nothing) {
            return Ok(None);
        }
        let first_line = match lines {
            Lines::From(first_line) => first_line,
            Lines::Unknown => 1,
        };
        let read = match lines {
            Lines::From(_) => serde_saphyr::from_str_with_options(text, options())
                .map(|Lined(raw)| raw.value.tree(raw.referenced.line() + first_line - 1, first_line - 1)),
            Lines::Unknown => {
                serde_saphyr::from_str_with_options(text, options()).map(|Plain(raw)| raw.tree(0, 0))
            }
        };
        read.map(Some).map_err(|error| {
            let at = error.location().filter(|at| *at != Location::UNKNOWN);
            let line = at.map_or(first_line, |at| first_line - 1 + at.line());
            Fault { line, field: String::new(), message: message(&error) }
        })
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
}

/// What it is, for messages.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "is {value}"),
            Self::Float(value) => write!(f, "is {value}"),
            Self::Integer(value) => write!(f, "is {value}"),
            Self::List(_) => f.write_str("is a list"),
            Self::Map(_) => f.write_str("is a map"),
            Self::Null => f.write_str("is nothing"),
            Self::Text(value) => write!(f, "is the text {value:?}"),
            Self::Unsigned(value) => write!(f, "is {value}"),
        }
    }
}

/// What the parser gives, with keys and items of some kind.
enum Raw<K, I> {
    Bool(bool),
    Float(f64),
    Integer(i64),
    List(Vec<I>),
    Map(Vec<(K, I)>),
    Null,
    Text(String),
    Unsigned(u64),
}

/// A value without its line.
struct Plain(Raw<String, Self>);

/// A value with its line in the document.
struct Lined(Spanned<Raw<Spanned<String>, Self>>);

/// What makes a tree, when lines before the document are added to its own.
trait Part {
    type Made;

    fn part(self, lines_before: u64) -> Self::Made;
}

impl<K: Part<Made = Key>, I: Part<Made = Tree>> Raw<K, I> {
    fn tree(self, line: u64, lines_before: u64) -> Tree {
        let value = match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Float(value) => Value::Float(value),
            Self::Integer(value) => Value::Integer(value),
            Self::List(items) => Value::List(items.into_iter().map(|item| item.part(lines_before)).collect()),
            Self::Map(pairs) => {
                let pair = |(key, value): (K, I)| (key.part(lines_before), value.part(lines_before));
                Value::Map(pairs.into_iter().map(pair).collect())
            }
            Self::Null => Value::Null,
            Self::Text(value) => Value::Text(value),
            Self::Unsigned(value) => Value::Unsigned(value),
        };
        Tree { line, value }
    }
}

impl Part for Plain {
    type Made = Tree;

    fn part(self, _: u64) -> Tree {
        self.0.tree(0, 0)
    }
}

impl Part for Lined {
    type Made = Tree;

    fn part(self, lines_before: u64) -> Tree {
        self.0.value.tree(self.0.referenced.line() + lines_before, lines_before)
    }
}

impl Part for String {
    type Made = Key;

    fn part(self, _: u64) -> Key {
        Key { line: 0, text: self }
    }
}

impl Part for Spanned<String> {
    type Made = Key;

    fn part(self, lines_before: u64) -> Key {
        Key { line: self.referenced.line() + lines_before, text: self.value }
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Lined {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de, K: Deserialize<'de>, I: Deserialize<'de>> Deserialize<'de> for Raw<K, I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor(PhantomData))
    }
}

struct RawVisitor<K, I>(PhantomData<(K, I)>);

impl<'de, K: Deserialize<'de>, I: Deserialize<'de>> Visitor<'de> for RawVisitor<K, I> {
    type Value = Raw<K, I>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Raw::Unsigned(value), Raw::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(Raw::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
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
