//! What there is to say of the source of the mesh: what is broken, what is not in force as it is written, what is
//! ignored. Told in the log once, and in status and metrics as long as it is so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster::{Note, ObjectRef, Problem, Remark, Translation};
use daemon::metrics::{Metrics, OVERFLOW, RegisterError};
use serde_json::{Value, json};

/// What there is to say. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    problems: Vec<Problem>,
    /// Sorted.
    notes: Vec<Note>,
    ignored: Vec<ObjectRef>,
}

/// State, kind and reason.
type Labels<'a> = [&'a str; 3];

impl Notes {
    /// What there is to say, as JSON.
    pub(super) fn value(&self) -> Value {
        let said = self.lock();
        json!({
            "problems": said.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "notes": said.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "ignored": said.ignored.iter().map(ignored).collect::<Vec<_>>(),
        })
    }

    /// Says what is to be said of a translation in place of what was said before.
    pub(super) fn replace(&self, translation: &Translation) {
        let Translation { problems, notes, ignored, .. } = translation;
        let mut said = self.lock();
        for problem in problems.iter().filter(|problem| !said.problems.contains(problem)) {
            tracing::warn!(%problem, "manifest is broken, and not in force as it is written");
        }
        for note in notes.iter().filter(|note| said.notes.binary_search(note).is_err()) {
            match note.remark {
                // All of a pod's traffic waits for it.
                Remark::OwnPodUnknown { .. } | Remark::ProxyIdle { .. } => {
                    tracing::warn!(%note, "the pod is not captured");
                }
                _ => tracing::info!(%note, "manifest is not followed to the letter"),
            }
        }
        *said = Said { problems: problems.clone(), notes: notes.clone(), ignored: ignored.clone() };
    }

    /// Registers the metric.
    pub(super) fn register(&self, metrics: &Metrics) -> Result<(), RegisterError> {
        let findings = metrics.gauge_vec(
            FINDINGS,
            "What is broken, not in force as it is written, or ignored of the source of the mesh.",
            &["state", "kind", "reason"],
        )?;
        // Kinds are whatever manifests say.
        let bound = metrics.bound(FINDINGS, MAX_SERIES);
        let notes = self.clone();
        metrics.before_scrape(move || {
            // Scrapes run one after the other, so nobody sees it empty.
            findings.reset();
            for (labels, count) in notes.lock().counts() {
                let labels = if bound.admits(&labels) { labels } else { [labels[0], OVERFLOW, OVERFLOW] };
                findings.with_label_values(&labels).add(count);
            }
        });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn counts(&self) -> BTreeMap<Labels<'_>, i64> {
        let broken = self.problems.iter().map(|it| ["broken", kind(it), "unreadable"]);
        let altered = self.notes.iter().map(|it| ["altered", &*it.object.kind, it.remark.label()]);
        let ignored = self.ignored.iter().map(|it| ["ignored", &*it.kind, "ignored"]);
        let mut counts = BTreeMap::new();
        for labels in broken.chain(altered).chain(ignored) {
            *counts.entry(labels).or_default() += 1;
        }
        counts
    }
}

/// Empty where a document does not say which kind of object it is.
fn kind(problem: &Problem) -> &str {
    problem.object.as_ref().map_or("", |object| &*object.kind)
}

fn ignored(object: &ObjectRef) -> String {
    format!("{object}: {}", cluster::why_ignored(object))
}

const FINDINGS: &str = "ambient_source_findings";

/// Kinds and reasons that there are, several times over.
const MAX_SERIES: usize = 200;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cluster::{Reported, Settings, read, translate};

    use super::*;

    #[test]
    fn findings_are_counted_while_they_are_there() {
        let metrics = Metrics::new("test", "0", 1).unwrap();
        let notes = Notes::default();
        notes.register(&metrics).unwrap();
        let lines = || {
            let text = metrics.render();
            let own = text.lines().filter(|line| line.starts_with(FINDINGS)).map(str::to_owned);
            own.collect::<Vec<_>>()
        };
        assert_eq!(lines(), [""; 0]);
        notes.replace(&translation(
            "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a}, spec: {acton: DENY}}\n\
             ---\n\
             {apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: b}}\n---\n\
             {apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: c}}\n---\n\
             {apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: d}, spec: {action: CUSTOM}}\n",
        ));
        assert_eq!(
            lines(),
            [
                "ambient_source_findings{kind=\"AuthorizationPolicy\",reason=\"action_unsupported\",state=\"altered\"} 1",
                "ambient_source_findings{kind=\"AuthorizationPolicy\",reason=\"unreadable\",state=\"broken\"} 1",
                "ambient_source_findings{kind=\"Sidecar\",reason=\"ignored\",state=\"ignored\"} 2",
            ]
        );
        notes.replace(&translation(""));
        assert_eq!(lines(), [""; 0]);
    }

    #[test]
    fn kinds_that_nobody_has_do_not_make_series_without_end() {
        let metrics = Metrics::new("test", "0", 1).unwrap();
        let notes = Notes::default();
        notes.register(&metrics).unwrap();
        let objects = (0..MAX_SERIES + 5)
            .map(|at| format!("---\n{{apiVersion: a.istio.io/v1, kind: Kind{at}, metadata: {{name: a}}}}\n"));
        notes.replace(&translation(&objects.collect::<String>()));
        let text = metrics.render();
        let rest = "ambient_source_findings{kind=\"overflow\",reason=\"overflow\",state=\"ignored\"} 5";
        assert!(text.contains(rest), "{text}");
        assert_eq!(text.matches("ambient_source_findings{").count(), MAX_SERIES + 1);
    }

    fn translation(manifests: &str) -> Translation {
        let (objects, problems) = read(Path::new("test.yaml"), manifests);
        let translation = translate(&objects, &Reported::default(), &Settings::default());
        Translation { problems, ..translation }
    }
}
