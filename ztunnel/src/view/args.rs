//! The command lines.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use daemon::admin::{AskError, ask};
use serde_json::Value;

use super::rows::{self, list, text};
use super::status;
use super::table::Table;

/// Where the daemon is asked.
#[derive(Clone, Debug, Args)]
struct Asked {
    /// The daemon's admin socket.
    #[arg(
        long,
        value_name = "PATH",
        env = "ZTUNNEL_ADMIN_SOCKET",
        default_value = "/run/ambient/admin.sock"
    )]
    socket: PathBuf,
}

/// How the answer is printed.
#[derive(Clone, Debug, Args)]
struct Printed {
    #[command(flatten)]
    asked: Asked,
    /// How the answer is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Everything that is known.
    Json,
    /// The most important for people.
    #[default]
    Table,
}

/// Shows the daemon at a glance: readiness, pods, connections, certificates, and what of the mesh is not in force.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    printed: Printed,
    /// Fails when a pod is not captured that should be, or a manifest is broken or not followed to the letter.
    #[arg(long)]
    check: bool,
}

/// Lists the connections that live: how they travel, since when, their bytes, the peer's identity and the policy that
/// allowed them; or those that were denied of late.
#[derive(Clone, Debug, Args)]
pub struct ConnectionsArgs {
    #[command(flatten)]
    printed: Printed,
    /// Only `inbound` or `outbound` ones.
    #[arg(long, value_name = "DIRECTION", value_parser = ["inbound", "outbound"])]
    direction: Option<String>,
    /// Only those of workloads of this node in a namespace.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The last ones that were denied, by whom and why, and no others.
    #[arg(long)]
    denied: bool,
}

/// Lists the certificates of this node's workloads.
#[derive(Clone, Debug, Args)]
pub struct CertificatesArgs {
    #[command(flatten)]
    printed: Printed,
}

/// Lists the workloads of the mesh, and how they are reached.
#[derive(Clone, Debug, Args)]
pub struct WorkloadsArgs {
    #[command(flatten)]
    printed: Printed,
    /// Only those of a namespace.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only those of a node.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only the one with that address.
    #[arg(long, value_name = "IP")]
    address: Option<std::net::IpAddr>,
}

/// Lists the services of the mesh with their endpoints: how many are ready, and how many there are.
#[derive(Clone, Debug, Args)]
pub struct ServicesArgs {
    #[command(flatten)]
    printed: Printed,
    /// Only those of a namespace.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// Lists the policies that are in force.
#[derive(Clone, Debug, Args)]
pub struct PoliciesArgs {
    #[command(flatten)]
    printed: Printed,
    /// Only those of a namespace.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// Prints the level of the daemon's log, or changes it while it runs.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    #[command(flatten)]
    asked: Asked,
    /// The level from now on: `info`, or by target: `hbone=debug,info`.
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// The level that the daemon started with.
    #[arg(short, long, conflicts_with = "level")]
    reset: bool,
}

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The daemon.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// `--check` found something.
    #[error("{0} findings")]
    Findings(usize),
    /// The answer is not JSON.
    #[error("daemon's answer cannot be read")]
    Json(#[from] serde_json::Error),
    /// Standard output.
    #[error("answer cannot be printed")]
    Print(#[from] io::Error),
}

impl StatusArgs {
    /// Prints to `out`.
    ///
    /// # Errors
    /// When no daemon answers; with `--check`, when there is something to mend.
    pub fn run(&self, out: &mut impl Write) -> Result<(), ViewError> {
        let asked = &self.printed.asked;
        let ready = match asked.get("/healthz/ready") {
            Ok(ready) => String::from_utf8_lossy(&ready).into_owned(),
            Err(ViewError::Ask(AskError::Refused { status: 503, said })) => said,
            Err(error) => return Err(error),
        };
        let (dump, connections) = (asked.json("/config_dump")?, asked.json("/connections")?);
        let summary = status::summary(&ready, &dump, &connections);
        match self.printed.output {
            Form::Json => writeln!(out, "{summary:#}")?,
            Form::Table => out.write_all(status::render(&summary).as_bytes())?,
        }
        match status::findings(&summary) {
            findings if self.check && findings > 0 => Err(ViewError::Findings(findings)),
            _ => Ok(()),
        }
    }
}

impl ConnectionsArgs {
    /// Prints to `out`.
    ///
    /// # Errors
    /// When no daemon answers.
    pub fn run(&self, out: &mut impl Write) -> Result<(), ViewError> {
        let own = |connection: &Value| {
            let own = if connection["direction"] == "outbound" { "source" } else { "destination" };
            text(&connection[own]["workload"])
        };
        let wanted = |connection: &&Value| {
            is(self.direction.as_deref(), &connection["direction"])
                && self.namespace.as_ref().is_none_or(|wanted| {
                    own(connection).split_once('/').is_some_and(|(namespace, _)| namespace == wanted)
                })
        };
        if self.denied {
            let table = |all: &[&Value]| rows::denials(all.iter().copied());
            return self.printed.print(out, "/config_dump/denials", wanted, table);
        }
        self.printed.print(out, "/connections", wanted, |all| rows::connections(all.iter().copied()))
    }
}

impl CertificatesArgs {
    /// Prints to `out`.
    ///
    /// # Errors
    /// When no daemon answers.
    pub fn run(&self, out: &mut impl Write) -> Result<(), ViewError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let table = |all: &[&Value]| rows::certificates(all.iter().copied(), now);
        self.printed.print(out, "/config_dump/certificates", |_| true, table)
    }
}

impl WorkloadsArgs {
    /// Prints to `out`.
    ///
    /// # Errors
    /// When no daemon answers.
    pub fn run(&self, out: &mut impl Write) -> Result<(), ViewError> {
        let address = self.address.map(|address| address.to_string());
        let wanted = |workload: &&Value| {
            is(self.namespace.as_deref(), &workload["profile"]["namespace"])
                && is(self.node.as_deref(), &workload["node"]["name"])
                && address
                    .as_ref()
                    .is_none_or(|wanted| list(&workload["addresses"]).iter().any(|own| text(own) == *wanted))
        };
        let table = |all: &[&Value]| rows::workloads(all.iter().copied());
        self.printed.print(out, "/config_dump/workloads", wanted, table)
    }
}

impl ServicesArgs {
    /// Prints to `out`.
    ///
    /// # Errors
    /// When no daemon answers.
    pub fn run(&self, out: &mut impl Write) -> Result<(), ViewError> {
        let wanted = |service: &&Value| is(self.namespace.as_deref(), &service["key"]["namespace"]);
        self.printed.print(out, "/config_dump/services", wanted, |all| rows::services(all.iter().copied()))
    }
}

impl PoliciesArgs {
    /// Prints to `out`.
    ///
    /// # Errors
    /// When no daemon answers.
    pub fn run(&self, out: &mut impl Write) -> Result<(), ViewError> {
        let wanted = |policy: &&Value| is(self.namespace.as_deref(), &policy["name"]["namespace"]);
        self.printed.print(out, "/config_dump/policies", wanted, |all| rows::policies(all.iter().copied()))
    }
}

impl LogArgs {
    /// Prints to `out`.
    ///
    /// # Errors
    /// When no daemon answers, or it knows no such level.
    pub fn run(&self, out: &mut impl Write) -> Result<(), ViewError> {
        let socket = &self.asked.socket;
        let said = match &self.level {
            Some(level) => ask(socket, "POST", &format!("/logging?level={}", escaped(level)))?,
            None if self.reset => ask(socket, "POST", "/logging?reset")?,
            None => ask(socket, "GET", "/logging")?,
        };
        Ok(out.write_all(&said)?)
    }
}

impl Asked {
    fn get(&self, path: &str) -> Result<Vec<u8>, ViewError> {
        Ok(ask(&self.socket, "GET", path)?)
    }

    fn json(&self, path: &str) -> Result<Value, ViewError> {
        Ok(serde_json::from_slice(&self.get(path)?)?)
    }
}

impl Printed {
    /// Prints those items of a page's list that are wanted.
    fn print(
        &self,
        out: &mut impl Write,
        page: &str,
        wanted: impl Fn(&&Value) -> bool,
        table: impl Fn(&[&Value]) -> Table,
    ) -> Result<(), ViewError> {
        let all = self.asked.json(page)?;
        let chosen: Vec<&Value> = list(&all).iter().filter(wanted).collect();
        match self.output {
            Form::Json => {
                serde_json::to_writer_pretty(&mut *out, &chosen)?;
                writeln!(out)?;
            }
            Form::Table => out.write_all(table(&chosen).render().as_bytes())?,
        }
        Ok(())
    }
}

/// Whether a value is the wanted one, where one is wanted.
fn is(wanted: Option<&str>, value: &Value) -> bool {
    wanted.is_none_or(|wanted| value == wanted)
}

/// A level as the query of a request: its brackets, braces and quotes would end the request's line.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:,=".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_stays_one_word_of_the_request() {
        assert_eq!(escaped("hbone=debug,info"), "hbone=debug,info");
        assert_eq!(escaped("a[{b=\"c\"}] d"), "a%5B%7Bb=%22c%22%7D%5D%20d");
    }
}
