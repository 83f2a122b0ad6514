//! Records as lines: Istio's field names, as text or JSON.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::logs::Record;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Tab-separated header, then `name=value`.
    #[default]
    Text,
}

/// A field's value.
enum Value<'a> {
    Number(u64),
    Text(&'a dyn fmt::Display),
}

impl crate::config::Value for Format {
    const WANT: &'static str = "text or json";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "plain" | "text" => Some(Self::Text),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Json => "json".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }
}

impl Format {
    /// Appends the record as one line.
    pub(super) fn write(self, record: &Record, line: &mut String) {
        let level = if record.error.is_some() { "error" } else { "info" };
        let time = Rfc3339(record.ended);
        match self {
            Self::Json => {
                let head = format_args!(
                    r#"{{"level":"{level}","time":"{time}","scope":"access","message":"{MESSAGE}""#
                );
                append(line, head);
                fields(record, |name, value| json_field(line, name, &value));
                line.push_str("}\n");
            }
            Self::Text => {
                append(line, format_args!("{time}\t{level}\taccess\t{MESSAGE}\t"));
                fields(record, |name, value| text_field(line, name, &value));
                line.pop();
                line.push('\n');
            }
        }
    }
}

/// Names every field that the record has, in the order of the log.
fn fields(record: &Record, mut field: impl FnMut(&str, Value<'_>)) {
    for (side, party) in [("src", &record.source), ("dst", &record.destination)] {
        let mut named = |name: &str, value: &dyn fmt::Display| {
            field(&format!("{side}.{name}"), Value::Text(value));
        };
        named("addr", &party.addr);
        if side == "dst" {
            optional(record.hbone_addr.as_ref(), |value| named("hbone_addr", value));
            optional(record.service.as_ref(), |value| named("service", value));
            optional(record.hostname.as_ref(), |value| named("hostname", value));
        }
        optional(party.workload.as_ref(), |value| named("workload", value));
        optional(party.namespace.as_ref(), |value| named("namespace", value));
        optional(party.identity.as_ref(), |value| named("identity", value));
        optional(party.class.as_ref(), |value| named("class", value));
        optional(party.cluster.as_ref(), |value| named("cluster", value));
    }
    field("direction", Value::Text(&record.direction.as_str()));
    field("path", Value::Text(&record.path.as_str()));
    optional(record.network.as_ref(), |network| field("network", Value::Text(network)));
    field("bytes_sent", Value::Number(record.bytes_sent));
    field("bytes_recv", Value::Number(record.bytes_received));
    field("duration", Value::Text(&format_args!("{}ms", record.duration.as_millis())));
    optional(record.policy.as_ref(), |policy| field("policy", Value::Text(policy)));
    optional(record.trace, |trace| field("trace_id", Value::Text(&format_args!("{trace:032x}"))));
    optional(record.error.as_ref(), |error| field("error", Value::Text(error)));
}

fn optional<T>(value: Option<T>, then: impl FnOnce(T)) {
    if let Some(value) = value {
        then(value);
    }
}

fn json_field(line: &mut String, name: &str, value: &Value<'_>) {
    match value {
        Value::Number(number) => append(line, format_args!(r#","{name}":{number}"#)),
        Value::Text(text) => {
            let text = text.to_string();
            let quoted = serde_json::to_string(&text).expect("a string is always JSON");
            append(line, format_args!(r#","{name}":{quoted}"#));
        }
    }
}

/// Numbers and addresses as they are, all else in quotes, with everything escaped that could end the line or the
/// quotes: host names may come from a peer.
fn text_field(line: &mut String, name: &str, value: &Value<'_>) {
    match value {
        Value::Number(number) => append(line, format_args!("{name}={number} ")),
        Value::Text(text) if name.ends_with("addr") => append(line, format_args!("{name}={text} ")),
        Value::Text(text) => append(line, format_args!("{name}={:?} ", text.to_string())),
    }
}

fn append(line: &mut String, text: fmt::Arguments<'_>) {
    line.write_fmt(text).expect("writing to a string never fails");
}

/// A time as RFC 3339 with microseconds, in UTC.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let micros = since.subsec_micros();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Year, month and day of a day since 1970-01-01, counting years from March, so that the leap day comes last.
const fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_YEAR_0_TO_1970: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let day = days + DAYS_FROM_YEAR_0_TO_1970;
    let (era, of_era) = (day / DAYS_IN_400_YEARS, day % DAYS_IN_400_YEARS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + (month <= 2) as u64;
    (year, month, of_year - (153 * from_march + 2) / 5 + 1)
}

const MESSAGE: &str = "connection complete";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::logs::{Direction, Party, Path, PolicyRef};

    #[test]
    fn a_record_as_text() {
        let mut line = String::new();
        Format::Text.write(&record(), &mut line);
        assert_eq!(
            line,
            "2026-02-28T23:59:59.000250Z\tinfo\taccess\tconnection complete\t\
             src.addr=10.0.0.1:40000 src.workload=\"cart-1\" src.namespace=\"shop\" \
             src.identity=\"spiffe://cluster.local/ns/shop/sa/cart\" \
             dst.addr=10.0.1.2:8080 dst.hbone_addr=10.0.1.2:15008 dst.service=\"bank.fin.svc.cluster.local\" \
             direction=\"outbound\" path=\"hbone\" bytes_sent=12 bytes_recv=34 duration=\"56ms\" \
             policy=\"fin/allow rule 2\"\n"
        );
    }

    #[test]
    fn a_failed_record_as_json_is_one_line_whatever_the_error_says() {
        let mut line = String::new();
        let failed = Record { error: Some(Box::new("line 1\nline \"2\"")), ..record() };
        Format::Json.write(&failed, &mut line);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["error"], "line 1\nline \"2\"");
        assert_eq!(value["level"], "error");
        assert_eq!(value["bytes_recv"], 34);
        assert_eq!(value["src.addr"], "10.0.0.1:40000");
    }

    #[test]
    fn a_source_without_an_identity_is_what_policies_call_it() {
        let party = Party::unknown("10.0.0.1:40000".parse().unwrap());
        let probe = Record { source: Party { class: Some("ambient.mesh/probe"), ..party }, ..record() };
        let [mut text, mut json] = [String::new(), String::new()];
        Format::Text.write(&probe, &mut text);
        assert!(
            text.contains(r#"src.addr=10.0.0.1:40000 src.class="ambient.mesh/probe" dst.addr="#),
            "{text}"
        );
        Format::Json.write(&probe, &mut json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["src.class"], "ambient.mesh/probe");
    }

    #[test]
    fn a_peer_cannot_forge_a_second_line() {
        let mut line = String::new();
        let forged = Record { hostname: Some("x\"\n2026 fake".into()), ..record() };
        Format::Text.write(&forged, &mut line);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r#"dst.hostname="x\"\n2026 fake""#), "{line}");
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_512), (2026, 2, 28));
        assert_eq!(civil(20_513), (2026, 3, 1));
    }

    fn record() -> Record {
        let source = Party {
            workload: Some("cart-1".into()),
            namespace: Some("shop".into()),
            identity: Some("spiffe://cluster.local/ns/shop/sa/cart".into()),
            ..Party::unknown("10.0.0.1:40000".parse().unwrap())
        };
        Record {
            ended: UNIX_EPOCH + Duration::from_micros(1_772_323_199_000_250),
            duration: Duration::from_millis(56),
            direction: Direction::Outbound,
            path: Path::Hbone,
            source,
            destination: Party::unknown("10.0.1.2:8080".parse().unwrap()),
            hbone_addr: Some("10.0.1.2:15008".parse().unwrap()),
            service: Some("bank.fin.svc.cluster.local".into()),
            hostname: None,
            network: None,
            bytes_sent: 12,
            bytes_received: 34,
            policy: Some(PolicyRef { namespace: "fin".into(), name: "allow".into(), rule: Some(2) }),
            trace: None,
            error: None,
        }
    }
}
