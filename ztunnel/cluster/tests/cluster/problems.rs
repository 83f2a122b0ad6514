//! What a person is told of a manifest that cannot be read.

use std::path::Path;

use cluster::Objects;

fn read(text: &str) -> (Objects, Vec<String>) {
    let (objects, problems) = cluster::read(Path::new("pods.yaml"), text);
    (objects, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_broken_field_is_named_with_file_line_and_object() {
    for (text, want) in [
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: cart}\nspec:\n  containers: 5\n",
            "pods.yaml:5: Pod shop/cart: spec.containers: invalid type: integer `5`, expected a sequence",
        ),
        (
            "# one\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: cart}\nspec:\n  containers:\n  - ports:\n    - containerPort: 70000\n",
            "pods.yaml:9: Pod default/cart: spec.containers[0].ports[0].containerPort: is 70000, want a port from 1 to 65535",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: cart}\nspec:\n  ports: [{port: http}]\n",
            "pods.yaml:5: Service default/cart: spec.ports[0].port: is the text \"http\", want a port from 1 to 65535",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: cart}\nspec:\n  ports: [{port: 80, targetPort: -1}]\n",
            "pods.yaml:5: Service default/cart: spec.ports[0].targetPort: is -1, want a port from 1 to 65535, or its name",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: a}\nspec: {weight: -1}\n",
            "pods.yaml:4: WorkloadEntry default/a: spec.weight: is -1, want a whole number from 0 to 4294967295",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: cart\n  labels:\n    version: 1.10\n",
            "pods.yaml:6: metadata.labels.version: invalid type: floating point `1.1`, expected a string",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: cart}\nstatus: {podIP: 10.0.0}\n",
            "pods.yaml:4: Pod default/cart: status.podIP: \"10.0.0\" is not an IP address",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: cart}\nspec: {clusterIP: any}\n",
            "pods.yaml:4: Service default/cart: spec.clusterIP: \"any\" is neither an IP address nor None",
        ),
        ("apiVersion: v1\nkind: Pod\n", "pods.yaml:1: metadata.name: is missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n", "pods.yaml:4: metadata.name: is missing"),
        ("kind: Pod\nmetadata: {name: cart}\n", "pods.yaml:1: apiVersion: is missing"),
        ("apiVersion: v1\nmetadata: {name: cart}\n", "pods.yaml:1: kind: is missing"),
        ("hello\n", "pods.yaml:1: kind: is missing"),
        ("apiVersion: v1\nkind: List\nitems: {}\n", "pods.yaml:3: items: is not a list"),
    ] {
        assert_eq!(read(text).1, [want], "{text}");
    }
}

#[test]
fn text_that_is_no_yaml_leaves_other_documents_alone() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkind: Pod\nmetadata: {name: cart}\nspec: [\n---\n\
                apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n";
    let (objects, problems) = read(text);
    assert_eq!(objects.namespaces.len(), 2);
    assert_eq!(problems.len(), 1);
    let (line, said) = problems[0].split_once(": ").unwrap();
    assert!(["pods.yaml:7", "pods.yaml:8"].contains(&line), "{problems:?}");
    assert!(said.starts_with("document 2, which seems to be Pod cart: "), "{problems:?}");
}

#[test]
fn one_broken_item_of_a_list_leaves_the_others_alone() {
    let text = "
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: a}
- apiVersion: v1
  kind: Pod
  metadata: {name: b}
  spec: {hostNetwork: maybe}
- apiVersion: v1
  kind: Service
  metadata: {name: c}
";
    let (objects, problems) = read(text);
    assert_eq!((objects.pods.len(), objects.services.len()), (1, 1));
    let want =
        "pods.yaml:11: Pod default/b: spec.hostNetwork: invalid type: string \"maybe\", expected a boolean";
    assert_eq!(problems, [want]);
}

#[test]
fn a_second_definition_is_told_and_does_not_count() {
    let pod =
        |ip| format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nstatus: {{podIP: {ip}}}\n");
    let (objects, problems) = read(&(pod("10.0.0.1") + &pod("10.0.0.2")));
    assert_eq!(objects.pods.len(), 1);
    assert_eq!(objects.pods[0].addresses().next().unwrap().to_string(), "10.0.0.1");
    assert_eq!(problems, ["pods.yaml:7: Pod default/a: is defined already, at pods.yaml:2"]);
}

#[test]
fn json_is_read_with_tabs_and_lists() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"List\",\n\t\"items\": [\n\t\t{\"apiVersion\": \"v1\", \
                \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\", \"labels\": null}}\n\t]\n}\n";
    let (objects, problems) = cluster::read(Path::new("pods.json"), text);
    assert_eq!((objects.pods.len(), problems.len()), (1, 0), "{problems:?}");
}

#[test]
fn nulls_and_unknown_fields_are_as_if_not_there() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n  annotations: null\n  managedFields: [{x: 1}]\n\
                spec:\n  containers:\n  volumes: [{name: v, emptyDir: {}}]\n  priority: 0\nstatus:\n";
    let (objects, problems) = read(text);
    assert_eq!((objects.pods.len(), problems), (1, vec![]));
}

#[test]
fn words_of_yaml_1_1_are_booleans_only_where_one_is_wanted() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {country: no, axis: y}\n\
                spec: {hostNetwork: yes}\n";
    let (objects, problems) = read(text);
    assert_eq!(problems, [""; 0]);
    let pod = &objects.pods[0];
    assert!(pod.spec.template.host_network);
    assert_eq!((pod.metadata.label("country"), pod.metadata.label("axis")), (Some("no"), Some("y")));
}

#[test]
fn objects_that_mean_something_to_istio_only_are_listed() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: routes, namespace: shop}\n\
                ---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: jwt}\n\
                ---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cart}\n\
                ---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: cart}\n\
                ---\napiVersion: v1\nkind: Service\nmetadata: {name: cart}\n";
    let (objects, problems) = read(text);
    let ignored: Vec<_> = objects.ignored.iter().map(ToString::to_string).collect();
    assert_eq!(ignored, ["VirtualService shop/routes", "RequestAuthentication default/jwt"]);
    assert_eq!((objects.skipped, objects.services.len(), problems.len()), (2, 1, 0));
}
