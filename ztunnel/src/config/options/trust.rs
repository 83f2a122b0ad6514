//! Whose certificates are believed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use daemon::config::{Opt, Value, ValueError, set};
use identity::TrustDomain;

use crate::config::Config;

pub(super) const TRUST: &[Opt<Config>] = &[
    Opt {
        key: "trust.crl",
        env: "CRL_PATH",
        value: "PATH",
        help: "File of the own trust domain's revocation lists, in PEM (several may follow one another) or \
           DER. Watched: who is revoked is refused, and cut where it is connected. A list counts past \
           its next update; what no list speaks of is allowed. Or off.",
        set: |config, text| set(&mut config.trust.crl, text),
        show: |config| config.trust.crl.show(),
    },
    Opt {
        key: "trust.federatedCrls",
        env: "ZTUNNEL_FEDERATED_CRLS",
        value: "DOMAIN=PATH,...",
        help: "Files of the revocation lists of other trust domains, as trust.crl is for the own one.",
        set: |config, text| {
            config.trust.federated_crls = files(text)?;
            Ok(())
        },
        show: |config| show(&config.trust.federated_crls),
    },
    Opt {
        key: "trust.federated",
        env: "ZTUNNEL_FEDERATED_TRUST",
        value: "DOMAIN=PATH,...",
        help: "Other trust domains whose workloads are believed, each with the PEM file of its roots: \
           partner.example=/etc/partner.pem. A domain's roots vouch for names of that domain only. \
           Files are watched.",
        set: |config, text| {
            config.trust.federated = files(text)?;
            Ok(())
        },
        show: |config| show(&config.trust.federated),
    },
];

fn files(text: &str) -> Result<BTreeMap<TrustDomain, PathBuf>, ValueError> {
    let wrong = |want: String| ValueError { want };
    let mut files = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (domain, path) =
            part.split_once('=').filter(|(_, path)| !path.trim().is_empty()).ok_or_else(|| {
                wrong(format!("DOMAIN=PATH, like partner.example=/etc/partner.pem, instead of {part:?}"))
            })?;
        let domain: TrustDomain =
            domain.trim().parse().map_err(|error| wrong(format!("a trust domain before the = ({error})")))?;
        let name = domain.to_string();
        if files.insert(domain, PathBuf::from(path.trim())).is_some() {
            return Err(wrong(format!("one file for {name}, not two")));
        }
    }
    Ok(files)
}

fn show(files: &BTreeMap<TrustDomain, PathBuf>) -> String {
    let parts = files.iter().map(|(domain, path)| format!("{domain}={}", path.display()));
    parts.collect::<Vec<_>>().join(",")
}
