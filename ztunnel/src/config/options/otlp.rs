//! Where spans of connections go.

use daemon::config::{Opt, Value, ValueError, set};

use crate::config::Config;
use crate::telemetry::otlp::CollectorAddress;

pub(super) const OTLP: &[Opt<Config>] = &[
    Opt {
        key: "otlp.endpoint",
        env: "OTEL_EXPORTER_OTLP_ENDPOINT",
        value: "URL",
        help: "The OpenTelemetry collector that spans of connections are sent to by gRPC: \
               http://host:4317, or https://host:4317. Or off.",
        set: |config, text| {
            config.otlp.endpoint = None;
            if text.is_empty() || text == "off" {
                return Ok(());
            }
            let address = text.parse::<CollectorAddress>().map_err(|error| wanted(&error))?;
            config.otlp.endpoint = Some(address);
            Ok(())
        },
        show: |config| config.otlp.endpoint.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string),
    },
    Opt {
        key: "otlp.roots",
        env: "OTEL_EXPORTER_OTLP_CERTIFICATE",
        value: "PATH",
        help: "PEM file of the roots that the collector's certificate must come from, where it is asked by https.",
        set: |config, text| set(&mut config.otlp.roots, text),
        show: |config| config.otlp.roots.show(),
    },
    Opt {
        key: "otlp.sampled",
        env: "ZTUNNEL_TRACE_SAMPLED",
        value: "COUNT",
        help: "How many of 10,000 connections that begin on this node are traced. A connection that comes in a \
               tunnel is traced if the node that it comes from says so.",
        set: |config, text| {
            let count = text.parse().ok().filter(|count| *count <= 10_000);
            config.otlp.sampled = count.ok_or_else(|| wanted(&"a number from 0 to 10000"))?;
            Ok(())
        },
        show: |config| config.otlp.sampled.to_string(),
    },
];

fn wanted(want: &dyn std::fmt::Display) -> ValueError {
    ValueError { want: want.to_string() }
}
