//! Where the certificates of this node's workloads come from.

use identity::TrustDomain;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::RunError;
use crate::config::Config;
use crate::redirect::OwnSockets;
use certs::{
    CaClient, CaClientConfig, CredentialCache, Identities, NodeKey, SystemClock, TokenFile, TokenSource,
    TrustFiles, Upkeep, not_after, serial_number,
};

/// The certificates of this node's workloads, from the CA of the configuration.
pub(super) fn identities(config: &Config, own: &OwnSockets) -> Result<(Identities, Upkeep), RunError> {
    let clock = Arc::new(SystemClock);
    let ca = &config.ca;
    let address = ca.address.parse().map_err(RunError::CaAddress)?;
    let name = ca.server_name.clone();
    let server_name = name.try_into().map_err(|_| RunError::CaName { name: ca.server_name.clone() })?;
    let client = CaClientConfig {
        address,
        server_name,
        roots: ca.roots.clone(),
        cluster_id: config.mesh.cluster_id.clone(),
        lifetime: ca.certificate_ttl,
        timeout: CA_TIMEOUT,
    };
    let client = CaClient::new(client, proof(config)?, clock.clone()).reached_by(Arc::new(own.clone()));
    // A pod's own account has no leave to ask for others, and none is asked for.
    let is_own = config.pod.is_some() && ca.token_file.is_some();
    let client = if is_own { client.for_itself() } else { client };
    let trust = TrustFiles {
        domain: config.mesh.trust_domain.clone(),
        aliases: config.mesh.trust_domain_aliases.iter().cloned().collect(),
        roots: ca.roots.clone(),
        federated: config.trust.federated.clone(),
        revocations: revocations(config),
    };
    let (identities, upkeep) = Identities::start(Arc::new(client), trust, clock)?;
    let Some(folder) = &ca.cache else { return Ok((identities, upkeep)) };
    Ok((identities, upkeep.with_cache(CredentialCache::open(folder)?)))
}

/// What proves to the CA which node this is.
fn proof(config: &Config) -> Result<Arc<dyn TokenSource>, RunError> {
    if let Some(path) = &config.ca.token_file {
        return Ok(Arc::new(TokenFile::new(path.clone())));
    }
    let path = &config.ca.node_key;
    let read = std::fs::read_to_string(path);
    let text = read.map_err(|source| RunError::NodeKeyFile { path: path.clone(), source })?;
    let key = NodeKey::from_pem(&config.node, &text);
    Ok(Arc::new(key.map_err(|source| RunError::NodeKey { path: path.clone(), source })?))
}

/// The revocation lists of all trust domains.
fn revocations(config: &Config) -> BTreeMap<TrustDomain, PathBuf> {
    let own = config.trust.crl.iter().map(|path| (config.mesh.trust_domain.clone(), path.clone()));
    own.chain(config.trust.federated_crls.clone()).collect()
}

/// What is trusted, as it is shown.
pub(super) fn trust(identities: &Identities) -> Value {
    let certificate = |certificate: &CertificateDer<'_>| json!({ "serial": serial_number(certificate).ok(), "ends": not_after(certificate).ok() });
    let bundles = identities.bundles();
    let domains = bundles.iter().map(|(domain, bundle)| {
        json!({
            "domain": domain.as_str(),
            "roots": bundle.roots().iter().map(certificate).collect::<Vec<_>>(),
            "revocation_lists": bundle.revocations().len(),
        })
    });
    Value::Array(domains.collect())
}

/// One call to the CA: it may have to look a fresh pod up first.
const CA_TIMEOUT: Duration = Duration::from_secs(10);
