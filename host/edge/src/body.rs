//! The bodies that pass through the edge: one enum, so that none is boxed.
