//! Benchmarks, one for each question: `load/run` drives whole edges beside their peers, `engine` puts
//! one plugin into the chain in three engines, `modules` loads one, `scaler` decides. Their figures stand in README.md.
