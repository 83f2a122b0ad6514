//! The tables of a run, and of two.

use std::collections::BTreeSet;

use crate::bench::contender::CONGESTION;
use crate::bench::metric::{Metric, Unit};
use crate::bench::results::Results;
use crate::table::{Table, line};

/// A run as Markdown: a table for each group, medians and ratios.
pub(super) fn markdown(results: &Results) -> String {
    let Results { commit, machine, rounds, seconds, contenders, .. } = results;
    let mut text = String::new();
    line(&mut text, format_args!("# Bench of {commit}\n"));
    line(
        &mut text,
        format_args!(
            "{machine}, {CONGESTION}. Medians of {rounds} rounds of {seconds} s in which contenders took turns.\n"
        ),
    );
    let ratios = ratios(contenders);
    for group in groups(results) {
        let ratio = ratios.iter().map(|(one, other)| format!("{one} / {other}"));
        let heading: Vec<_> =
            [group.clone()].into_iter().chain(contenders.iter().cloned()).chain(ratio).collect();
        let mut table = Table::new(&heading.iter().map(String::as_str).collect::<Vec<_>>());
        for metric in results.metrics().filter(|it| it.group == group) {
            let medians: Vec<_> = contenders.iter().map(|it| results.median(metric, it)).collect();
            table.row(row(metric.to_string(), metric, contenders, &medians, &ratios));
            let added = added(&medians);
            if metric.unit == Unit::P50 && added.iter().any(Option::is_some) {
                table.row(row(format!("{metric}, added"), metric, contenders, &added, &ratios));
            }
        }
        line(&mut text, format_args!("{}", table.markdown()));
    }
    text
}

/// Two runs side by side, for all contenders that both have.
pub(super) fn comparison(before: &Results, after: &Results) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("# From {} to {}\n", before.commit, after.commit));
    for contender in before.contenders.iter().filter(|it| after.contenders.contains(it)) {
        let mut table = Table::new(&[contender.as_str(), "before", "after", "after / before"]);
        for metric in before.metrics() {
            let medians = [before, after].map(|results| results.median(metric, contender));
            let [Some(old), Some(new)] = medians else { continue };
            let name = format!("{}: {metric}", metric.group);
            table.row([name, metric.show(old), metric.show(new), format!("{:.2}", new / old)]);
        }
        line(&mut text, format_args!("{}", table.markdown()));
    }
    text
}

fn row(
    name: String,
    metric: &Metric,
    contenders: &[String],
    values: &[Option<f64>],
    ratios: &[(String, String)],
) -> Vec<String> {
    let of = |name: &String| contenders.iter().position(|it| it == name).and_then(|at| values[at]);
    let shown = values.iter().map(|value| value.map_or_else(dash, |it| metric.show(it)));
    let ratios = ratios.iter().map(|(one, other)| match (of(one), of(other)) {
        (Some(one), Some(other)) if other > 0.0 => format!("{:.2}", one / other),
        _ => dash(),
    });
    std::iter::once(name).chain(shown).chain(ratios).collect()
}

/// What each contender takes beyond the first, which is direct.
fn added(medians: &[Option<f64>]) -> Vec<Option<f64>> {
    let direct = medians.first().copied().flatten();
    let beyond = medians.iter().skip(1).map(|it| Some((*it)? - direct?));
    std::iter::once(None).chain(beyond).collect()
}

/// Ours against all others.
fn ratios(contenders: &[String]) -> Vec<(String, String)> {
    let ours = contenders.iter().find(|it| *it == "ours");
    let others = contenders.iter().filter(|it| *it != "ours");
    others.filter_map(|other| Some((ours?.clone(), other.clone()))).collect()
}

fn groups(results: &Results) -> Vec<String> {
    let mut seen = BTreeSet::new();
    results.metrics().map(|it| it.group.clone()).filter(|group| seen.insert(group.clone())).collect()
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_medians_ratios_and_what_is_added() {
        let contenders = ["direct", "ours", "peer"].map(str::to_owned).to_vec();
        let mut results = Results::new(contenders, 1, 1);
        for (contender, value) in [("direct", 80.0), ("ours", 110.0), ("peer", 140.0)] {
            results.add(
                Metric::new("between nodes", "requests, connections: 1", Unit::P50),
                contender,
                value,
            );
        }
        let report = markdown(&results);
        for cells in
            [["p50 us ", "80", "110", "140", "1.38", "0.79"], ["added", "-", "30", "60", "-", "0.50"]]
        {
            let found = report.lines().find(|line| cells.iter().all(|cell| line.contains(cell)));
            assert!(found.is_some(), "{cells:?} in {report}");
        }
    }
    #[test]
    fn a_comparison_shows_of_each_contender_what_both_runs_have() {
        let metric = |unit| Metric::new("between nodes", "requests, connections: 8", unit);
        let of = |commit: &str, contenders: &[&str]| {
            let mut results = Results::new(contenders.iter().map(|&it| it.to_owned()).collect(), 1, 1);
            results.commit = commit.to_owned();
            results
        };
        let (mut before, mut after) = (of("1da960d", &["direct", "ours"]), of("21ed68a", &["ours", "peer"]));
        before.add(metric(Unit::Rate), "direct", 70_000.0);
        before.add(metric(Unit::Rate), "ours", 20_000.0);
        before.add(metric(Unit::P99), "ours", 900.0);
        after.add(metric(Unit::Rate), "ours", 25_000.0);
        after.add(metric(Unit::Rate), "peer", 15_000.0);
        after.add(metric(Unit::P50), "ours", 80.0);
        let wanted = "# From 1da960d to 21ed68a\n\n\
             | ours                                           | before | after | after / before |\n\
             | ---------------------------------------------- | ------ | ----- | -------------- |\n\
             | between nodes: requests, connections: 8, req/s | 20000  | 25000 | 1.25           |\n\n";
        assert_eq!(comparison(&before, &after), wanted);
    }
}
