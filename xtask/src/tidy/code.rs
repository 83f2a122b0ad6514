//! As much of Rust's grammar as counting functions' lines needs.

/// A function's name, and its lines from `fn` to the closing brace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) first: usize,
    pub(super) lines: usize,
}

/// The functions with bodies, as far as braces tell.
pub(super) fn functions(source: &str) -> Vec<Function> {
    let code = without_texts(source);
    let starts = code.match_indices("fn ").filter(|(at, _)| {
        let before = code[..*at].chars().next_back();
        before.is_none_or(|it| !it.is_alphanumeric() && it != '_')
    });
    starts.filter_map(|(at, _)| function(&code, at)).collect()
}

fn function(code: &str, at: usize) -> Option<Function> {
    let name: String = code[at + 3..].chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
    let (mut depth, mut brackets) = (0_usize, 0_usize);
    for (offset, sign) in code[at..].char_indices() {
        match sign {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            // A declaration, or a type like `fn (u8)`, ends before any brace.
            ';' | ',' if depth == 0 && brackets == 0 => return None,
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    let first = code[..at].matches('\n').count() + 1;
                    let lines = code[at..at + offset].matches('\n').count() + 1;
                    return (!name.is_empty()).then_some(Function { name, first, lines });
                }
            }
            _ => {}
        }
    }
    None
}

/// The source with blanks for what is in comments, strings and characters; lines stay where they are.
pub(super) fn without_texts(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let length = text_length(rest, code.chars().next_back());
        let taken = length.unwrap_or_else(|| rest.chars().next().map_or(1, char::len_utf8));
        let (text, after) = rest.split_at(taken);
        if length.is_some() {
            code.extend(text.chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
        } else {
            code.push_str(text);
        }
        rest = after;
    }
    code
}

/// How long the comment, string or character is that begins here, if one does.
fn text_length(rest: &str, before: Option<char>) -> Option<usize> {
    let in_word = before.is_some_and(|it| it.is_alphanumeric() || it == '_');
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(comment_length(rest));
    }
    if let Some(raw) = rest.strip_prefix(['r', 'b', 'c']).filter(|_| !in_word) {
        let raw = raw.strip_prefix('r').unwrap_or(raw);
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let is_raw = rest.len() - raw.len() == 2 || rest.starts_with('r');
        if is_raw && raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let from = rest.len() - raw.len() + hashes + 1;
            return Some(rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len()));
        }
    }
    if rest.starts_with('"') {
        return Some(quoted_length(rest, '"'));
    }
    // A lifetime has no closing quote after its first character.
    let mut after = rest.strip_prefix('\'')?.chars();
    match (after.next()?, after.next()?) {
        ('\\', _) | (_, '\'') => Some(quoted_length(rest, '\'')),
        _ => None,
    }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, sign) in rest.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if sign == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Comments nest.
fn comment_length(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_texts_do_not_count() {
        let source = "fn a() {\n  let x = \"}\"; // }\n  let y = '}'; /* } */ let z = r#\"}\"#;\n}\n\nfn b<'a>(x: &'a str) {}\n";
        let found = functions(source);
        let found: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.first, it.lines)).collect();
        assert_eq!(found, [("a", 1, 4), ("b", 6, 1)]);
    }

    #[test]
    fn what_has_no_body_is_no_function() {
        assert_eq!(functions("trait A {\n  fn a(&self) -> [u8; 2];\n}\nstruct B { f: fn (u8) -> u8 }\n"), []);
    }
}
