//! Reaching an API server.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// An API server, asked under one account. Clones share their connections.
#[derive(Clone)]
pub struct Kubernetes {
    pub(super) client: Client,
}

/// How the API server is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// As the pod's own ServiceAccount, of the cluster that it runs in.
    InCluster,
    /// As a kubeconfig's current context says.
    Kubeconfig(PathBuf),
}

/// Why the API server cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no TLS client to be made of it.
    #[error("no connection to the API server can be set up")]
    Client(#[source] Box<kube::Error>),
    /// This is no pod, or has no account.
    #[error("this does not run in a pod with a ServiceAccount's token")]
    InCluster(#[from] InClusterError),
    /// The kubeconfig is unusable.
    #[error("kubeconfig {path} is unusable", path = path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
}

impl Kubernetes {
    /// Prepares to ask; nothing is sent yet. A token that stands in a file is read again as it changes.
    ///
    /// # Errors
    /// When the credentials are not there or are unusable.
    pub async fn connect(access: &Access) -> Result<Self, ConnectError> {
        let config = match access {
            Access::InCluster => Config::incluster()?,
            Access::Kubeconfig(path) => kubeconfig(path).await.map_err(|source| {
                ConnectError::Kubeconfig { path: path.clone(), source: Box::new(source) }
            })?,
        };
        let client = Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
        Ok(Self { client })
    }
}

async fn kubeconfig(path: &Path) -> Result<Config, KubeconfigError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").finish_non_exhaustive()
    }
}

impl FromStr for Access {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == IN_CLUSTER { Self::InCluster } else { Self::Kubeconfig(text.into()) })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InCluster => f.write_str(IN_CLUSTER),
            Self::Kubeconfig(path) => path.display().fmt(f),
        }
    }
}

/// How [`Access::InCluster`] is written.
const IN_CLUSTER: &str = "in-cluster";
