//! Which key was meant.

use strsim::osa_distance as distance;

/// The key of `known` that is closest to `unknown`, if any is close enough to be a slip of the pen, or has the same
/// last part in another group.
pub(super) fn closest<'a>(unknown: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let near = known.clone().map(|key| (distance(&plain(unknown), &plain(key)), key)).min()?;
    if near.0 <= (unknown.len() / 4).max(1) {
        return Some(near.1);
    }
    let last = |key: &'a str| key.rsplit('.').next().unwrap_or(key);
    let wanted = plain(unknown.rsplit('.').next().unwrap_or(unknown));
    let mut same_end = known.filter(|key| distance(&wanted, &plain(last(key))) <= wanted.len() / 5);
    let only = same_end.next()?;
    same_end.next().is_none().then_some(only)
}

/// Without what people spell differently: case, dashes and underscores.
fn plain(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["ca.address", "dns.enabled", "timeouts.connect", "trustDomain"];

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        for (unknown, meant) in [
            ("ca.adress", "ca.address"),
            ("timeouts.conenct", "timeouts.connect"),
            ("trust_domain", "trustDomain"),
            ("network.address", "ca.address"),
            ("enabled", "dns.enabled"),
        ] {
            assert_eq!(closest(unknown, KNOWN.into_iter()), Some(meant), "{unknown}");
        }
    }

    #[test]
    fn something_else_is_not() {
        assert_eq!(closest("tracing.sampling", KNOWN.into_iter()), None);
    }

    #[test]
    fn distances() {
        for (one, other, want) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(one, other), want, "{one} {other}");
            assert_eq!(distance(other, one), want, "{other} {one}");
        }
    }
}
