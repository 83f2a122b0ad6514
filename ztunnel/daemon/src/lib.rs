//! What any daemon of ours has: logs, metrics, admin, readiness and drain.
