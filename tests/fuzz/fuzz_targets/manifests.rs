//! Manifests: read or refused, each problem on a line that is there, and the same whichever way lines end.
#![no_main]

use std::path::Path;

use cluster::{Problem, Reported, Settings, read, translate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for name in ["a.yaml", "a.json"] {
        let problems = digest(name, text);
        if !text.contains('\r') {
            for end in ["\r", "\r\n"] {
                let places = |problems: &[Problem]| {
                    problems
                        .iter()
                        .map(|it| (it.line, it.field.clone(), it.object.clone()))
                        .collect::<Vec<_>>()
                };
                let other = digest(name, &text.replace('\n', end));
                assert_eq!(places(&other), places(&problems), "{end:?}");
            }
        }
    }
});

fn digest(name: &str, text: &str) -> Vec<Problem> {
    let (objects, problems) = read(Path::new(name), text);
    translate(&objects, &Reported::default(), &Settings::default());
    // YAML 1.2 §5.4: a carriage return ends a line, and so does one with the line feed behind it.
    let ends = text.matches(['\r', '\n']).count() - text.matches("\r\n").count();
    let lines = u64::try_from(ends).expect("it is short") + 1;
    for problem in &problems {
        assert!(problem.line <= lines, "{problem} of {lines} lines");
        assert!(problem.to_string().starts_with(name));
    }
    problems
}
