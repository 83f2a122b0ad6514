//! The series that a PromQL query asks for.

/// Each metric that a query names, with its matchers: `up{job="a"}`.
pub(crate) fn selectors(query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(|it: char| it.is_ascii_alphabetic() || matches!(it, '"' | '(' | '_')) {
        let from = &rest[start..];
        rest = match from.as_bytes()[0] {
            b'"' => after_text(from),
            b'(' => &from[1..],
            _ => {
                let end =
                    from.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(from.len());
                let (word, behind) = from.split_at(end);
                match behind.trim_start().as_bytes().first() {
                    // Labels, which are no metrics.
                    Some(b'(') if GROUPING.contains(&word) => {
                        behind.split_once(')').map_or("", |(_, rest)| rest)
                    }
                    Some(b'(') => behind,
                    _ if WORDS.contains(&word) || !word.contains('_') && word != "up" => behind,
                    _ => {
                        let matchers = matchers(behind);
                        found.push(format!("{word}{matchers}"));
                        &behind[matchers.len()..]
                    }
                }
            }
        };
    }
    found
}

/// The braces that a text begins with, if it does.
fn matchers(text: &str) -> &str {
    if !text.starts_with('{') {
        return "";
    }
    let mut rest = &text[1..];
    loop {
        match rest.find(['"', '}']) {
            Some(at) if rest.as_bytes()[at] == b'"' => rest = after_text(&rest[at..]),
            Some(at) => return &text[..text.len() - rest.len() + at + 1],
            None => return text,
        }
    }
}

/// What follows the text in quotes that `text` begins with.
fn after_text(text: &str) -> &str {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'\\' if !escaped => escaped = true,
            b'"' if !escaped => return &text[at + 1..],
            _ => escaped = false,
        }
    }
    ""
}

/// What is followed by labels in parentheses.
const GROUPING: &[&str] = &["by", "group_left", "group_right", "ignoring", "on", "without"];

/// Words of the language that could be a metric's name.
const WORDS: &[&str] = &["group_left", "group_right"];

#[test]
fn metrics_are_told_from_functions_labels_and_durations() {
    let query = r#"histogram_quantile(0.9, sum by (le, a_b) (rate(x_bucket{c=~"y}|z_q",d!="1"}[5m]))) > 0.5 * up and on (e_f) g_h"#;
    assert_eq!(selectors(query), [r#"x_bucket{c=~"y}|z_q",d!="1"}"#, "up", "g_h"]);
}
