//! A large mesh that changes all the time.

use std::process::Stdio;

use crate::bench::metric::{Metric, Unit};
use crate::bench::results::Results;
use crate::cargo::{cargo, run, target_folder, words};
use crate::error::XtaskError;

/// Has the state store take changes for half a minute, and fails where it does not keep up, or grows.
pub(super) fn measure(contender: &str, results: &mut Results) -> Result<(), XtaskError> {
    println!("changing a mesh of 100,000 workloads 1000 times a second, for {SECONDS} s");
    run(cargo().args(["build", "--release", "-p", "bench", "--bin", "churn"]))?;
    let mut command = std::process::Command::new(target_folder().join("release").join("churn"));
    command.arg(SECONDS.to_string()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(XtaskError::file("churn"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    if !output.status.success() {
        return Err(XtaskError::Command { command: words(&command), status: output.status });
    }
    let figure = |name: &str| {
        let mut words = text.lines().last().unwrap_or_default().split(' ');
        let value = words.find(|word| *word == name).and_then(|_| words.next()?.parse::<f64>().ok());
        value.ok_or_else(|| XtaskError::Unreadable {
            what: name.to_owned(),
            problem: text.clone().into_owned(),
        })
    };
    let metric = |load: &str, unit| Metric::new("1000 changes a second to 100,000 workloads", load, unit);
    results.add(metric("processor time", Unit::Share), contender, figure("cpu")? * 100.0);
    results.add(metric("slowest change", Unit::Longest), contender, figure("slowest-us")?);
    results.add(metric("memory after a second", Unit::Bytes), contender, figure("before-mb")? * 1e6);
    results.add(metric("memory at the end", Unit::Bytes), contender, figure("after-mb")? * 1e6);
    Ok(())
}

const SECONDS: u32 = 30;
