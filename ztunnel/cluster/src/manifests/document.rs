//! A file's documents.

/// One document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// The line of the file that it starts on, from 1.
    pub(super) line: u64,
    pub(super) text: &'a str,
}

impl Document<'_> {
    /// Lines before the first that says something.
    pub(super) fn blank_lines(&self) -> u64 {
        let blank = lines(self.text).take_while(|line| says_nothing(line)).count();
        u64::try_from(blank).unwrap_or_default()
    }
}

impl Document<'_> {
    /// The kind and name that it seems to be about, by its text alone: of use where it cannot be parsed.
    pub(super) fn subject(&self) -> Option<String> {
        let kind =
            lines(self.text).filter(|line| line.starts_with("kind")).find_map(|line| value(line, "kind"))?;
        let mut lines = lines(self.text).skip_while(|line| !line.starts_with("metadata:"));
        let flow =
            lines.next().and_then(|line| line.split(['{', ',', '[']).find_map(|part| value(part, "name")));
        let below = || {
            let mut below = lines.take_while(|line| line.starts_with([' ', '\t', '#']));
            below.find_map(|line| value(line.trim_start(), "name"))
        };
        Some(match flow.or_else(below) {
            Some(name) => format!("{kind} {name}"),
            None => kind.to_owned(),
        })
    }
}

/// The short value of a key, where the text is about that.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = text.trim_start_matches(' ').strip_prefix(key)?.strip_prefix(':')?;
    let end = value.find(['#', ',', '}', ']', '{', '[']).unwrap_or(value.len());
    let value = value[..end].trim().trim_matches(['"', '\'']);
    (!value.is_empty() && value.len() <= MAX_NAME).then_some(value)
}

/// A blank line, a comment, a directive, or a marker with nothing after it.
pub(super) fn says_nothing(line: &str) -> bool {
    let content = line.strip_prefix("---").unwrap_or(line).trim_start();
    content.is_empty() || content.starts_with('#') || line.starts_with('%')
}

/// The lines of a text, each with its end: a line feed, a carriage return, or both in this order (YAML 1.2 §5.4). The
/// parser counts them so, and everyone must who says which line something is on.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = match rest.find(['\r', '\n']) {
            Some(at) if rest[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + 1,
            None if rest.is_empty() => return None,
            None => rest.len(),
        };
        let (line, behind) = rest.split_at(end);
        rest = behind;
        Some(line)
    })
}

/// The documents of a YAML file. They are told apart before they are parsed, so that a broken one leaves the others
/// alone; a line that starts with `---` or `...` ends a document wherever it stands (YAML 1.2 §9.1.2).
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut line, mut at, mut number) = (0, 1, 0, 0);
    for content in lines(text) {
        number += 1;
        if let Some(marker) = ["---", "..."].into_iter().find(|marker| is_marker(content, marker)) {
            documents.push(Document { line, text: &text[start..at] });
            // What follows `---` on its line belongs to the document; the marker itself does no harm.
            (start, line) = if marker == "---" { (at, number) } else { (at + content.len(), number + 1) };
        }
        at += content.len();
    }
    documents.push(Document { line, text: &text[start..] });
    documents.retain(|document| !document.text.trim().is_empty());
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Longest name of an object.
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_cannot_be_parsed_says_what_it_seems_to_be_about() {
        for (text, subject) in [
            ("kind: Pod\nmetadata:\n  # which\n  name: cart\nspec: [\n", Some("Pod cart")),
            ("metadata: {namespace: a, name: \"cart\"}\nkind: Pod # a\nspec: [\n", Some("Pod cart")),
            ("kind: Pod\nmetadata:\n  labels: {}\nspec:\n  name: x\n", Some("Pod")),
            ("items:\n- kind: Pod\n  metadata: [\n", None),
            ("kind: [\n", None),
            ("spec:\n", None),
        ] {
            assert_eq!(Document { line: 1, text }.subject().as_deref(), subject, "{text}");
        }
    }

    #[test]
    fn documents_know_their_line() {
        let text = "# head\na: 1\n---\nb: 2\n...\n--- c\n---\n\n";
        let documents: Vec<_> = split(text).iter().map(|document| (document.line, document.text)).collect();
        assert_eq!(documents, [(1, "# head\na: 1\n"), (3, "---\nb: 2\n"), (6, "--- c\n"), (7, "---\n\n")]);
    }

    #[test]
    fn carriage_returns_end_lines_alone_and_before_a_line_feed() {
        assert_eq!(lines("a\r\rb\r\nc\nd").collect::<Vec<_>>(), ["a\r", "\r", "b\r\n", "c\n", "d"]);
        for end in ["\n", "\r", "\r\n"] {
            let text = ["a: 1", "", "---", "b: 2", "..."].map(|line| format!("{line}{end}")).concat();
            let documents: Vec<_> = split(&text).iter().map(|document| document.line).collect();
            assert_eq!(documents, [1, 3], "{end:?}");
        }
    }

    #[test]
    fn a_marker_within_a_line_or_a_word_ends_nothing() {
        assert_eq!(split("a: |\n  ---\n----\n--- x\n").len(), 2);
    }
}
