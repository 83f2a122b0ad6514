//! Metrics, as a daemon tells them.

use std::collections::BTreeMap;

/// What one scrape brought.
#[derive(Clone, Debug, Default)]
pub struct Scrape(Vec<Sample>);

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Reads Prometheus' text format; comments and what cannot be read are left out.
    pub(crate) fn read(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of a metric's samples that have these labels; none when there is no such sample.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            let own = |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|own| own == value);
            sample.name == name && labels.iter().all(own)
        };
        self.0.iter().filter(has).map(|sample| sample.value).reduce(|one, other| one + other)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = head.split_once('{').unwrap_or((head, "}"));
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = BTreeMap::new();
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let (value, left) = unquoted(quoted)?;
        labels.insert(name.to_owned(), value);
        rest = left.trim_start_matches(',');
    }
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// A value up to its closing quote, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_the_labels_that_are_asked_for() {
        let text = "# HELP a A.\na{x=\"1\",y=\"q\\\"{,}\"} 2\na{x=\"2\",y=\"z\"} 3\nb 4.5\n";
        let scrape = Scrape::read(text);
        assert_eq!(scrape.sum("a", &[]), Some(5.0));
        assert_eq!(scrape.sum("a", &[("y", "q\"{,}")]), Some(2.0));
        assert_eq!(scrape.sum("b", &[]), Some(4.5));
        assert_eq!(scrape.sum("a", &[("x", "3")]), None);
    }
}
