use std::sync::Arc;

use super::*;

#[test]
fn counts_show_after_a_flush_under_istios_names() {
    let metrics = Metrics::new("ztunnel", "1.2.3", 10).unwrap();
    let worker = metrics.worker();
    let connection = worker.open(&labels("cart"));
    connection.sent(10);
    connection.sent(5);
    connection.received(7);
    assert_eq!(connection.bytes(), (15, 7));
    assert_eq!(value(&metrics.render(), "istio_tcp_sent_bytes_total"), 0);
    worker.flush();

    let text = metrics.render();
    assert_eq!(value(&text, "istio_tcp_sent_bytes_total"), 15);
    assert_eq!(value(&text, "istio_tcp_received_bytes_total"), 7);
    assert_eq!(value(&text, "istio_tcp_connections_opened_total"), 1);
    assert_eq!(value(&text, "istio_tcp_connections_closed_total"), 0);
    assert!(text.contains("istio_build{component=\"ztunnel\",tag=\"1.2.3\"} 1"), "{text}");
    drop(connection);
    worker.flush();
    assert_eq!(value(&metrics.render(), "istio_tcp_connections_closed_total"), 1);
}

#[test]
fn a_sample_has_all_of_istios_labels() {
    let metrics = Metrics::new("ztunnel", "1", 10).unwrap();
    drop(metrics.worker().open(&labels("ca\"rt")));
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with("istio_tcp_connections_opened_total{")).unwrap();
    assert_eq!(
        line,
        "istio_tcp_connections_opened_total{reporter=\"source\",\
         source_workload=\"ca\\\"rt\",source_workload_namespace=\"shop\",source_principal=\"unknown\",\
         source_app=\"unknown\",source_version=\"unknown\",source_cluster=\"unknown\",source_region=\"unknown\",\
         source_zone=\"unknown\",source_canonical_service=\"unknown\",source_canonical_revision=\"unknown\",\
         destination_workload=\"unknown\",destination_workload_namespace=\"unknown\",\
         destination_principal=\"unknown\",destination_app=\"unknown\",destination_version=\"unknown\",\
         destination_cluster=\"unknown\",destination_region=\"unknown\",destination_zone=\"unknown\",\
         destination_canonical_service=\"unknown\",destination_canonical_revision=\"unknown\",\
         destination_service=\"unknown\",destination_service_namespace=\"unknown\",\
         destination_service_name=\"unknown\",request_protocol=\"tcp\",\
         connection_security_policy=\"mutual_tls\",response_flags=\"-\"} 1"
    );
}

#[test]
fn a_failure_is_counted_once_under_its_flag_and_closes_the_connection() {
    let metrics = Metrics::new("ztunnel", "1", 10).unwrap();
    let worker = metrics.worker();
    worker.open(&labels("cart")).failed(ResponseFlag::Deny);
    worker.flush();
    let text = metrics.render();
    assert_eq!(value(&text, "istio_tcp_connections_failed_total"), 1);
    assert_eq!(value(&text, "istio_tcp_connections_closed_total"), 1);
    assert!(text.contains("response_flags=\"DENY\"} 1"));
}

#[test]
fn what_a_worker_counted_is_not_lost_when_it_ends() {
    let metrics = Metrics::new("ztunnel", "1", 10).unwrap();
    let worker = metrics.worker();
    let connection = worker.open(&labels("cart"));
    drop(worker);
    connection.sent(3);
    drop(connection);
    assert_eq!(value(&metrics.render(), "istio_tcp_sent_bytes_total"), 3);
}

#[test]
fn label_sets_beyond_the_limit_share_one_and_are_counted() {
    let metrics = Metrics::new("ztunnel", "1", 2).unwrap();
    let worker = metrics.worker();
    let open: Vec<_> = (0..5).map(|n| worker.open(&labels(&format!("w{n}")))).collect();
    worker.flush();
    let text = metrics.render();
    let of_opened = |line: &&str| line.starts_with("istio_tcp_connections_opened_total{");
    assert_eq!(text.lines().filter(of_opened).count(), 3);
    let overflow = text.lines().filter(of_opened).find(|line| line.contains("source_workload=\"overflow\""));
    assert!(overflow.unwrap().ends_with("} 3"), "{overflow:?}");
    assert!(text.contains("\nambient_metric_overflow_total{family=\"istio_tcp\"} 3\n"), "{text}");
    drop(open);
}

#[test]
fn a_label_set_that_nobody_uses_makes_room_once_it_was_scraped() {
    let metrics = Metrics::new("ztunnel", "1", 1).unwrap();
    drop(metrics.worker().open(&labels("old")));
    drop(metrics.worker().open(&labels("early")));
    assert!(metrics.render().contains("source_workload=\"old\""), "not dropped before it was seen");
    drop(metrics.worker().open(&labels("new")));
    let text = metrics.render();
    assert!(text.contains("source_workload=\"new\"") && !text.contains("source_workload=\"old\""), "{text}");
}

#[test]
fn open_connections_and_unprotected_bytes_are_told_beyond_label_sets_that_went() {
    let metrics = Metrics::new("ztunnel", "1", 1).unwrap();
    let plain = |workload| ConnectionLabels { security: Security::Unknown, ..labels(workload) };
    let worker = metrics.worker();
    worker.open(&plain("old")).sent(7);
    drop(worker);
    assert!(
        metrics
            .render()
            .contains("ambient_unprotected_bytes_total{reporter=\"source\",direction=\"sent\"} 7\n")
    );
    let worker = metrics.worker();
    let open = worker.open(&plain("new"));
    open.sent(5);
    worker.flush();
    let text = metrics.render();
    assert!(!text.contains("source_workload=\"old\""), "{text}");
    assert!(
        text.contains("ambient_unprotected_bytes_total{reporter=\"source\",direction=\"sent\"} 12\n"),
        "{text}"
    );
    assert!(text.contains("istio_tcp_sockets_open{reporter=\"source\"} 1\n"), "{text}");
    assert!(text.contains("istio_tcp_sockets_open{reporter=\"destination\"} 0\n"), "{text}");
}

#[test]
fn labels_that_others_choose_find_so_much_room_and_no_more() {
    let metrics = Metrics::new("ztunnel", "1", 1).unwrap();
    let counters = metrics.bounded_counters("decisions_total", "By policy.", &["policy", "kind"], 2).unwrap();
    for policy in ["a", "b", "c", "d", "a"] {
        counters.inc(&[policy, "deny"]);
    }
    let text = metrics.render();
    assert!(text.contains("decisions_total{kind=\"deny\",policy=\"a\"} 2\n"), "{text}");
    assert!(text.contains("decisions_total{kind=\"overflow\",policy=\"overflow\"} 2\n"), "{text}");
    assert!(text.contains("ambient_metric_overflow_total{family=\"decisions_total\"} 2\n"), "{text}");
}

#[test]
fn a_look_is_taken_before_each_scrape() {
    let metrics = Metrics::new("ztunnel", "1", 1).unwrap();
    let gauge = metrics.gauge("looked", "At.").unwrap();
    metrics.before_scrape(move || gauge.inc());
    assert!(metrics.render().contains("\nlooked 1\n"));
    assert!(metrics.render().contains("\nlooked 2\n"));
}

#[test]
fn two_metrics_of_one_name_are_refused() {
    let metrics = Metrics::new("ztunnel", "1", 1).unwrap();
    let error = metrics.counter("istio_build", "Again.").unwrap_err();
    assert_eq!(error.to_string(), "metric istio_build cannot be registered");
}

fn labels(workload: &str) -> ConnectionLabels {
    ConnectionLabels {
        reporter: Reporter::Source,
        source: Arc::new(Peer { workload: workload.into(), namespace: "shop".into(), ..Peer::default() }),
        destination: Arc::default(),
        service: ServiceLabels::default(),
        security: Security::MutualTls,
    }
}

/// The value of the only sample of that family.
fn value(text: &str, family: &str) -> u64 {
    let mut samples = text.lines().filter(|line| line.starts_with(&format!("{family}{{")));
    let sample = samples.next().unwrap();
    assert_eq!(samples.next(), None);
    sample.rsplit(' ').next().unwrap().parse().unwrap()
}
