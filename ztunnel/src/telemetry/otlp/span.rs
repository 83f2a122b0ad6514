//! What a connection is as a span.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemon::logs::{Direction, Record};

use super::wire::{CLIENT, ERROR, KeyValue, SERVER, Span, Status};
use crate::telemetry::Trace;

/// The span of a connection that ended. Attributes are OpenTelemetry's where it has one for it.
pub(in crate::telemetry) fn of(record: &Record, trace: &Trace) -> Span {
    let began = record.ended.checked_sub(record.duration).unwrap_or(record.ended);
    let name = record.service.as_deref().or(record.destination.workload.as_deref());
    let status = record.error.as_ref().map(|error| Status { message: error.to_string(), code: ERROR });
    Span {
        trace_id: trace.own.trace.get().to_be_bytes().to_vec(),
        span_id: trace.own.span.get().to_be_bytes().to_vec(),
        parent_span_id: trace.parent.map_or_else(Vec::new, |parent| parent.get().to_be_bytes().to_vec()),
        name: format!("connect {}", name.unwrap_or("unknown")),
        kind: match record.direction {
            Direction::Inbound => SERVER,
            Direction::Outbound => CLIENT,
        },
        start_time_unix_nano: nanoseconds(began),
        end_time_unix_nano: nanoseconds(record.ended),
        attributes: attributes(record),
        status,
    }
}

fn attributes(record: &Record) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::text("network.transport", "tcp"),
        KeyValue::text("ambient.direction", record.direction.as_str()),
        KeyValue::text("ambient.path", record.path.as_str()),
        KeyValue::number("ambient.bytes_sent", record.bytes_sent),
        KeyValue::number("ambient.bytes_received", record.bytes_received),
    ];
    let mut text =
        |key: &str, value: Option<String>| all.extend(value.map(|value| KeyValue::text(key, value)));
    for (side, party) in [("source", &record.source), ("destination", &record.destination)] {
        text(&format!("{side}.address"), Some(party.addr.ip().to_string()));
        for (name, value) in [
            ("workload", &party.workload),
            ("namespace", &party.namespace),
            ("identity", &party.identity),
            ("cluster", &party.cluster),
        ] {
            text(&format!("ambient.{side}.{name}"), value.as_deref().map(str::to_owned));
        }
        text(&format!("ambient.{side}.class"), party.class.map(str::to_owned));
    }
    text("server.address", record.service.as_deref().or(record.hostname.as_deref()).map(str::to_owned));
    text("ambient.policy", record.policy.as_ref().map(ToString::to_string));
    text("ambient.tunnel", record.hbone_addr.as_ref().map(ToString::to_string));
    all.push(KeyValue::number("destination.port", record.destination.addr.port().into()));
    all
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
