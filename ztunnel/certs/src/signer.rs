//! Who signs certificates, and what it answers.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use identity::SpiffeId;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use tonic::{Code, Status};

use crate::bundle::ParseRootsError;
use crate::credential::is_self_issued;
use crate::token::TokenError;

/// Signs certificates for local identities: a CA, or what stands for one.
pub trait Signer: Send + Sync + 'static {
    /// Signs the request `csr` (PKCS #10 in PEM) for `identity`.
    fn sign<'a>(
        &'a self,
        identity: &'a SpiffeId,
        csr: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<SignedChain, SignError>> + Send + 'a>>;
}

/// A CA's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedChain {
    /// Leaf first, then intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The roots that the CA wants trusted; during a rotation, the old and the new.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The answer holds no leaf and root.
    #[error("ca answered with {found} certificates, want a leaf and a root at least")]
    ChainLength {
        /// How many it holds.
        found: usize,
    },
    /// The token or the cluster's id cannot be sent.
    #[error("token or cluster id has characters that no header has")]
    Header,
    /// The answer is not PEM.
    #[error("ca answered with something that is not PEM")]
    Pem(#[source] pem::Error),
    /// The CA refused.
    #[error("ca refused: {code:?}: {message}")]
    Refused {
        /// Why, by gRPC.
        code: Code,
        /// Why, in its words.
        message: String,
    },
    /// The roots by which the CA is recognised are unusable.
    #[error("cannot use roots of the ca in {path:?}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: RootsError,
    },
    /// The CA did not answer.
    #[error("ca did not answer within {after:?}")]
    Timeout {
        /// How long it was given.
        after: Duration,
    },
    /// There is no token to go with the request.
    #[error("no token for the ca")]
    Token(#[source] TokenError),
    /// The CA could not be reached.
    #[error("ca cannot be reached")]
    Unreachable(#[source] Status),
}

/// What is wrong with a file of roots.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// It holds no usable roots.
    #[error(transparent)]
    Parse(#[from] ParseRootsError),
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] std::io::Error),
    /// rustls cannot use them.
    #[error("tls library refused them")]
    Tls(#[source] rustls::Error),
}

impl SignedChain {
    /// Reads an answer of one or more PEM texts of one or more certificates each: leaf first, roots last.
    ///
    /// # Errors
    /// When it isn't PEM, or has no leaf or no root.
    pub fn from_pem<T: AsRef<[u8]>>(texts: &[T]) -> Result<Self, SignError> {
        let read = |text: &T| CertificateDer::pem_slice_iter(text.as_ref()).collect::<Result<Vec<_>, _>>();
        let mut texts = texts.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(SignError::Pem)?;
        texts.retain(|certificates| !certificates.is_empty());
        let last = texts.pop().unwrap_or_default();
        let mut chain: Vec<_> = texts.into_iter().flatten().collect();
        // An answer may be a single text, whose first certificate is the leaf.
        let leaf_in_last = usize::from(chain.is_empty()).min(last.len());
        let (leaf, last) = last.split_at(leaf_in_last);
        chain.extend_from_slice(leaf);
        let (mut roots, intermediates): (Vec<_>, Vec<_>) = last.iter().cloned().partition(is_self_issued);
        chain.extend(intermediates);
        if roots.is_empty() && chain.len() > 1 {
            // A trust anchor need not be self-signed: the last one is what the CA wants trusted.
            roots.extend(chain.pop());
        }
        if chain.is_empty() || roots.is_empty() {
            return Err(SignError::ChainLength { found: chain.len() + roots.len() });
        }
        Ok(Self { chain, roots })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls_pki_types::UnixTime;

    use super::*;
    use crate::verify::{ChainVerifier, Role};
    use crate::{Authority, Bundles, LeafKey, LeafRequest, TrustBundle};

    #[test]
    fn leaf_and_roots_are_found_however_the_answer_is_cut() {
        let (leaf, roots) = (leaf_pem(), [root_pem("one"), root_pem("two")]);
        let whole = SignedChain::from_pem(&[leaf.clone(), roots.concat()]).unwrap();
        assert_eq!((whole.chain.len(), whole.roots.len()), (1, 2));
        for texts in [vec![format!("{leaf}{}", roots.concat())], vec![leaf, roots.concat(), String::new()]] {
            assert_eq!(SignedChain::from_pem(&texts).unwrap(), whole);
        }
    }

    /// Recorded: an operator's intermediate and its root, and both roots of a rotation in one text at the end.
    #[test]
    fn an_answer_of_istiod_is_a_chain_that_peers_verify_and_all_roots() {
        let texts: Vec<_> = include_str!("golden/answer_of_istiod.pem").split("\n---\n").collect();
        assert_eq!(texts.len(), 4);
        let SignedChain { chain, roots } = SignedChain::from_pem(&texts).unwrap();
        assert_eq!((chain.len(), roots.len()), (3, 2));
        let recorded = UnixTime::since_unix_epoch(Duration::from_secs(1_795_939_248));
        for trusted in [&roots[..], &roots[..1]] {
            let bundle = TrustBundle::new(trusted.to_vec()).unwrap();
            let bundles: Bundles = [("cluster.local".parse().unwrap(), bundle)].into_iter().collect();
            let verifier = ChainVerifier::new(Arc::new(bundles));
            for role in [Role::Client, Role::Server] {
                let leaf = verifier.verify(&chain, role, recorded).unwrap();
                assert_eq!(leaf.identity.as_str(), "spiffe://cluster.local/ns/shop/sa/client");
            }
        }
    }

    #[test]
    fn an_answer_without_leaf_or_root_is_refused() {
        for texts in [vec![], vec![String::new()], vec![leaf_pem()]] {
            assert!(matches!(SignedChain::from_pem(&texts), Err(SignError::ChainLength { .. })), "{texts:?}");
        }
        assert!(matches!(
            SignedChain::from_pem(&["-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"]),
            Err(SignError::Pem(_))
        ));
    }

    fn leaf_pem() -> String {
        let authority = Authority::ephemeral("test").unwrap();
        let key = LeafKey::generate().unwrap();
        let request = key.request(&"spiffe://t/ns/a/sa/b".parse().unwrap()).unwrap();
        let request = LeafRequest::from_pem(&request).unwrap();
        let chain = authority.sign(&request, Duration::from_hours(1), UnixTime::now()).unwrap();
        crate::pem_of(&chain[..1])
    }

    fn root_pem(name: &str) -> String {
        crate::pem_of(std::slice::from_ref(Authority::ephemeral(name).unwrap().root()))
    }
}
