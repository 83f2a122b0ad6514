//! The bench, as short as it can be: what it says, and what it keeps. Not how fast anything was.

mod relay;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use harness::LabError;

#[test]
fn it_measures_no_mesh_ours_and_another_and_keeps_what_it_shows() -> Result<(), LabError> {
    if relay::is_wanted() {
        return relay::run();
    }
    let (kept, peer) = (tempfile::tempdir()?, relay::command(ITSELF)?);
    let ours = harness::ztunnel()?.display().to_string();
    let output = bench(kept.path()).args(["--ours", &ours, "--peer", &peer]).args(SHORT).output()?;
    let (told, complaints) = both(&output);
    assert!(output.status.success(), "{told}\n{complaints}");
    let columns = ["between nodes", "direct", "ours", "peer", "ours / direct", "ours / peer"];
    assert!(told.lines().any(|line| cells(line) == columns), "{told}");
    for connections in [1, 8, 64] {
        for unit in ["req/s", "p50 us", "p99 us"] {
            let values = row(&told, &format!("requests, connections: {connections}, {unit}"));
            assert!(values.len() == 5 && values.iter().all(|it| is_positive(it)), "{values:?} in {told}");
        }
        // Nothing runs on behalf of who has no mesh.
        let values = row(&told, &format!("requests, connections: {connections}, CPU s/100k requests"));
        assert_eq!((values[0].as_str(), values[3].as_str()), ("-", "-"), "{told}");
        assert!(values[1].parse::<f64>().is_ok() && values[2].parse::<f64>().is_ok(), "{told}");
    }
    assert!(!told.contains("within a node") && !told.contains("bulk"), "nobody asked for that: {told}");

    let report = told.lines().last().and_then(|it| it.strip_prefix("kept in ")).unwrap_or_default();
    assert!(Path::new(report).starts_with(kept.path()), "{report}");
    let table: Vec<_> = fs::read_to_string(report)?.lines().map(str::to_owned).collect();
    assert!(table.iter().all(|line| told.contains(line.as_str())), "{table:?}");
    let figures = Path::new(report).with_extension("json").display().to_string();
    let output = bench(kept.path()).args(["--compare", &figures, &figures]).output()?;
    let (told, complaints) = both(&output);
    assert!(output.status.success(), "{complaints}");
    for contender in ["direct", "ours", "peer"] {
        assert!(
            told.lines().any(|line| cells(line) == [contender, "before", "after", "after / before"]),
            "{told}"
        );
    }
    let same = row(&told, "between nodes: requests, connections: 8, req/s");
    assert!(same[0] == same[1] && same[2] == "1.00", "{told}");
    Ok(())
}

#[test]
fn a_peer_that_captures_nothing_is_not_measured() -> Result<(), LabError> {
    let kept = tempfile::tempdir()?;
    let peer = "echo pid $$; echo ready; sleep 600";
    let output = bench(kept.path()).args(["--without-ours", "--peer", peer]).args(SHORT).output()?;
    let (told, complaints) = both(&output);
    assert!(!output.status.success(), "{told}");
    let told = "packets held a request in plaintext";
    assert!(
        complaints.contains("what peer does cannot be understood: ") && complaints.contains(told),
        "{complaints}"
    );
    assert!(!kept.path().join("bench").exists(), "nothing is kept");
    Ok(())
}

/// The bench, as built, with what it keeps in a folder of the test's.
fn bench(kept: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"));
    command.env("CARGO_TARGET_DIR", kept).args(["bench", "--no-install"]);
    command
}

/// The test that starts this program once more.
const ITSELF: &str = "it_measures_no_mesh_ours_and_another_and_keeps_what_it_shows";

/// One load, one round, one second.
const SHORT: [&str; 8] = ["--only", "keepalive", "--route", "remote", "--rounds", "1", "--seconds", "1"];

/// The cells of a row behind its name.
fn row(report: &str, name: &str) -> Vec<String> {
    let row = report.lines().map(cells).find(|cells| cells[0] == name);
    let row = row.unwrap_or_else(|| panic!("no row {name} in {report}"));
    row.into_iter().skip(1).map(str::to_owned).collect()
}

/// The cells of a line of a table; the line itself, of another line.
fn cells(line: &str) -> Vec<&str> {
    let inside = line.strip_prefix('|').and_then(|it| it.trim_end().strip_suffix('|'));
    inside.map_or_else(|| vec![line], |it| it.split('|').map(str::trim).collect())
}

fn is_positive(cell: &str) -> bool {
    cell.parse::<f64>().is_ok_and(|value| value > 0.0)
}

fn both(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
