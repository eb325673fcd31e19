//! The engine as the edge meets it: modules in text form, one for each question, against a
//! host that remembers what it was asked; and a module that the Rust SDK made.

#[path = "suite/fake.rs"]
mod fake;
#[path = "suite/real.rs"]
mod real;
