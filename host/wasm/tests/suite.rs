//! The engine as the edge meets it: modules in text form, one for each question, against a
//! host that remembers what it was asked; and modules that the Rust SDK made. A file for each noun, as
//! in `src/api`; what each function answers in each callback stands in `CONTEXTS.md`, a row each.

#[path = "suite/attacks.rs"]
mod attacks;
#[path = "suite/body.rs"]
mod body;
#[path = "suite/callout.rs"]
mod callout;
#[path = "suite/dict.rs"]
mod dict;
#[path = "suite/exchange.rs"]
mod exchange;
#[path = "suite/fake.rs"]
mod fake;
#[path = "suite/foreign.rs"]
mod foreign;
#[path = "suite/fuzz.rs"]
mod fuzz;
#[path = "suite/fuzz_edge.rs"]
mod fuzz_edge;
#[path = "suite/fuzz_guest.rs"]
mod fuzz_guest;
#[path = "suite/fuzz_writer.rs"]
mod fuzz_writer;
#[path = "suite/grpc.rs"]
mod grpc;
#[path = "suite/headers.rs"]
mod headers;
#[path = "suite/host.rs"]
mod host;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/limits.rs"]
mod limits;
#[path = "suite/load.rs"]
mod load;
#[path = "suite/pages.rs"]
mod pages;
#[path = "suite/real.rs"]
mod real;
#[path = "suite/start.rs"]
mod start;
