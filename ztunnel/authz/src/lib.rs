//! Authorization policies, compiled into sets that decide about one connection or request.
//!
//! A [`Permit`] can only be made here: whoever connects upstream must have one, so no path around policy compiles.
//! Policies live in a [`Policies`] store; the [`PolicySet`] of a workload comes from there.
//!
//! ```
//! use authz::{Action, Attributes, Clause, Match, Pattern, Policies, Policy, PolicyName, Rule, Scope};
//! use identity::SpiffeId;
//!
//! let only_cart = Policy {
//!     name: PolicyName::new("shop", "only-cart"),
//!     scope: Scope::Namespace,
//!     action: Action::Allow,
//!     dry_run: false,
//!     rules: vec![Rule::of([Clause::of([Match {
//!         principals: vec![Pattern::parse("cluster.local/ns/shop/sa/cart")],
//!         ..Match::default()
//!     }])])],
//! };
//! let mut policies = Policies::default();
//! policies.insert(only_cart);
//!
//! let cart: SpiffeId = "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap();
//! let mut attributes = Attributes {
//!     source: Some(&cart),
//!     class: None,
//!     source_ip: "10.0.0.1".parse().unwrap(),
//!     destination: "10.0.0.2:8080".parse().unwrap(),
//! };
//! let set = policies.set("shop", &[]);
//! assert_eq!(set.evaluate(&attributes).unwrap().by().unwrap().policy.name.as_ref(), "only-cart");
//! attributes.source = None;
//! assert!(set.evaluate(&attributes).is_err());
//! ```

mod attributes;
mod class;
mod index;
mod keys;
mod layer;
mod pattern;
mod policies;
mod policy;
mod rule;
mod set;

pub use attributes::Attributes;
pub use class::SourceClass;
pub use pattern::Pattern;
pub use policies::{Policies, Touched};
pub use policy::{Action, Clause, Match, Policy, PolicyName, Rule, Scope, ServiceAccount};
pub use set::{Denied, DenyReason, MatchedRule, Observed, Permit, PolicySet};
