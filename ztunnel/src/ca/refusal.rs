//! Why a request is refused, and how that is said.

use certs::{AuthorityError, LeafRequestError, NodeTokenError, describe};
use cluster::kubernetes::{ApiError, ReviewError};
use identity::SpiffeId;
use tonic::{Code, Status};

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The CA itself is at fault.
    #[error("certificate was not signed")]
    Authority(#[from] AuthorityError),
    /// Too much is asked of the API server at once.
    #[error("too many callers wait for the API server's word")]
    Busy,
    /// The pod that the token is bound to does not run.
    #[error("{caller} does not run any more")]
    CallerGone {
        /// Who asks.
        caller: String,
    },
    /// The API server did not say what is needed to decide.
    #[error("this cannot be decided now")]
    Cluster(#[from] ApiError),
    /// The certificate request and the call name different identities.
    #[error("certificate request is for {got}, the call for {want:?}")]
    IdentityMismatch {
        /// Whom the certificate request names.
        got: SpiffeId,
        /// Whom the call names.
        want: String,
    },
    /// The token is longer than any.
    #[error("token is too long")]
    LongToken,
    /// It doesn't say on whose behalf it is made.
    #[error("no identity is named on whose behalf the request is made, other than the caller's own")]
    NoIdentity,
    /// The account may ask for itself only.
    #[error("{account} may have no identity but its own, which {identity} is not")]
    NotOwn {
        /// Who asks.
        account: String,
        /// Whom is asked for.
        identity: SpiffeId,
    },
    /// There is no token.
    #[error("no bearer token")]
    NoToken,
    /// The identity's workloads run elsewhere.
    #[error("{identity} does not run on node {node:?}")]
    OtherNode {
        /// Whom is asked for.
        identity: SpiffeId,
        /// Who asks.
        node: String,
    },
    /// The caller asks too often.
    #[error("{caller} asks too often")]
    RateLimit {
        /// Who asks.
        caller: String,
    },
    /// The token was used before.
    #[error("token was used before")]
    Replay,
    /// The certificate request is not one.
    #[error("certificate request is refused")]
    Request(#[from] LeafRequestError),
    /// The token is no ServiceAccount's.
    #[error("token is refused")]
    Review(#[source] ReviewError),
    /// The token proves nothing.
    #[error("token is refused")]
    Token(#[from] NodeTokenError),
    /// The identity is of a trust domain that we don't sign for.
    #[error("{identity} is not of a trust domain that this ca signs for")]
    TrustDomain {
        /// Whom is asked for.
        identity: SpiffeId,
    },
    /// The token does not say on which node its account runs.
    #[error("token of {account} is not bound to a pod on a node")]
    Unbound {
        /// Who asks.
        account: String,
    },
    /// No workload has the identity, as far as is known yet.
    #[error("no workload of {identity} is known yet")]
    UnknownIdentity {
        /// Whom is asked for.
        identity: SpiffeId,
    },
    /// No node of that name has a key here.
    #[error("node {node:?} is not registered")]
    UnknownNode {
        /// Who asks.
        node: String,
    },
}

impl Refusal {
    /// All names that [`reason`](Self::reason) gives.
    pub const REASONS: [&str; 17] = [
        "api_server",
        "authority",
        "busy",
        "caller_gone",
        "identity_mismatch",
        "no_identity",
        "no_token",
        "not_own",
        "other_node",
        "rate_limit",
        "replay",
        "request",
        "token",
        "trust_domain",
        "unbound",
        "unknown_identity",
        "unknown_node",
    ];

    /// Its name as a label.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Authority(_) => "authority",
            Self::Busy => "busy",
            Self::CallerGone { .. } => "caller_gone",
            Self::Cluster(_) => "api_server",
            Self::IdentityMismatch { .. } => "identity_mismatch",
            Self::NoIdentity => "no_identity",
            Self::NoToken => "no_token",
            Self::NotOwn { .. } => "not_own",
            Self::OtherNode { .. } => "other_node",
            Self::RateLimit { .. } => "rate_limit",
            Self::Replay => "replay",
            Self::Request(_) => "request",
            Self::LongToken | Self::Review(_) | Self::Token(_) => "token",
            Self::TrustDomain { .. } => "trust_domain",
            Self::Unbound { .. } => "unbound",
            Self::UnknownIdentity { .. } => "unknown_identity",
            Self::UnknownNode { .. } => "unknown_node",
        }
    }

    /// Its name in gRPC.
    pub const fn code(&self) -> Code {
        match self {
            Self::Authority(_) => Code::Internal,
            Self::IdentityMismatch { .. } | Self::Request(_) => Code::InvalidArgument,
            Self::CallerGone { .. }
            | Self::LongToken
            | Self::NoToken
            | Self::Replay
            | Self::Review(_)
            | Self::Token(_)
            | Self::UnknownNode { .. } => Code::Unauthenticated,
            Self::NoIdentity
            | Self::NotOwn { .. }
            | Self::OtherNode { .. }
            | Self::TrustDomain { .. }
            | Self::Unbound { .. } => Code::PermissionDenied,
            Self::RateLimit { .. } => Code::ResourceExhausted,
            // Whoever comes again may be served.
            Self::Busy | Self::Cluster(_) | Self::UnknownIdentity { .. } => Code::Unavailable,
        }
    }
}

impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            // Details of a fault of ours are for the log.
            Refusal::Authority(_) => Self::internal(refusal.to_string()),
            _ => Self::new(refusal.code(), describe(refusal)),
        }
    }
}
