//! AuthorizationPolicies that ask for what only requests have, or for what nothing has.

use crate::authorization::{admits, policy, with};

/// A peer that nothing is said about unless a rule names it.
const FRIEND: &str = "shop/friend";

#[test]
fn an_allow_rule_that_asks_for_more_than_a_connection_has_never_matches() {
    for (rule, fields) in [
        ("{to: [{operation: {methods: [GET], ports: [\"80\"]}}]}", "methods"),
        ("{to: [{operation: {hosts: [a], notPaths: [/x]}}]}", "hosts, notPaths"),
        (
            "{from: [{source: {requestPrincipals: [\"*\"]}}, {source: {namespaces: [shop]}}]}",
            "requestPrincipals",
        ),
        ("{from: [{source: {remoteIpBlocks: [10.0.0.0/8]}}]}", "remoteIpBlocks"),
        ("{when: [{key: \"request.headers[x]\", values: [y]}]}", "request.headers[x]"),
        ("{from: [{source: {principal: [typo]}}]}", "principal"),
        ("{form: [{source: {namespaces: [x]}}]}", "form"),
        ("{to: [{operation: {ports: [http]}}]}", "ports"),
        ("{from: [{source: {ipBlocks: [10.0.0.0/40]}}]}", "ipBlocks"),
    ] {
        let mesh = with(&policy("shop/p", &format!("{{rules: [{rule}]}}")));
        assert!(!admits(&mesh, "shop/friend", 80), "{rule}");
        let note = format!("AuthorizationPolicy shop/p: rule 0 never matches here: it asks for {fields}");
        assert_eq!(mesh.notes(), [note], "{rule}");
    }
}

#[test]
fn a_deny_rule_keeps_what_a_connection_has() {
    const METHODS: &str = "{operation: {methods: [DELETE]}}";
    const PORT: &str = "{operation: {ports: [\"80\"]}}";
    const OTHERS: &str = "from: [{source: {notNamespaces: [shop]}}]";
    for (rule, denies_80, denies_81, note) in [
        (
            "{to: [{operation: {methods: [DELETE], ports: [\"80\"]}}]}".to_owned(),
            true,
            false,
            "without methods",
        ),
        (format!("{{{OTHERS}, to: [{METHODS}]}}"), true, true, "without methods"),
        (format!("{{{OTHERS}, to: [{METHODS}, {PORT}]}}"), true, true, "without methods"),
        (format!("{{to: [{METHODS}, {PORT}]}}"), true, false, "without methods"),
        (format!("{{to: [{METHODS}]}}"), false, false, "nothing but methods"),
        (
            format!("{{when: [{{key: \"request.auth.claims[a]\", values: [b]}}], to: [{PORT}]}}"),
            true,
            false,
            "without request",
        ),
        ("{unknown: 1}".to_owned(), false, false, "nothing but unknown"),
        ("{to: [{operation: {ports: [\"80\", x]}}]}".to_owned(), true, false, "without ports"),
        (format!("{{to: [{{operation: {{ports: [x]}}}}], {OTHERS}}}"), true, true, "without ports"),
    ] {
        let mesh = with(&policy("shop/p", &format!("{{action: DENY, rules: [{rule}]}}")));
        let denies = |port| !admits(&mesh, "other/stranger", port);
        assert_eq!((denies(80), denies(81)), (denies_80, denies_81), "{rule}");
        assert!(mesh.notes()[0].contains(note), "{rule}: {:?}", mesh.notes());
    }
}

/// How a rule asks for a field, and which fields.
type Fields<'a> = (&'a dyn Fn(&str) -> String, &'a [&'a str]);

#[test]
fn no_attribute_of_requests_is_taken_for_one_of_connections() {
    let source = |field: &str| format!("from: [{{source: {{{field}: [x]}}}}]");
    let operation = |field: &str| format!("to: [{{operation: {{{field}: [x]}}}}]");
    let key = |key: &str| format!("when: [{{key: \"{key}\", values: [x]}}]");
    let fields: [Fields<'_>; 3] = [
        (
            &source,
            &[
                "remoteIpBlocks",
                "notRemoteIpBlocks",
                "requestPrincipals",
                "notRequestPrincipals",
                "trustDomains",
                "notTrustDomains",
            ],
        ),
        (&operation, &["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"]),
        (
            &key,
            &[
                "connection.sni",
                "experimental.envoy.filters.a.b[c]",
                "remote.ip",
                "request.auth.audiences",
                "request.auth.claims[iss]",
                "request.auth.claims[a][b]",
                "request.auth.presenter",
                "request.auth.principal",
                "request.headers[X-Trace]",
            ],
        ),
    ];
    for (part, fields) in fields {
        for field in fields {
            let rule = part(field);
            let allow = with(&policy("shop/p", &format!("{{rules: [{{{rule}}}]}}")));
            assert!(!admits(&allow, FRIEND, 80), "ALLOW {rule}");
            let note = format!("AuthorizationPolicy shop/p: rule 0 never matches here: it asks for {field}");
            assert_eq!(allow.notes(), [note], "ALLOW {rule}");
            let deny = with(&policy("shop/p", &format!("{{action: DENY, rules: [{{{rule}}}]}}")));
            assert!(admits(&deny, FRIEND, 80), "DENY {rule}");
            let note = format!(
                "AuthorizationPolicy shop/p: rule 0 never matches here: it asks for nothing but {field}"
            );
            assert_eq!(deny.notes(), [note], "DENY {rule}");
        }
    }
}

/// Rules whose parts are about connections, about requests, or about both; each but two for a peer of its own.
const MIXED: &str = "[
    {from: [{source: {principals: [cluster.local/ns/shop/sa/anna], namespaces: [shop], requestPrincipals: [x]}}],
     to: [{operation: {ports: [\"80\"]}}]},
    {from: [{source: {principals: [cluster.local/ns/shop/sa/bert], namespaces: [shop]}}],
     to: [{operation: {ports: [\"80\"], methods: [GET]}}]},
    {from: [{source: {principals: [cluster.local/ns/shop/sa/carl], namespaces: [shop]}}],
     to: [{operation: {ports: [\"80\"]}}]},
    {from: [{source: {requestPrincipals: [x]}}], to: [{operation: {paths: [/x], methods: [GET]}}]},
    {when: [{key: source.namespace, values: [dora]}, {key: connection.sni, values: [x]}]},
    {when: [{key: source.namespace, values: [emil]},
            {key: source.ip, values: [10.9.0.0/16], notValues: [10.9.0.2]}]},
    {when: [{key: connection.sni, values: [x]}, {key: \"request.headers[x]\", values: [x]}]}]";

/// Whom the rules are about, at which port, and whether the rule asks for nothing but what connections have.
const PEERS: [(&str, u16, bool); 5] = [
    ("shop/anna", 80, false),
    ("shop/bert", 80, false),
    ("shop/carl", 80, true),
    ("dora/any", 80, false),
    ("emil/any", 80, true),
];

#[test]
fn of_mixed_allow_rules_only_those_about_connections_alone_allow() {
    let mesh = with(&policy("shop/p", &format!("{{rules: {MIXED}}}")));
    for (peer, port, pure) in PEERS {
        assert_eq!(admits(&mesh, peer, port), pure, "{peer}");
    }
    for (peer, port) in [("shop/carl", 81), (FRIEND, 80), ("", 80)] {
        assert!(!admits(&mesh, peer, port), "{peer} {port}");
    }
    let rules: Vec<_> =
        mesh.notes().iter().map(|note| note.split("rule ").nth(1).unwrap()[..1].to_owned()).collect();
    assert_eq!(rules, ["0", "1", "3", "4", "6"]);
}

/// The rule about dora is Istio's as well: its proxy takes the condition that is left of the part about requests, which is
/// empty, for one that never holds. A rule that was meant to deny something would deny nothing.
#[test]
fn of_mixed_deny_rules_all_deny_that_are_about_connections_at_all() {
    let mesh = with(&policy("shop/p", &format!("{{action: DENY, rules: {MIXED}}}")));
    for (peer, port, _) in PEERS {
        assert!(!admits(&mesh, peer, port), "{peer}");
    }
    for (peer, port) in [("shop/anna", 81), ("shop/bert", 81), ("shop/carl", 81), (FRIEND, 80), ("", 80)] {
        assert!(admits(&mesh, peer, port), "{peer} {port}");
    }
}

#[test]
fn a_deny_policy_is_as_effective_as_its_most_effective_rule() {
    const REQUESTS: &str = "{from: [{source: {notRequestPrincipals: [x]}}]}";
    const PEER: &str = "principals: [cluster.local/ns/shop/sa/friend]";
    for (rules, friend, stranger, note) in [
        (format!("{{from: [{{source: {{{PEER}}}}}]}}"), false, true, ""),
        (REQUESTS.to_owned(), true, true, "rule 0 never matches here"),
        (
            format!("{{from: [{{source: {{{PEER}, notRequestPrincipals: [x]}}}}]}}"),
            false,
            true,
            "rule 0 denies more than it says",
        ),
        (format!("{REQUESTS}, {{from: [{{source: {{{PEER}}}}}]}}"), false, true, "rule 0 never matches here"),
        (format!("{{}}, {REQUESTS}"), false, false, "rule 1 never matches here"),
        // Istio's next two deny nothing; a part that no connection can meet is left out here, which is stricter.
        (
            format!(
                "{{from: [{{source: {{{PEER}}}}}], when: [{{key: \"request.headers[x]\", values: [y]}}]}}"
            ),
            false,
            true,
            "rule 0 denies more than it says",
        ),
        (
            format!("{{from: [{{source: {{{PEER}}}}}], to: [{{operation: {{methods: [GET]}}}}]}}"),
            false,
            true,
            "rule 0 denies more than it says",
        ),
    ] {
        let mesh = with(&policy("shop/p", &format!("{{action: DENY, rules: [{rules}]}}")));
        let admitted = (admits(&mesh, FRIEND, 80), admits(&mesh, "other/stranger", 80));
        assert_eq!(admitted, (friend, stranger), "{rules}");
        assert!(mesh.notes().concat().contains(note), "{rules}: {:?}", mesh.notes());
    }
}

#[test]
fn a_list_of_nothing_asks_for_nothing() {
    for (rule, port, matches) in [
        ("{to: [{operation: {ports: [\"80\"], methods: [], hosts: null}}]}", 80, true),
        ("{to: [{operation: {ports: [\"80\"], methods: []}}]}", 81, false),
        ("{from: [{source: {namespaces: [shop], requestPrincipals: []}}]}", 80, true),
        ("{from: [], to: [], when: []}", 80, true),
    ] {
        let allow = with(&policy("shop/p", &format!("{{rules: [{rule}]}}")));
        assert_eq!((admits(&allow, FRIEND, port), allow.notes()), (matches, vec![]), "ALLOW {rule}");
        let deny = with(&policy("shop/p", &format!("{{action: DENY, rules: [{rule}]}}")));
        assert_eq!((admits(&deny, FRIEND, port), deny.notes()), (!matches, vec![]), "DENY {rule}");
    }
}

/// Istio's admission refuses these, so that its proxy may take them for whatever it likes (mostly for what never
/// matches, also in a DENY rule). Nobody refuses them here: they allow nothing, deny what else the rule says, and are
/// noted.
#[test]
fn what_cannot_be_meant_allows_nothing_and_leaves_a_deny_rule_in_force() {
    for (part, field) in [
        ("from: [{source: {}}]", "source"),
        ("from: [{}]", "source"),
        ("from: [{source: {}}, {source: {namespaces: [other]}}]", "source"),
        ("from: [{source: {principals: [\"\"]}}]", "principals"),
        ("from: [{source: {notPrincipals: [\"\"]}}]", "notPrincipals"),
        ("from: [{source: {namespaces: [\"\"]}}]", "namespaces"),
        ("from: [{source: {notNamespaces: [\"\"]}}]", "notNamespaces"),
        ("from: [{source: {serviceAccounts: [\"*\"]}}]", "serviceAccounts"),
        ("from: [{source: {serviceAccounts: [shop/*]}}]", "serviceAccounts"),
        ("from: [{source: {serviceAccounts: [/friend]}}]", "serviceAccounts"),
        ("from: [{source: {serviceAccounts: [a/b/c]}}]", "serviceAccounts"),
        ("from: [{source: {notServiceAccounts: [shop/]}}]", "notServiceAccounts"),
        ("from: [{source: {ipBlocks: [\"\"]}}]", "ipBlocks"),
        ("from: [{source: {notIpBlocks: [10.0.0.0/33]}}]", "notIpBlocks"),
        ("when: [{key: source.ip}]", "source.ip"),
        ("when: [{key: destination.port, notValues: [http]}]", "destination.port"),
    ] {
        let allow = with(&policy("shop/p", &format!("{{rules: [{{{part}}}]}}")));
        assert!(!admits(&allow, FRIEND, 80), "ALLOW {part}");
        let note = format!("AuthorizationPolicy shop/p: rule 0 never matches here: it asks for {field}");
        assert_eq!(allow.notes(), [note], "ALLOW {part}");

        let rule = format!("{part}, to: [{{operation: {{ports: [\"80\"]}}}}]");
        let deny = with(&policy("shop/p", &format!("{{action: DENY, rules: [{{{rule}}}]}}")));
        assert_eq!((admits(&deny, FRIEND, 80), admits(&deny, FRIEND, 81)), (false, true), "DENY {rule}");
        let note = format!(
            "AuthorizationPolicy shop/p: rule 0 denies more than it says: it is enforced without {field}"
        );
        assert_eq!(deny.notes(), [note], "DENY {rule}");
    }
    for port in ["-1", "+80", "http", "65536", ""] {
        let rule = format!("{{to: [{{operation: {{ports: [\"{port}\"]}}}}]}}");
        let mesh = with(&policy("shop/p", &format!("{{rules: [{rule}]}}")));
        assert!(!admits(&mesh, FRIEND, 80), "{rule}");
        assert!(mesh.notes()[0].ends_with("it asks for ports"), "{rule}");
    }
}

/// Istio leaves out the values that it can't read and goes by the others: `notPorts` would then let in what it meant to
/// keep out.
#[test]
fn an_allow_rule_with_a_value_that_cannot_be_read_allows_nothing() {
    for part in [
        "to: [{operation: {ports: [\"80\", http]}}]",
        "to: [{operation: {notPorts: [\"81\", http]}}]",
        "from: [{source: {ipBlocks: [10.9.0.0/16, nowhere]}}]",
        "from: [{source: {notIpBlocks: [10.8.0.0/16, nowhere]}}]",
        "when: [{key: source.ip, values: [10.9.0.1, nowhere]}]",
    ] {
        assert!(!admits(&with(&policy("shop/p", &format!("{{rules: [{{{part}}}]}}"))), FRIEND, 80), "{part}");
    }
}
