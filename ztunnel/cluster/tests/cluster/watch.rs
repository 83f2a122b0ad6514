//! Manifests that change under a source.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use authz::{Action, Policy};
use cluster::{ManifestSource, Places, StatusFolder, Translation};
use mesh::{Change, Store};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::mesh_of::{object, pod, settings};

/// Longer than any machine needs for one change, and shorter than the slow look's period: the kernel's word is what
/// brings a change.
const SOON: Duration = Duration::from_millis(1800);

struct Watched {
    folder: TempDir,
    source: ManifestSource,
    store: Store,
    policies: Vec<Policy>,
}

impl Watched {
    /// A source of a folder with these files, which was read once.
    async fn new(files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        fs::create_dir(&manifests).unwrap();
        for (name, text) in files {
            fs::write(manifests.join(name), text).unwrap();
        }
        let places = Places { manifests: vec![manifests], status: Some(folder.path().join("status")) };
        let source = ManifestSource::open(places, settings()).unwrap();
        let mut this = Self { folder, source, store: Store::new(), policies: Vec::new() };
        this.next().await;
        this
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("manifests").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    async fn next(&mut self) -> Translation {
        let translation = timeout(SOON, self.source.next()).await.expect("the change is noticed");
        let update = translation.update.clone();
        if update.replace {
            self.policies.clear();
        }
        self.policies.extend(update.policies.iter().map(|change| match change {
            Change::Upsert(policy) => policy.clone(),
            Change::Remove(_) => unreachable!(),
        }));
        self.store.apply(update);
        translation
    }

    /// Action and count of rules of the policies called `p`.
    fn rules(&self) -> Vec<(Action, usize)> {
        let own = self.policies.iter().filter(|policy| &*policy.name.name == "p");
        own.map(|policy| (policy.action, policy.rules.len())).collect()
    }

    /// The pods that the mesh has after the next change.
    async fn next_pods(&mut self) -> Vec<String> {
        self.next().await;
        self.pods()
    }

    /// Names of the pods that the mesh has, with their address.
    fn pods(&self) -> Vec<String> {
        let snapshot = self.store.snapshot();
        let name = |it: &Arc<mesh::Workload>| format!("{}@{}", it.name, it.addresses[0]);
        let mut names: Vec<_> = snapshot.workloads().map(name).collect();
        names.sort();
        names
    }
}

fn cart(ip: &str) -> String {
    pod("shop/cart", ip, "", "")
}

#[tokio::test]
async fn a_changed_file_takes_effect() {
    let mut watched = Watched::new(&[("a.yaml", cart("10.0.0.1"))]).await;
    watched.write("a.yaml", &cart("10.0.0.2"));
    assert_eq!(watched.next_pods().await, ["cart@10.0.0.2"]);
    watched.write("b.yml", &pod("shop/web", "10.0.0.3", "", ""));
    assert_eq!(watched.next_pods().await, ["cart@10.0.0.2", "web@10.0.0.3"]);
    fs::remove_file(watched.path("a.yaml")).unwrap();
    assert_eq!(watched.next_pods().await, ["web@10.0.0.3"]);
}

#[tokio::test]
async fn a_file_that_is_renamed_over_takes_effect() {
    let mut watched = Watched::new(&[("a.yaml", cart("10.0.0.1"))]).await;
    for ip in ["10.0.0.2", "10.0.0.3"] {
        watched.write("a.yaml~", &cart(ip));
        fs::rename(watched.path("a.yaml~"), watched.path("a.yaml")).unwrap();
        assert_eq!(watched.next_pods().await, [format!("cart@{ip}")]);
    }
}

#[tokio::test]
async fn a_single_file_is_followed_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh");
    fs::write(&file, cart("10.0.0.1")).unwrap();
    let places = Places { manifests: vec![file.clone()], status: None };
    let mut source = ManifestSource::open(places, settings()).unwrap();
    let mut store = Store::new();
    store.apply(source.next().await.update);
    let other = folder.path().join("other");
    fs::write(&other, cart("10.0.0.2")).unwrap();
    fs::rename(&other, &file).unwrap();
    store.apply(timeout(SOON, source.next()).await.unwrap().update);
    assert_eq!(store.snapshot().workloads().next().unwrap().addresses[0].to_string(), "10.0.0.2");
}

#[tokio::test]
async fn a_broken_document_leaves_what_it_was_in_force() {
    let both = cart("10.0.0.1") + &pod("shop/web", "10.0.0.2", "", "");
    let mut watched = Watched::new(&[("a.yaml", both.clone())]).await;

    let broken = both.replace("podIP: \"10.0.0.1\"", "podIP: x").replace("10.0.0.2", "10.0.0.3");
    watched.write("a.yaml", &broken);
    let translation = watched.next().await;
    assert_eq!(watched.pods(), ["cart@10.0.0.1", "web@10.0.0.3"]);
    let problem = translation.problems[0].to_string();
    assert!(
        problem.ends_with("a.yaml:8: Pod shop/cart: status.podIP: \"x\" is not an IP address"),
        "{problem}"
    );

    watched.write("a.yaml", &broken.replace("metadata:", "metadata: ["));
    let translation = watched.next().await;
    assert_eq!(watched.pods(), ["cart@10.0.0.1", "web@10.0.0.3"]);
    assert_eq!(translation.problems.len(), 2);

    watched.write("a.yaml", &cart("10.0.0.4"));
    let translation = watched.next().await;
    assert_eq!(watched.pods(), ["cart@10.0.0.4"]);
    assert_eq!(translation.problems, []);
}

#[tokio::test]
async fn a_broken_policy_leaves_what_it_was_in_force_and_closes_if_it_never_was() {
    let policy = |spec: &str| object("security.istio.io/v1", "AuthorizationPolicy", "shop/p", spec);
    let mut watched = Watched::new(&[("a.yaml", policy("{action: AUDIT, rules: [{}, {}]}"))]).await;
    watched.write("a.yaml", &policy("{acton: DENY, rules: [{}]}"));
    let translation = watched.next().await;
    assert_eq!((watched.rules(), translation.problems.len()), (vec![(Action::Audit, 2)], 1));
    assert!(translation.problems[0].message.ends_with("did you mean \"action\"?"));

    watched.write("a.yaml", "");
    watched.next().await;
    assert_eq!(watched.rules(), []);
    let selecting =
        |app: &str, more: &str| policy(&format!("{{selector: {{matchLabels: {{app: {app}}}}}, {more}}}"));
    watched.write("a.yaml", &selecting("cart", "acton: ALLOW"));
    watched.next().await;
    assert_eq!(watched.rules(), [(Action::Deny, 1)]);
    // What is closed follows what is written, and stays closed while nothing can be read.
    watched.write("a.yaml", &selecting("web", "acton: ALLOW"));
    watched.next().await;
    let closed = watched.policies.len();
    watched.write("a.yaml", &selecting("web", "acton: ALLOW").replace("metadata:", "metadata: ["));
    watched.next().await;
    assert_eq!((watched.rules(), watched.policies.len()), (vec![(Action::Deny, 1)], closed));
    watched.write("a.yaml", &selecting("web", "action: ALLOW"));
    let translation = watched.next().await;
    assert_eq!((watched.rules(), translation.problems), (vec![(Action::Allow, 0)], vec![]));
}

#[tokio::test]
async fn a_folder_that_goes_leaves_the_mesh_as_it_was_until_it_is_back() {
    let mut watched = Watched::new(&[("a.yaml", cart("10.0.0.1"))]).await;
    let manifests = watched.folder.path().join("manifests");
    fs::remove_file(manifests.join("a.yaml")).unwrap();
    fs::remove_dir(&manifests).unwrap();
    let mut gone = watched.next().await;
    if gone.problems.is_empty() {
        // Looked at between the two removals.
        gone = watched.next().await;
    } else {
        assert_eq!(watched.pods(), ["cart@10.0.0.1"]);
    }
    assert!(gone.problems[0].message.starts_with("cannot be read"), "{:?}", gone.problems);

    let aside = watched.folder.path().join("aside");
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("a.yaml"), cart("10.0.0.2")).unwrap();
    fs::rename(&aside, &manifests).unwrap();
    assert_eq!(watched.next_pods().await, ["cart@10.0.0.2"]);
    watched.write("a.yaml", &cart("10.0.0.3"));
    assert_eq!(watched.next_pods().await, ["cart@10.0.0.3"]);
}

#[tokio::test]
async fn files_in_new_folders_and_behind_swapped_links_are_found() {
    let mut watched = Watched::new(&[]).await;
    let within = watched.path("team");
    fs::create_dir(&within).unwrap();
    fs::write(within.join("a.yaml"), cart("10.0.0.1")).unwrap();
    assert_eq!(watched.next_pods().await, ["cart@10.0.0.1"]);

    // As a kubelet mounts a ConfigMap.
    for (version, ip) in [("..1", "10.0.0.5"), ("..2", "10.0.0.6")] {
        fs::create_dir(watched.path(version)).unwrap();
        fs::write(watched.path(version).join("b.yaml"), pod("shop/web", ip, "", "")).unwrap();
        std::os::unix::fs::symlink(version, watched.path("..tmp")).unwrap();
        fs::rename(watched.path("..tmp"), watched.path("..data")).unwrap();
        if !Path::exists(&watched.path("b.yaml")) {
            std::os::unix::fs::symlink("..data/b.yaml", watched.path("b.yaml")).unwrap();
        }
        assert_eq!(watched.next_pods().await, ["cart@10.0.0.1".to_owned(), format!("web@{ip}")]);
    }
}

#[tokio::test]
async fn reports_of_nodes_take_effect() {
    let text = pod("shop/cart", "10.0.0.1", "istio.io/dataplane-mode: ambient", "spec: {nodeName: node-2}")
        .replace("  name: cart", "  name: cart\n  uid: uid-1");
    let mut watched = Watched::new(&[("a.yaml", text)]).await;
    let status = StatusFolder::new(watched.folder.path().join("status"));
    let capture = |translation: &Translation| match &translation.update.workloads[0] {
        Change::Upsert(workload) => workload.capture,
        Change::Remove(_) => unreachable!(),
    };
    status.report("node-2", ["uid-1"]).unwrap();
    assert_eq!(capture(&watched.next().await), mesh::Capture::Enabled);
    status.report("node-2", []).unwrap();
    assert_eq!(capture(&watched.next().await), mesh::Capture::Pending);
}

#[tokio::test]
async fn a_status_folder_that_comes_later_is_followed_at_once() {
    let text = pod("shop/cart", "10.0.0.1", "istio.io/dataplane-mode: ambient", "spec: {nodeName: node-2}");
    let (manifests, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(manifests.path().join("a.yaml"), text).unwrap();
    let status = elsewhere.path().join("status");
    let places = Places { manifests: vec![manifests.path().into()], status: Some(status.clone()) };
    let mut source = ManifestSource::open(places, settings()).unwrap();
    source.next().await;
    StatusFolder::new(status.clone()).report("node-2", []).unwrap();
    assert!(timeout(SOON, source.next()).await.is_ok());
}

#[tokio::test]
async fn a_file_is_read_when_its_writer_is_done() {
    use std::io::Write;
    let mut watched = Watched::new(&[("a.yaml", cart("10.0.0.1"))]).await;
    let mut file = fs::File::create(watched.path("a.yaml")).unwrap();
    let text = cart("10.0.0.2");
    let (head, tail) = text.split_at(text.len() / 2);
    file.write_all(head.as_bytes()).unwrap();
    file.flush().unwrap();
    // Longer than changes are gathered for, and shorter than a writer is waited for.
    let early = timeout(Duration::from_millis(100), watched.source.next()).await;
    assert!(early.is_err(), "half a file was read");
    file.write_all(tail.as_bytes()).unwrap();
    drop(file);
    assert_eq!(watched.next_pods().await, ["cart@10.0.0.2"]);
}

#[tokio::test]
async fn nothing_is_told_while_nothing_changes() {
    let mut watched = Watched::new(&[("a.yaml", cart("10.0.0.1"))]).await;
    watched.write("notes.txt", "none of ours");
    watched.write("a.yaml.swp", "an editor's");
    let told = timeout(Duration::from_millis(200), watched.source.next()).await;
    assert!(told.is_err());
}

#[test]
fn what_is_not_there_to_begin_with_is_an_error() {
    let places = Places { manifests: vec!["/nonexistent/manifests".into()], status: None };
    let error = ManifestSource::open(places, settings()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nonexistent/manifests");
}
