//! Commands about plugins.

pub mod build;
