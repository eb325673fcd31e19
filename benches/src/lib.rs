//! Benchmarks, one for each question. `load/run` drives whole edges beside their peers; its
//! figures stand in README.md.
