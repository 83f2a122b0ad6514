//! The root in a Secret.

use std::io;
use std::thread;

use cluster::kubernetes::{Access, Kubernetes, NamespacedName, Written};
use harness::{LabError, eventually};
use serde_json::json;

use crate::scene::{Ca, Scene, make};

#[test]
fn two_that_start_together_make_one_root_which_outlives_them() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let start = |name: &str| scene.ca_with(name, &scene.secret());
    let (one, two) = thread::scope(|scope| {
        let other = scope.spawn(|| start("two"));
        (start("one"), other.join().expect("no panic"))
    });
    let (mut one, two) = (one?, two?);
    let serial = |ca: &Ca| Ok::<_, LabError>(ca.status(&scene)?["chain"][0]["serial"].clone());
    let first = serial(&one)?;
    assert_eq!(serial(&two)?, first);
    one.process.kill()?;
    let again = start("again")?;
    assert_eq!(serial(&again)?, first);
    Ok(())
}

#[test]
fn of_two_that_write_at_once_one_is_told_that_it_was_too_late() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let token = scene.token_for("ca", "https://kubernetes.default.svc", None)?;
    let access = Access::Kubeconfig(scene.cluster.kubeconfig(&scene.secret_name(), &token)?);
    let name: NamespacedName =
        format!("{}/{}", scene.namespace, scene.secret_name()).parse().expect("a name");
    let entry = |text: &str| [("a".to_owned(), text.as_bytes().to_vec())].into();
    let written = scene.cluster.netns().within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let api = Kubernetes::connect(&access).await.map_err(io::Error::other)?;
            let first = api.create_secret(&name, entry("first")).await.map_err(io::Error::other)?;
            let second = api.create_secret(&name, entry("second")).await.map_err(io::Error::other)?;
            let seen = api.secret(&name).await.map_err(io::Error::other)?.expect("it was made");
            let third = api.add_to_secret(&name, &seen, entry("third")).await.map_err(io::Error::other)?;
            let fourth = api.add_to_secret(&name, &seen, entry("fourth")).await.map_err(io::Error::other)?;
            Ok([first, second, third, fourth])
        })
    })?;
    assert_eq!(written, [Written::Done, Written::Raced, Written::Done, Written::Raced]);
    assert_eq!(scene.entry("a")?, "third");
    Ok(())
}

#[test]
fn an_empty_secret_is_filled_by_one_of_them() -> Result<(), LabError> {
    let scene = Scene::new()?;
    make(
        &scene.cluster,
        &json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": scene.secret_name(), "namespace": scene.namespace },
        }),
    )?;
    let root = scene.secret();
    let cas = thread::scope(|scope| {
        let starting = ["one", "two", "three"].map(|name| scope.spawn(|| scene.ca_with(name, &root)));
        starting.map(|it| it.join().expect("no panic"))
    });
    let mut serials = Vec::new();
    for ca in cas {
        serials.push(ca?.status(&scene)?["chain"][0]["serial"].clone());
    }
    assert!(serials[0].is_string() && serials.iter().all(|it| *it == serials[0]), "{serials:?}");
    Ok(())
}

#[test]
fn a_root_follows_another_through_the_secret_and_both_are_trusted_meanwhile() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    let (first, second) = (scene.ca_with("one", &scene.secret())?, scene.ca_with("two", &scene.secret())?);
    let token = scene.token("ztunnel", Some(&daemon))?;
    let old = scene.entry("root-cert.pem")?;
    let new = scene.new_root()?;
    let roots = |ca: &Ca| {
        let chain = ca.ask(&scene, &token, &scene.id("cart"))?.expect("it runs there");
        Ok::<_, LabError>(chain.roots.len())
    };
    let wait = |roots: usize, signer: &str| {
        for ca in [&first, &second] {
            eventually("the root was not followed", || {
                let status = ca.status(&scene)?;
                let trusted = status["trusted_roots"].as_array().map_or(0, Vec::len);
                Ok((trusted == roots && status["chain"][0]["serial"] == signer).then_some(()))
            })?;
        }
        Ok::<_, LabError>(())
    };
    let serial =
        |ca: &Ca| Ok::<_, LabError>(ca.status(&scene)?["chain"][0]["serial"].as_str().map(str::to_owned));
    let signer = serial(&first)?.expect("a serial");
    assert_eq!(roots(&first)?, 1);
    scene.write_entries(&[("root-cert.pem", &format!("{old}{}", new.certificate))])?;
    wait(2, &signer)?;
    assert_eq!((roots(&first)?, roots(&second)?), (2, 2));
    scene.write_entries(&[("root-key.pem", &new.key)])?;
    wait(2, &new.serial)?;
    assert_eq!((roots(&first)?, roots(&second)?), (2, 2));
    scene.write_entries(&[("root-cert.pem", &new.certificate)])?;
    wait(1, &new.serial)?;
    assert_eq!(roots(&second)?, 1);
    Ok(())
}

#[test]
fn the_command_has_a_root_follow_another_in_the_secret() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    let mut root = scene.secret();
    root["publishConfigMap"] = json!(format!("{0}/{0}-ca-roots", scene.namespace));
    let (first, second) = (scene.ca_with("one", &root)?, scene.ca_with("two", &root)?);
    let signer = |ca: &Ca| Ok::<_, LabError>(ca.status(&scene)?["chain"][0]["serial"].clone());
    let (old, cas) = (signer(&first)?, [&first, &second]);

    let added = first.rotate(&scene, "add", &[])?.expect("it is added");
    assert!(added.contains("is made, and trusted beside"), "{added}");
    let early = first.rotate(&scene, "switch", &[])?.expect_err("no time has passed");
    assert!(early.contains("it is too early: come again in "), "{early}");
    let second_socket = second.admin_socket().display().to_string();
    let all = ["--settle", "0s", "--ca", &second_socket];
    once_all_follow(|| first.rotate(&scene, "switch", &all))?;
    for ca in cas {
        eventually("the CA does not sign with the new root", || Ok((signer(ca)? != old).then_some(())))?;
    }

    let early = first.rotate(&scene, "retire", &all)?.expect_err("leaves may live for a day");
    assert!(early.contains("it is too early: come again in "), "{early}");
    let short = [&all[..], &["--leaf-ttl", "1s", "--leaf-max-ttl", "1s"]].concat();
    once_all_follow(|| first.rotate(&scene, "retire", &short))?;
    assert_eq!(scene.entry("root-cert.pem")?.matches("BEGIN CERTIFICATE").count(), 1);
    let token = scene.token("ztunnel", Some(&daemon))?;
    for ca in cas {
        eventually("the old root is trusted", || {
            let chain = ca.ask(&scene, &token, &scene.id("cart"))?.expect("it runs there");
            Ok((chain.roots.len() == 1).then_some(()))
        })?;
    }
    let again = first.rotate(&scene, "switch", &all)?.expect_err("it is at its end");
    assert!(again.contains("add comes first"), "{again}");
    Ok(())
}

/// Does a step as soon as it is not refused any more.
fn once_all_follow(step: impl Fn() -> Result<Result<String, String>, LabError>) -> Result<(), LabError> {
    eventually("the step is not done", || match step()? {
        Ok(_) => Ok(Some(())),
        Err(why) if why.contains("not yet everywhere") || why.contains("too early") => Ok(None),
        Err(why) => panic!("{why}"),
    })
}

#[test]
fn a_config_map_tells_which_roots_are_trusted_and_never_the_key() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let name = format!("{}-ca-roots", scene.namespace);
    let mut root = scene.secret();
    root["publishConfigMap"] = json!(format!("{}/{name}", scene.namespace));
    let _ca = scene.ca_with("one", &root)?;
    let path = format!("/api/v1/namespaces/{}/configmaps/{name}", scene.namespace);
    let says = |wanted: &str| {
        eventually("the config map does not say which roots are trusted", || {
            let data = scene.cluster.ask("GET", &path, None)?.body["data"].clone();
            Ok((data == json!({ "root-cert.pem": wanted })).then_some(()))
        })
    };
    let old = scene.entry("root-cert.pem")?;
    says(&old)?;
    let both = format!("{old}{}", scene.new_root()?.certificate);
    scene.write_entries(&[("root-cert.pem", &both)])?;
    says(&both)
}

#[test]
fn a_secret_that_breaks_or_goes_leaves_the_root_that_is_in_use() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    let ca = scene.ca_with("one", &scene.secret())?;
    let token = scene.token("ztunnel", Some(&daemon))?;
    scene.write_entries(&[("root-key.pem", "broken")])?;
    eventually("the fault was not said", || Ok(ca.log(&scene)?.contains("root is not taken").then_some(())))?;
    ca.ask(&scene, &token, &scene.id("cart"))?.expect("the root in use signs");
    scene.delete_secret()?;
    eventually("the loss was not said", || Ok(ca.log(&scene)?.contains("no root in Secret").then_some(())))?;
    ca.ask(&scene, &token, &scene.id("cart"))?.expect("the root in use signs");
    Ok(())
}
