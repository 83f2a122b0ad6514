//! Reading the file: settings with their places, unknown keys with what was probably meant.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error as Yaml, Location, Spanned};

use crate::config::{ConfigError, File, Origin, suggest};

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) settings: Vec<Setting>,
    pub(super) errors: Vec<ConfigError>,
    /// What was being read when reading broke off.
    broken: Option<Reading>,
}

/// A place among the options.
#[derive(Debug)]
enum Reading {
    /// The next key of a group, which is given with its dot.
    Key(String),
    /// A key's value, and what it should be.
    Value(String, &'static str),
}

/// One option that the file sets.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// A key that an option has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Its value may be a YAML list.
    pub(super) list: bool,
}

/// Reads the file; `keys` are those of all options.
pub(super) fn read(file: File<'_>, keys: &[Key]) -> Content {
    let content = RefCell::new(Content::default());
    let root = Group { file, keys, prefix: String::new(), content: &content };
    // An empty file is one that sets nothing; the parser knows no document in it.
    if file.text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return content.into_inner();
    }
    let read = serde_saphyr::with_deserializer_from_str(file.text, |yaml| root.deserialize(yaml));
    let mut content = content.into_inner();
    if let Err(error) = read {
        let origin = file.origin(error.location().unwrap_or(Location::UNKNOWN));
        let complaint = complaint(origin, &error, content.broken.take());
        content.errors.push(complaint);
    }
    content
}

/// What is wrong at a place, in terms of options where it is about one.
fn complaint(origin: Origin, error: &serde_saphyr::Error, reading: Option<Reading>) -> ConfigError {
    match (error.without_snippet(), reading) {
        (Yaml::DuplicateMappingKey { key: Some(key), .. }, Some(Reading::Key(group))) => {
            ConfigError::Duplicate { origin, key: format!("{group}{key}") }
        }
        (Yaml::Unexpected { .. } | Yaml::SerdeInvalidType { .. }, Some(Reading::Value(key, want))) => {
            ConfigError::Shape { origin, key, want }
        }
        (Yaml::Unexpected { .. } | Yaml::SerdeInvalidType { .. }, None) => {
            ConfigError::Syntax { origin, message: format!("the file is not {OPTIONS}") }
        }
        _ => ConfigError::Syntax { origin, message: message(error) },
    }
}

/// The parser's words without its place and its excerpt: the place is said first, as compilers do.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.split(" at line ").next().unwrap_or_default().trim_end_matches([' ', ',']).to_owned()
}

impl File<'_> {
    fn origin(&self, at: Location) -> Origin {
        Origin::File { path: self.path.to_owned(), line: at.line(), column: at.column() }
    }
}

/// A map of options or further groups.
struct Group<'a> {
    file: File<'a>,
    keys: &'a [Key],
    /// Keys of the groups that it is in, each with a dot.
    prefix: String,
    content: &'a RefCell<Content>,
}

/// A value as text, exactly as it was written: `1.10` and `007` are not numbers here. A list becomes its parts with
/// commas between.
#[derive(Clone, Copy)]
struct Text {
    list: bool,
}

impl<'de> DeserializeSeed<'de> for Group<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Group<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(OPTIONS)
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        loop {
            let next = map.next_key::<Spanned<String>>();
            let next = next.inspect_err(|_| self.broken(|| Reading::Key(self.prefix.clone())))?;
            let Some(key) = next else { return Ok(()) };
            let path = format!("{}{}", self.prefix, key.value);
            self.read_value(&mut map, path, self.file.origin(key.referenced))?;
        }
    }
}

impl Group<'_> {
    fn read_value<'de, A: MapAccess<'de>>(
        &self,
        map: &mut A,
        path: String,
        origin: Origin,
    ) -> Result<(), A::Error> {
        let group = format!("{path}.");
        if let Some(known) = self.keys.iter().find(|known| known.name == path) {
            let value = Text { list: known.list };
            let text = map.next_value_seed(value);
            let text = text.inspect_err(|_| self.broken(|| Reading::Value(path.clone(), value.wanted())))?;
            if let Some(text) = text {
                self.content.borrow_mut().settings.push(Setting { key: path, text, origin });
            }
        } else if self.keys.iter().any(|known| known.name.starts_with(&group)) {
            let inner = Group { file: self.file, keys: self.keys, prefix: group, content: self.content };
            let read = map.next_value_seed(inner);
            read.inspect_err(|_| self.broken(|| Reading::Value(path, OPTIONS)))?;
        } else {
            map.next_value::<IgnoredAny>()?;
            let suggestion = self.suggestion(&path);
            let unknown = ConfigError::UnknownKey { origin, key: path, suggestion };
            self.content.borrow_mut().errors.push(unknown);
        }
        Ok(())
    }

    /// Notes where reading breaks off: the innermost place knows most.
    fn broken(&self, at: impl FnOnce() -> Reading) {
        self.content.borrow_mut().broken.get_or_insert_with(at);
    }

    /// The option or group that `unknown` was probably meant to be.
    fn suggestion(&self, unknown: &str) -> Option<String> {
        let depth = unknown.matches('.').count();
        let names = self.keys.iter().map(|key| key.name);
        let groups =
            names.clone().filter_map(|name| name.match_indices('.').nth(depth).map(|(at, _)| &name[..at]));
        suggest::closest(unknown, names.chain(groups)).map(str::to_owned)
    }
}

impl Text {
    const fn wanted(self) -> &'static str {
        if self.list { "a value or a list of values" } else { "a single value" }
    }
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.list { deserializer.deserialize_any(self) } else { deserializer.deserialize_str(self) }
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(value.to_owned()))
    }

    // A list that is a single number.
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element_seed(Self { list: false })? {
            parts.extend(part);
        }
        Ok(Some(parts.join(",")))
    }
}

/// What a group is, and the file.
const OPTIONS: &str = "a map of options";
