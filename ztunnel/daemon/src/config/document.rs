//! A configuration written out, with what each option means.

use crate::config::{Opt, Options};

impl<C> Options<C> {
    /// `config` as a file that reads back to the same, each option under its meaning. What is not set is a comment.
    pub fn document(&self, config: &C) -> String {
        let mut text = String::new();
        let mut open: Vec<&str> = Vec::new();
        for option in self.iter() {
            let parts: Vec<&str> = option.key.split('.').collect();
            let (name, groups) = parts.split_last().expect("a key is never empty");
            if open != groups {
                let shared = open.iter().zip(groups).take_while(|(one, other)| one == other).count();
                text.push('\n');
                for (depth, group) in groups.iter().enumerate().skip(shared) {
                    text.push_str(&format!("{}{group}:\n", indent(depth)));
                }
                open = groups.to_vec();
            }
            option.document(name, &indent(groups.len()), config, &mut text);
        }
        text.trim_start().to_owned()
    }
}

impl<C> Opt<C> {
    fn document(&self, name: &str, indent: &str, config: &C, text: &mut String) {
        for line in wrap(self.help, WIDTH - indent.len()) {
            text.push_str(&format!("{indent}# {line}\n"));
        }
        text.push_str(&format!("{indent}# {}, flag {}, variable {}\n", self.value, self.flag(), self.env));
        match (self.show)(config) {
            shown if shown.is_empty() => text.push_str(&format!("{indent}# {name}:\n")),
            shown => text.push_str(&format!("{indent}{name}: {}\n", quoted(&shown))),
        }
    }
}

/// The value as YAML: quoted wherever a plain scalar might mean something else.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | '%');
    if value.chars().all(plain) && !value.starts_with(['-', '%']) {
        return value.to_owned();
    }
    serde_json::to_string(value).expect("a string is always JSON, which is YAML")
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Columns of a comment.
const WIDTH: usize = 100;
