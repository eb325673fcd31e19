//! What may be chosen.

use serde::{Deserialize, Serialize};

/// One way to make a count of the forecast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which bound it takes; `None`: the present level, no forecast.
    pub quantile: Option<usize>,
    pub headroom: f64,
    /// Steps for which a count is kept after it was wanted.
    pub hold: usize,
    /// A count stays while it is at most this part over what is wanted.
    pub band: f64,
}

/// Every combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    pub quantiles: usize,
    pub headrooms: Vec<f64>,
    /// In steps.
    pub holds: Vec<usize>,
    pub bands: Vec<f64>,
}

impl Grid {
    /// Candidates of one row differ in hold and band alone.
    pub fn rows(&self) -> Vec<(Option<usize>, f64)> {
        let bases = std::iter::once(None).chain((0..self.quantiles).map(Some));
        bases.flat_map(|base| self.headrooms.iter().map(move |headroom| (base, *headroom))).collect()
    }

    /// Of each row, in the order of a row's candidates.
    pub fn columns(&self) -> Vec<(usize, f64)> {
        self.holds.iter().flat_map(|hold| self.bands.iter().map(move |band| (*hold, *band))).collect()
    }

    pub fn candidates(&self) -> Vec<Candidate> {
        let columns = self.columns();
        let row = |(quantile, headroom): (Option<usize>, f64)| {
            let candidate =
                move |(hold, band): &(usize, f64)| Candidate { quantile, headroom, hold: *hold, band: *band };
            columns.iter().map(candidate).collect::<Vec<_>>()
        };
        self.rows().into_iter().flat_map(row).collect()
    }
}
