//! Decisions, by sentence.
