//! Sources of the mesh: manifest files and Kubernetes watches, and their pure translation.
//!
//! [`translate`] makes the mesh's model out of Kubernetes [`Objects`], wherever they come from. A [`ManifestSource`]
//! reads them from files and follows those; in a [`StatusFolder`] the nodes tell each other which pods they capture.
//!
//! ```
//! use cluster::objects::{Metadata, Namespace, Objects};
//! use cluster::{Reported, Settings, translate};
//!
//! let shop = Metadata { name: "shop".into(), ..Metadata::default() };
//! let namespaces = vec![Namespace { metadata: shop }.into()];
//! let objects = Objects { namespaces, ..Objects::default() };
//! let mesh = translate(&objects, &Reported::default(), &Settings::default());
//! assert_eq!(mesh.update.namespaces.len(), 1);
//! ```

pub mod kubernetes;
mod manifests;
pub mod objects;
mod status;
mod suggest;
mod translate;

pub use manifests::{ManifestSource, OpenError, Places, Problem, read};
pub use objects::{ObjectRef, Objects};
pub use status::{ReportError, Reported, StatusFolder};
pub use translate::{
    Exclusions, LocalPod, Note, PodCapture, PodDns, Remark, Scope, Settings, Translation, Translator,
    UdpMode, translate, why_ignored,
};
