//! Typed objects out of a [`Tree`]; an error says which field it is about, and on which line.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::strangers::Strangers;
use super::tree::{Key, Tree, Value};

/// What is wrong in a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Line of the file; 0 where the tree does not know its lines.
    pub(crate) line: u64,
    /// The field, as in `spec.containers[0].ports`; empty for the document as a whole.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// Reads an object, or a part of one.
pub(super) fn decode<T: DeserializeOwned>(tree: &Tree, strangers: Strangers<'_>) -> Result<T, Fault> {
    let node = Node { tree, path: Path::Root, strangers };
    node.place(T::deserialize(node))
}

/// Where in the document: made while going down, written out only when something is wrong.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Index(&'p Self, usize),
    Key(&'p Self, &'p str),
}

/// A value to deserialize. As in Kubernetes, a null is a field that isn't there.
#[derive(Clone, Copy)]
struct Node<'a> {
    tree: &'a Tree,
    path: Path<'a>,
    strangers: Strangers<'a>,
}

impl<'a> Node<'a> {
    fn pairs(&'a self, pairs: &'a [(Key, Tree)], skip_nulls: bool) -> Pairs<'a> {
        Pairs { pairs: pairs.iter(), value: None, path: &self.path, skip_nulls, strangers: self.strangers }
    }

    fn items(&'a self, items: &'a [Tree]) -> Items<'a> {
        Items { items: items.iter(), at: 0, path: &self.path, strangers: self.strangers }
    }

    /// Looks for fields that are not known. A type without fields reads none, and knows none.
    fn check_fields(&self, pairs: &[(Key, Tree)], known: &'static [&'static str]) -> Result<(), Fault> {
        if known.is_empty() {
            return Ok(());
        }
        for (key, _) in pairs.iter().filter(|(_, value)| value.value != Value::Null) {
            let of_all = matches!(self.path, Path::Root) && OF_ALL.contains(&&*key.text);
            let field = || Path::Key(&self.path, &key.text).to_string();
            let checked = if of_all { Ok(()) } else { self.strangers.field(&key.text, known, field) };
            checked.map_err(|message| Fault { line: key.line, field: field(), message })?;
        }
        Ok(())
    }

    fn place<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| match fault.line {
            NOWHERE => Fault { line: self.tree.line, field: self.path.to_string(), ..fault },
            _ => fault,
        })
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.place(match &self.tree.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::List(items) => visitor.visit_seq(self.items(items)),
            Value::Map(pairs) => visitor.visit_map(self.pairs(pairs, false)),
            Value::Null => visitor.visit_unit(),
            Value::Text(text) => visitor.visit_str(text),
            Value::Unsigned(value) => visitor.visit_u64(*value),
        })
    }

    /// YAML 1.1, which kubectl reads, has more words for booleans.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree.text() {
            Some("yes" | "Yes" | "YES" | "on" | "On" | "ON") => visitor.visit_bool(true),
            Some("no" | "No" | "NO" | "off" | "Off" | "OFF") => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.tree.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.tree.value {
            Value::Null => self.place(visitor.visit_str("")),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.tree.value {
            Value::Null => visitor.visit_seq(self.items(&[])),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.tree.value {
            Value::Null => visitor.visit_map(self.pairs(&[], false)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.tree.value {
            Value::Null => self.place(visitor.visit_map(self.pairs(&[], true))),
            Value::Map(pairs) => {
                self.check_fields(pairs, fields)?;
                self.place(visitor.visit_map(self.pairs(pairs, true)))
            }
            // A struct that is written as a list of its fields is none.
            Value::List(_) => self.place(Err(Fault::custom("invalid type: list, expected a map"))),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.tree.value {
            Value::Text(text) => {
                let checked = self.strangers.word(text, words, || self.path.to_string());
                self.place(checked.map_err(Fault::custom))?;
                let text: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                self.place(visitor.visit_enum(text))
            }
            Value::Null => self.place(visitor.visit_enum("".into_deserializer())),
            _ => self.deserialize_any(visitor),
        }
    }

    /// Every number of this width is a port.
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let port = match &self.tree.value {
            Value::Integer(number) => u16::try_from(*number).ok(),
            _ => None,
        };
        self.place(match port {
            Some(port) => visitor.visit_u16(port),
            None => Err(Fault::custom(format_args!("{}, want a port from 1 to 65535", self.tree.value))),
        })
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = match &self.tree.value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            _ => None,
        };
        self.place(match number {
            Some(number) => visitor.visit_u32(number),
            None => {
                let wrong = format_args!("{}, want a whole number from 0 to {}", self.tree.value, u32::MAX);
                Err(Fault::custom(wrong))
            }
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.place(visitor.visit_newtype_struct(self))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct ignored_any
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Tree>,
    at: usize,
    path: &'a Path<'a>,
    strangers: Strangers<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(tree) = self.items.next() else { return Ok(None) };
        let node = Node { tree, path: Path::Index(self.path, self.at), strangers: self.strangers };
        self.at += 1;
        node.place(seed.deserialize(node)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Pairs<'a> {
    pairs: std::slice::Iter<'a, (Key, Tree)>,
    value: Option<(&'a Key, &'a Tree)>,
    path: &'a Path<'a>,
    skip_nulls: bool,
    strangers: Strangers<'a>,
}

impl<'a> Pairs<'a> {
    /// What becomes of strangers below a key.
    fn strangers_below(&self, key: &str) -> Strangers<'a> {
        match (self.path, key) {
            (Path::Root, "metadata" | "status") => Strangers::Tolerated,
            _ => self.strangers,
        }
    }
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let skip_nulls = self.skip_nulls;
        let wanted = |(_, tree): &&(Key, Tree)| !(skip_nulls && tree.value == Value::Null);
        let Some((key, tree)) = self.pairs.by_ref().find(wanted) else { return Ok(None) };
        self.value = Some((key, tree));
        let text: StrDeserializer<'_, Fault> = key.text.as_str().into_deserializer();
        let place = |fault: Fault| Fault {
            line: key.line,
            field: Path::Key(self.path, &key.text).to_string(),
            ..fault
        };
        seed.deserialize(text).map(Some).map_err(place)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, tree)) = self.value.take() else {
            return Err(Fault::custom("a value is read before its key"));
        };
        let strangers = self.strangers_below(&key.text);
        let node = Node { tree, path: Path::Key(self.path, &key.text), strangers };
        node.place(seed.deserialize(node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.pairs.len())
    }
}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { line: NOWHERE, field: String::new(), message: message.to_string() }
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Index(parent, at) => write!(f, "{parent}[{at}]"),
            Self::Key(Path::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
        }
    }
}

/// Fields that every object may have, whatever is read of it.
const OF_ALL: &[&str] = &["apiVersion", "kind", "status"];

/// The line of a fault that has no place yet.
const NOWHERE: u64 = u64::MAX;
