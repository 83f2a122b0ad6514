//! Manifests of a large mesh.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::error::XtaskError;

/// Writes the manifests of [`WORKLOADS`] pods in [`NAMESPACES`] namespaces, on nodes that are not there, and of
/// [`SERVICES`] Services that select ten of them each.
pub(super) fn write(folder: &Path) -> Result<(), XtaskError> {
    let mut namespaces = String::new();
    for number in 0..NAMESPACES {
        append(
            &mut namespaces,
            format_args!(
                "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: scale-{number}, labels: {{istio.io/dataplane-mode: ambient}}}}\n"
            ),
        );
    }
    save(folder, "namespaces", &namespaces)?;
    let mut services = String::new();
    for number in 0..SERVICES {
        service(&mut services, number);
    }
    save(folder, "services", &services)?;
    for file in 0..WORKLOADS / PODS_A_FILE {
        let mut pods = String::new();
        (file * PODS_A_FILE..(file + 1) * PODS_A_FILE).for_each(|number| pod(&mut pods, number));
        save(folder, &format!("pods-{file}"), &pods)?;
    }
    Ok(())
}

fn service(text: &mut String, number: usize) {
    let (namespace, ip) = (number % NAMESPACES, address(number, 64));
    append(
        text,
        format_args!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: app-{number}, namespace: scale-{namespace}}}\n\
         spec: {{clusterIP: {ip}, clusterIPs: [{ip}], ipFamilies: [IPv4], selector: {{app: app-{number}}}, \
         ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n"
        ),
    );
}

fn pod(text: &mut String, number: usize) {
    let app = number % SERVICES;
    let (namespace, node, ip) = (app % NAMESPACES, number % NODES, address(number, 128));
    append(
        text,
        format_args!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: app-{app}-{number}, namespace: scale-{namespace}, \
         uid: 5ca1e000-0000-4000-8000-{number:012}, labels: {{app: app-{app}}}}}\n\
         spec: {{nodeName: scale-{node}, serviceAccountName: app-{app}, containers: [{{name: app}}]}}\n\
         status: {{phase: Running, conditions: [{{type: Ready, status: \"True\"}}], podIP: {ip}, podIPs: [{{ip: {ip}}}]}}\n"
        ),
    );
}

/// The address of that number from 10.BLOCK.0.0 on.
fn address(number: usize, block: usize) -> String {
    format!("10.{}.{}.{}", block + (number >> 16), (number >> 8) & 0xff, number & 0xff)
}

fn save(folder: &Path, name: &str, text: &str) -> Result<(), XtaskError> {
    let path = folder.join(format!("scale-{name}.yaml"));
    fs::write(&path, text).map_err(XtaskError::file(path))
}

fn append(text: &mut String, lines: std::fmt::Arguments<'_>) {
    text.write_fmt(lines).expect("writing to a String cannot fail");
}

pub(super) const WORKLOADS: usize = 100_000;
pub(super) const SERVICES: usize = 10_000;
const NAMESPACES: usize = 100;
const NODES: usize = 1000;
const PODS_A_FILE: usize = 1000;
