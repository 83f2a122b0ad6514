//! The names of our trust domain, as principals in policies mean them.

use std::borrow::Cow;

use identity::TrustDomain;

use super::Settings;

/// What Istio takes for the mesh's own trust domain in a policy, whatever that is called.
const POINTER: &str = "cluster.local";

/// A principal under each name that our trust domain has: policies written for one of them hold while workloads change
/// from one to another. A principal of any other domain stays as it is.
pub(super) fn names<'a>(principal: &'a str, settings: &Settings) -> Vec<Cow<'a, str>> {
    let principal = principal.strip_prefix("spiffe://").unwrap_or(principal);
    let ours = || std::iter::once(&settings.trust_domain).chain(&settings.trust_domain_aliases);
    let Some((domain, path)) = principal.split_once('/') else { return vec![principal.into()] };
    let is_one_of_ours = domain == POINTER || ours().any(|name| is(domain, name));
    if !is_one_of_ours {
        return vec![principal.into()];
    }
    let mut names = Vec::new();
    for ours in ours() {
        // A form with a star at its start covers that name already.
        let name = if is(domain, ours) { principal.into() } else { Cow::from(format!("{ours}/{path}")) };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether the domain in a principal, which may begin with a star, is that one.
fn is(domain: &str, name: &TrustDomain) -> bool {
    match domain.strip_prefix('*') {
        Some(end) => name.as_str().ends_with(end),
        None => domain == name.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(principal: &str, own: &str, aliases: &[&str]) -> Vec<String> {
        let settings = Settings {
            trust_domain: own.parse().unwrap(),
            trust_domain_aliases: aliases.iter().map(|alias| alias.parse().unwrap()).collect(),
            ..Settings::default()
        };
        names(principal, &settings).into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn each_name_of_ours_stands_for_all() {
        for written in ["new/ns/a/sa/b", "old/ns/a/sa/b", "spiffe://old/ns/a/sa/b"] {
            assert_eq!(
                named(written, "new", &["old", "older"]),
                ["new/ns/a/sa/b", "old/ns/a/sa/b", "older/ns/a/sa/b"]
            );
        }
        assert_eq!(named("old/ns/a/*", "new", &["old"]), ["new/ns/a/*", "old/ns/a/*"]);
    }

    #[test]
    fn cluster_local_points_to_the_domain_of_the_mesh() {
        assert_eq!(named("cluster.local/ns/a/sa/b", "new", &["old"]), ["new/ns/a/sa/b", "old/ns/a/sa/b"]);
        assert_eq!(named("cluster.local/ns/a/sa/b", "cluster.local", &[]), ["cluster.local/ns/a/sa/b"]);
    }

    #[test]
    fn a_partner_keeps_its_name() {
        assert_eq!(named("partner/ns/a/sa/b", "new", &["old"]), ["partner/ns/a/sa/b"]);
        assert_eq!(named("older/ns/a/sa/b", "new", &["old"]), ["older/ns/a/sa/b"]);
        assert_eq!(named("*-partner/ns/a/sa/b", "new", &["old"]), ["*-partner/ns/a/sa/b"]);
    }

    #[test]
    fn forms_without_a_domain_stay() {
        for form in ["*", "*b", "new*", "ambient.mesh/node"] {
            assert_eq!(named(form, "new", &["old"]), [form]);
        }
    }

    #[test]
    fn a_star_that_covers_some_names_is_kept_for_those() {
        assert_eq!(
            named("*-domain/ns/a/sa/b", "new-domain", &["old-domain", "prod"]),
            ["*-domain/ns/a/sa/b", "prod/ns/a/sa/b"]
        );
    }
}
