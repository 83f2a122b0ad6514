//! What policies decide: tables of single cases, and a comparison with an evaluator too simple to be wrong.

mod differential;
mod fields;
mod order;
mod random;
mod reference;
mod tables;
