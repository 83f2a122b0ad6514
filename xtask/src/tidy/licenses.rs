//! Licence expressions (SPDX) against those that are allowed.

/// Whether an expression can be met by allowed licences alone. `/` is an old way to write `OR`.
pub(super) fn permits(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    reader.any().is_some_and(|met| met && reader.words.is_empty())
}

struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl Reader<'_> {
    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.take("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    fn all(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.take("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let met = self.any()?;
            return self.take(")").then_some(met);
        }
        let (word, rest) = self.words.split_first()?;
        self.words = rest;
        let mut name = word.trim_end_matches('+').to_owned();
        if self.take("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            name = format!("{name} WITH {exception}");
        }
        Some(self.allowed.contains(&name))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.split_first().filter(|(first, _)| **first == word);
        if let Some((_, rest)) = found {
            self.words = rest;
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_one_alternative_and_all_of_its_parts() {
        let allowed = ["MIT", "ISC", "MPL-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for met in
            ["MIT", "GPL-3.0/MIT", "ISC AND (GPL-3.0 OR MIT)", "MPL-2.0+", "Apache-2.0 WITH LLVM-exception"]
        {
            assert!(permits(met, &allowed), "{met}");
        }
        for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "", "(MIT", "MIT MIT"] {
            assert!(!permits(unmet, &allowed), "{unmet}");
        }
    }
}
