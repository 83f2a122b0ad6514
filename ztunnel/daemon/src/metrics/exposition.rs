//! Prometheus' text format.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use crate::metrics::connections::{ConnectionTable, Counts, Scraped, Series, Total, Totals};
use crate::metrics::labels::{Reporter, ResponseFlag};
use crate::metrics::process;

/// One of the families that all connections have.
struct Family {
    name: &'static str,
    help: &'static str,
    counter: fn(&Counts) -> &AtomicU64,
}

pub(super) fn render(registered: &[MetricFamily], connections: &ConnectionTable) -> String {
    let Scraped { series, totals } = connections.scrape();
    let mut text = String::with_capacity(size(&series));
    // The encoder refuses families that are malformed; those of the registry are not.
    let _ = TextEncoder::new().encode_utf8(registered, &mut text);
    process::render(&mut text);
    for family in &FAMILIES {
        family.render(&series, &mut text);
    }
    render_failures(&series, &mut text);
    render_totals(&totals, &mut text);
    text
}

impl Family {
    fn render(&self, series: &[Arc<Series>], text: &mut String) {
        head(text, self.name, self.help, "counter");
        for series in series {
            let value = (self.counter)(&series.counts).load(Ordering::Relaxed);
            sample(text, self.name, &series.labels, "-", value);
        }
    }
}

fn render_failures(series: &[Arc<Series>], text: &mut String) {
    head(text, FAILED, "Connections that failed, by reason.", "counter");
    for series in series {
        for (flag, counter) in ResponseFlag::ALL.iter().zip(&series.counts.failed) {
            let value = counter.load(Ordering::Relaxed);
            if value > 0 {
                sample(text, FAILED, &series.labels, flag.as_str(), value);
            }
        }
    }
}

fn render_totals(totals: &Totals, text: &mut String) {
    head(text, SOCKETS, "Connections that are open.", "gauge");
    for (reporter, Total { open, .. }) in Reporter::ALL.iter().zip(&totals.of) {
        line(text, format_args!("{SOCKETS}{{reporter=\"{}\"}} {open}", reporter.as_str()));
    }
    head(text, UNPROTECTED, "Bytes of connections that nothing protected.", "counter");
    for (reporter, total) in Reporter::ALL.iter().zip(&totals.of) {
        let reporter = reporter.as_str();
        for (direction, bytes) in [("sent", total.unprotected_sent), ("received", total.unprotected_received)]
        {
            let labels = format_args!("reporter=\"{reporter}\",direction=\"{direction}\"");
            line(text, format_args!("{UNPROTECTED}{{{labels}}} {bytes}"));
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string never fails");
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
        text.push_str(part);
    }
}

fn sample(text: &mut String, name: &str, labels: &str, flags: &str, value: u64) {
    for part in [name, "{", labels, ",response_flags=\"", flags, "\"} "] {
        text.push_str(part);
    }
    line(text, format_args!("{value}"));
}

fn size(series: &[Arc<Series>]) -> usize {
    let labels: usize = series.iter().map(|series| series.labels.len() + SAMPLE_OVERHEAD).sum();
    labels * FAMILIES.len() + 16 * 1024
}

const FAMILIES: [Family; 4] = [
    Family {
        name: "istio_tcp_connections_opened_total",
        help: "Connections opened.",
        counter: |counts| &counts.opened,
    },
    Family {
        name: "istio_tcp_connections_closed_total",
        help: "Connections closed.",
        counter: |counts| &counts.closed,
    },
    Family {
        name: "istio_tcp_sent_bytes_total",
        help: "Bytes from source to destination.",
        counter: |counts| &counts.sent,
    },
    Family {
        name: "istio_tcp_received_bytes_total",
        help: "Bytes from destination to source.",
        counter: |counts| &counts.received,
    },
];

const FAILED: &str = "istio_tcp_connections_failed_total";
const SOCKETS: &str = "istio_tcp_sockets_open";
const UNPROTECTED: &str = "ambient_unprotected_bytes_total";

/// A sample's name, flags and value.
const SAMPLE_OVERHEAD: usize = 80;
