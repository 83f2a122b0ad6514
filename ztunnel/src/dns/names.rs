//! Which names a client may mean by the one that it asks for.

use super::ResolverView;

/// A name that a client may mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// In lower case, without the last dot.
    pub(super) name: String,
    /// The client's resolver appended a search domain that the name is not to be looked for in. The answer then says
    /// which name it is about (CNAME), and spares the client its further questions.
    pub(super) stripped: bool,
}

/// All names that a client may mean by `asked`, the likeliest first, [`MAX_CANDIDATES`] at most:
///
/// 1. the name itself;
/// 2. expanded by each search domain, where the client's own resolver would expand it (`ndots`): not all of them do
///    (`web`, `web.shop`, `web.shop.svc`, `web-0.nodes`, ...);
/// 3. stripped of the search domain that the client's resolver appended, and that expanded by each search domain
///    (`web.shop.front.svc.cluster.local` means `web.shop.svc.cluster.local` for a client in `front`).
pub(super) fn candidates(asked: &str, view: &ResolverView) -> Vec<Candidate> {
    let mut all = Candidates { all: vec![Candidate { name: asked.to_owned(), stripped: false }] };
    all.expand(asked, view, false);
    for domain in &view.searches {
        let Some(stripped) = strip(asked, domain) else { continue };
        all.push(stripped.to_owned(), true);
        all.expand(stripped, view, true);
    }
    all.all
}

struct Candidates {
    all: Vec<Candidate>,
}

impl Candidates {
    fn expand(&mut self, name: &str, view: &ResolverView, stripped: bool) {
        if dots(name) < view.ndots {
            for domain in &view.searches {
                self.push(format!("{name}.{domain}"), stripped);
            }
        }
    }

    fn push(&mut self, name: String, stripped: bool) {
        let known = self.all.iter().any(|candidate| candidate.name == name);
        if !known && name.len() <= MAX_NAME && self.all.len() < MAX_CANDIDATES {
            self.all.push(Candidate { name, stripped });
        }
    }
}

fn strip<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    name.strip_suffix(domain)?.strip_suffix('.').filter(|stripped| !stripped.is_empty())
}

fn dots(name: &str) -> usize {
    name.bytes().filter(|byte| *byte == b'.').count()
}

/// Names that are looked up for one question: a pod of ordinary configuration needs 16. With many search domains that
/// end in each other, a pod could have the daemon look up a thousand.
const MAX_CANDIDATES: usize = 64;
/// Longest name without its last dot (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_expanded_by_each_search_domain() {
        assert_eq!(
            names("web", &view(5)),
            ["web", "web.shop.svc.cluster.local", "web.svc.cluster.local", "web.cluster.local"]
        );
        let two = names("web.front", &view(5));
        assert_eq!(two[2], "web.front.svc.cluster.local");
        assert_eq!(names("web.front.svc", &view(5))[3], "web.front.svc.cluster.local");
        assert_eq!(names("web-0.nodes", &view(5))[1], "web-0.nodes.shop.svc.cluster.local");
    }

    #[test]
    fn names_with_enough_dots_are_taken_as_they_are() {
        assert_eq!(names("example.com", &view(1)), ["example.com"]);
        assert_eq!(names("example.com", &view(2)).len(), 4);
        assert_eq!(names("a.b.c.d.e.f", &view(5)), ["a.b.c.d.e.f"]);
    }

    #[test]
    fn what_the_clients_resolver_appended_is_taken_away_again() {
        let found = candidates("web.front.shop.svc.cluster.local", &view(5));
        let means = |name: &str| found.iter().find(|it| it.name == name).map(|it| it.stripped);
        assert_eq!(means("web.front.shop.svc.cluster.local"), Some(false), "it may be meant as it stands");
        for name in ["web.front", "web.front.svc.cluster.local", "web.front.shop", "web.front.shop.svc"] {
            assert_eq!(means(name), Some(true), "{name}");
        }
        assert_eq!(means("web"), None);
    }

    #[test]
    fn a_search_domain_itself_is_not_stripped_to_nothing() {
        assert_eq!(names("cluster.local", &ResolverView { ndots: 0, ..view(0) }), ["cluster.local"]);
        assert_eq!(strip("xcluster.local", "cluster.local"), None);
    }

    #[test]
    fn a_hostile_search_list_is_bounded() {
        let nested = (1..=16).map(|count| vec!["a"; count].join("."));
        let searches = nested.chain((1..=16).map(|count| format!("b{count}"))).collect();
        let view = ResolverView { servers: Vec::new(), searches, ndots: 200 };
        assert_eq!(candidates(&vec!["a"; 100].join("."), &view).len(), MAX_CANDIDATES);
    }

    fn names(asked: &str, view: &ResolverView) -> Vec<String> {
        candidates(asked, view).into_iter().map(|it| it.name).collect()
    }

    fn view(ndots: usize) -> ResolverView {
        let searches = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"];
        ResolverView { servers: Vec::new(), searches: searches.map(str::to_owned).to_vec(), ndots }
    }
}
