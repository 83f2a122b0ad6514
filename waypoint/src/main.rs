//! The L7 proxy of the mesh.

use std::process::ExitCode;

/// The mesh's L7 proxy to come, waypoint and ingress Gateway in one program: it does nothing yet.
///
/// This build evaluates no HTTPRoute, GRPCRoute or TCPRoute, and answers no request. Traffic that asks
/// for a waypoint (label istio.io/use-waypoint) is refused by the node's ztunnel, which names the waypoint that is
/// missing. L4 identity, encryption and policy need no waypoint.
#[derive(clap::Parser)]
#[command(name = "waypoint", version, arg_required_else_help = true)]
struct Arguments {}

fn main() -> ExitCode {
    // With any argument but --help and --version, and with none, this ends the process with usage and an error.
    let Arguments {} = clap::Parser::parse();
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::Arguments;

    #[test]
    fn it_says_that_it_does_nothing_and_refuses_to_pretend() {
        let of = |words: &[&str]| {
            Arguments::try_parse_from(words).err().map(|error| (error.kind(), error.to_string()))
        };
        let (kind, text) = of(&["waypoint", "--help"]).unwrap();
        assert_eq!(kind, ErrorKind::DisplayHelp);
        assert!(text.contains("it does nothing yet"), "{text}");
        let (kind, _) = of(&["waypoint"]).unwrap();
        assert_eq!(kind, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        let (kind, _) = of(&["waypoint", "proxy"]).unwrap();
        assert_eq!(kind, ErrorKind::UnknownArgument);
    }
}
