//! What a word that is not known was probably meant to be.

/// The nearest of some words, where it is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = unknown.to_ascii_lowercase();
    let distance = |word: &&str| strsim::osa_distance(&plain, &word.to_ascii_lowercase());
    let (distance, word) = known.iter().map(|word| (distance(word), *word)).min()?;
    let slips = (word.len() / 3).min(MAX_SLIPS);
    (distance <= slips).then_some(word)
}

/// Asks whether `meant` is meant; else says what may be written.
pub(crate) fn or_one_of(meant: Option<&str>, known: &[&str]) -> String {
    match (meant, known) {
        (Some(meant), _) => format!("did you mean {meant:?}?"),
        (None, [only]) => format!("want {only}"),
        (None, []) => "and no other is".to_owned(),
        (None, [first @ .., last]) => format!("want {} or {last}", first.join(", ")),
    }
}

/// More letters than that make another word.
const MAX_SLIPS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_told_from_another_word() {
        let known = ["action", "rules", "selector", "to", "egress", "udp"];
        for (unknown, meant) in [
            ("acton", Some("action")),
            ("Action", Some("action")),
            ("selectr", Some("selector")),
            ("upd", Some("udp")),
            ("egres", Some("egress")),
            ("ro", None),
            ("reactions", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, &known), meant, "{unknown}");
        }
    }
}
