use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let file = "timeouts:\n  connect: 1s\n  drain: 2s\nname: of the file\n";
    let config = resolve(file, &[("TEST_DRAIN", "3s"), ("TEST_NAME", "")], &["--timeouts-connect", "4s"]);
    let config = config.unwrap();
    assert_eq!(config.connect, Duration::from_secs(4));
    assert_eq!(config.drain, Duration::from_secs(3));
    assert_eq!(config.name, "of the file");
}

#[test]
fn all_that_is_wrong_is_said_at_once_each_with_its_place() {
    let file = "timeouts:\n  conect: 1s\n  drain: soon\nnmae: x\n";
    let errors = resolve(file, &[("TEST_CONNECT", "1")], &["--ports", "80,0"]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "test.yaml:2:3: unknown key \"timeouts.conect\", did you mean \"timeouts.connect\"?\n\
         test.yaml:4:1: unknown key \"nmae\", did you mean \"name\"?\n\
         test.yaml:3:3: timeouts.drain is \"soon\", want a duration like 150us, 250ms, 5s, 2m30s or 1h\n\
         environment variable TEST_CONNECT: timeouts.connect is \"1\", want a duration like 150us, 250ms, 5s, 2m30s or 1h\n\
         --ports: ports is \"80,0\", want a port from 1 to 65535"
    );
}

#[test]
fn a_misspelt_group_is_recognised() {
    let errors = resolve("timeout:\n  connect: 1s\n", &[], &[]).unwrap_err();
    assert!(errors.to_string().ends_with("unknown key \"timeout\", did you mean \"timeouts\"?"), "{errors}");
}

#[test]
fn lists_numbers_and_switches_read_as_yaml() {
    let config = resolve("ports: [80, 443]\nenabled: false\n", &[], &[]).unwrap();
    assert_eq!((config.ports, config.enabled), (vec![80, 443], false));
    let config = resolve("ports: \"80, 443\"\n", &[], &["--enabled"]).unwrap();
    assert_eq!((config.ports, config.enabled), (vec![80, 443], true));
    assert_eq!(resolve("ports: 80\n", &[], &[]).unwrap().ports, [80]);
}

#[test]
fn a_text_that_looks_like_a_number_stays_as_it_was_written() {
    for text in ["007", "1.10", "0x10", "yes", "1_000", "1e3"] {
        assert_eq!(resolve(&format!("name: {text}\n"), &[], &[]).unwrap().name, text);
    }
}

#[test]
fn what_is_empty_sets_nothing() {
    for file in ["", "# nothing\n", "timeouts:\n", "timeouts:\n  connect:\nname: ~\n"] {
        assert_eq!(resolve(file, &[], &[]).unwrap(), Config::default(), "{file:?}");
    }
}

#[test]
fn what_is_no_configuration_is_refused_with_its_place_and_its_key() {
    for (file, complaint) in [
        ("5\n", "test.yaml:1:1: the file is not a map of options"),
        ("- name\n", "test.yaml:1:1: the file is not a map of options"),
        ("name: x\ntimeouts: 5s\n", "test.yaml:2:11: timeouts is not a map of options"),
        ("timeouts: 5\n", "test.yaml:1:11: timeouts is not a map of options"),
        ("timeouts: [connect, drain]\n", "test.yaml:1:11: timeouts is not a map of options"),
        ("timeouts:\n  connect: [1s]\n", "test.yaml:2:12: timeouts.connect is not a single value"),
        ("timeouts:\n  connect: {a: b}\n", "test.yaml:2:12: timeouts.connect is not a single value"),
        ("name:\n  first: x\n", "test.yaml:2:3: name is not a single value"),
        ("ports: {a: 80}\n", "test.yaml:1:8: ports is not a value or a list of values"),
        ("ports: [[80]]\n", "test.yaml:1:9: ports is not a value or a list of values"),
        ("name: x\nname: y\n", "test.yaml:2:1: name is there twice"),
        ("timeouts:\n  drain: 1s\n  drain: 2s\n", "test.yaml:3:3: timeouts.drain is there twice"),
        ("timeouts:\n  drain: 1s\ntimeouts:\n  connect: 1s\n", "test.yaml:3:1: timeouts is there twice"),
        ("timeouts: {drain: 1s\n", "test.yaml:1:11: unclosed bracket '{'"),
    ] {
        assert_eq!(resolve(file, &[], &[]).unwrap_err().to_string(), complaint, "{file:?}");
    }
    assert!(resolve("name: [", &[], &[]).unwrap_err().to_string().starts_with("test.yaml:1:"));
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(text in "[a-z:. \\-\\[\\]{}\"'&*!|>%#\n]{0,60}") {
        let path = PathBuf::from("test.yaml");
        let file = File { path: &path, text: &text };
        let _ = OPTIONS.resolve(Config::default(), Some(file), |_| None, &Flags::default());
    }
}

#[test]
fn the_documented_defaults_read_back_to_the_defaults() {
    let text = OPTIONS.document(&Config::default());
    assert_eq!(
        text,
        "# Who we are.\n\
         # NAME, flag --name, variable TEST_NAME\n\
         # name:\n\
         # Ports.\n\
         # PORT,..., flag --ports, variable TEST_PORTS\n\
         ports: \"80,81\"\n\
         # Whether.\n\
         # BOOL, flag --enabled, variable TEST_ENABLED\n\
         enabled: true\n\
         \n\
         timeouts:\n  # How long to dial.\n\
         \x20 # DURATION, flag --timeouts-connect, variable TEST_CONNECT\n\
         \x20 connect: 10s\n\
         \x20 # How long to drain.\n\
         \x20 # DURATION, flag --timeouts-drain, variable TEST_DRAIN\n\
         \x20 drain: 1m\n"
    );
    assert_eq!(resolve(&text, &[], &[]).unwrap(), Config::default());
}

#[test]
fn help_names_default_and_variable() {
    let mut command = OPTIONS.add_to(clap::Command::new("test"));
    let help = command.render_long_help().to_string();
    assert!(help.contains("--timeouts-connect <DURATION>"), "{help}");
    assert!(help.contains("How long to dial. [default: 10s] [env: TEST_CONNECT]"), "{help}");
}

#[derive(Debug, PartialEq)]
struct Config {
    name: String,
    ports: Vec<u16>,
    enabled: bool,
    connect: Duration,
    drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let (connect, drain) = (Duration::from_secs(10), Duration::from_secs(60));
        Self { name: String::new(), ports: vec![80, 81], enabled: true, connect, drain }
    }
}

const OPTIONS: Options<Config> = Options::new(&[
    &[
        Opt {
            key: "name",
            env: "TEST_NAME",
            value: "NAME",
            help: "Who we are.",
            set: |config, text| set(&mut config.name, text),
            show: |config| config.name.show(),
        },
        Opt {
            key: "ports",
            env: "TEST_PORTS",
            value: "PORT,...",
            help: "Ports.",
            set: |config, text| set(&mut config.ports, text),
            show: |config| config.ports.show(),
        },
        Opt {
            key: "enabled",
            env: "TEST_ENABLED",
            value: "BOOL",
            help: "Whether.",
            set: |config, text| set(&mut config.enabled, text),
            show: |config| config.enabled.show(),
        },
    ],
    &[
        Opt {
            key: "timeouts.connect",
            env: "TEST_CONNECT",
            value: "DURATION",
            help: "How long to dial.",
            set: |config, text| set(&mut config.connect, text),
            show: |config| config.connect.show(),
        },
        Opt {
            key: "timeouts.drain",
            env: "TEST_DRAIN",
            value: "DURATION",
            help: "How long to drain.",
            set: |config, text| set(&mut config.drain, text),
            show: |config| config.drain.show(),
        },
    ],
]);

fn resolve(file: &str, env: &[(&str, &str)], args: &[&str]) -> Result<Config, ConfigErrors> {
    let env: HashMap<_, _> = env.iter().copied().collect();
    let command = OPTIONS.add_to(clap::Command::new("test"));
    let args = std::iter::once("test").chain(args.iter().copied());
    let flags = OPTIONS.flags(&command.get_matches_from(args));
    let path = PathBuf::from("test.yaml");
    let file = File { path: &path, text: file };
    OPTIONS.resolve(Config::default(), Some(file), |name| env.get(name).map(ToString::to_string), &flags)
}
