//! Sizes, and words that do not land.

use std::path::{Path, PathBuf};

use crate::error::XtaskError;
use crate::tidy::{Finding, code, read};

/// Checks every source, and every text for hosts that the project must not name.
pub(super) fn check(files: &[PathBuf]) -> Result<Vec<Finding>, XtaskError> {
    let mut findings = Vec::new();
    for path in files {
        // What is no text holds no rule of ours.
        let Ok(text) = read(path) else { continue };
        findings.extend(hosts(path, &text));
        if path.extension().is_some_and(|it| it == "rs") {
            findings.extend(sizes(path, &text));
            findings.extend(words(path, &text));
        }
    }
    Ok(findings)
}

fn sizes(path: &Path, text: &str) -> Vec<Finding> {
    let lines = text.lines().count();
    let too_long = (lines > FILE_LINES).then(|| {
        Finding::new(path.display(), format!("{lines} lines, at most {FILE_LINES} are kept in mind"))
    });
    let functions = code::functions(text).into_iter().filter(|it| it.lines > FUNCTION_LINES);
    let functions = functions.map(|it| {
        let place = format!("{}:{}", path.display(), it.first);
        Finding::new(place, format!("fn {} has {} lines, at most {FUNCTION_LINES}", it.name, it.lines))
    });
    too_long.into_iter().chain(functions).collect()
}

fn words(path: &Path, text: &str) -> Vec<Finding> {
    let bare = code::without_texts(text);
    let mut findings = Vec::new();
    for (number, (line, code)) in text.lines().zip(bare.lines()).enumerate() {
        let place = || format!("{}:{}", path.display(), number + 1);
        let unfinished = UNFINISHED.iter().filter(|word| line.contains(&word.concat()));
        findings
            .extend(unfinished.map(|word| Finding::new(place(), format!("{} does not land", word.concat()))));
        let refused = REFUSED.iter().filter(|(word, _)| code.contains(word));
        findings.extend(refused.map(|(word, instead)| Finding::new(place(), format!("{word}: {instead}"))));
    }
    findings
}

fn hosts(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let named =
            REGISTRIES.iter().map(|parts| parts.join(".")).filter(|host| line.contains(host.as_str()));
        let place = format!("{}:{}", path.display(), number + 1);
        findings.extend(named.map(|host| Finding::new(&place, format!("names the public registry {host}"))));
    }
    findings
}

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 80;

/// Marks of what is not done; in pieces, so that this file passes.
const UNFINISHED: &[[&str; 2]] = &[["TO", "DO"], ["FIX", "ME"], ["XX", "X"]];

/// What is in code that should be in none.
const REFUSED: &[(&str, &str)] = &[
    ("#[allow(", "expect it, with a reason"),
    ("#![allow(", "expect it, with a reason"),
    ("#[ignore", "a test runs or is deleted"),
    ("dbg!(", "debugging does not land"),
    ("todo!(", "what is not there is not called"),
    ("unimplemented!(", "what is not there is not called"),
];

/// Registries of images that a cluster without them could not reach; in pieces, so that this file passes.
const REGISTRIES: &[&[&str]] =
    &[&["docker", "io"], &["gcr", "io"], &["ghcr", "io"], &["quay", "io"], &["registry", "k8s", "io"]];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_in_code_and_marks_everywhere() {
        let text = format!("// {} later\nlet a = \"todo!()\";\nlet b = todo!();\n", UNFINISHED[0].concat());
        let found: Vec<_> = words(Path::new("a.rs"), &text).into_iter().map(|it| it.place).collect();
        assert_eq!(found, ["a.rs:1", "a.rs:3"]);
    }
}
