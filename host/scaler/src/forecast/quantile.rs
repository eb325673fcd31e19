//! Linear quantile regression, online: AdaGrad on the pinball loss, then an offset that moves
//! until so many outcomes are under the bound as should be (adaptive conformal).

use serde::{Deserialize, Serialize};

use super::features::{COUNT, Row};

const RATE: f64 = 0.05;
const OFFSET_RATE: f64 = 0.002;
/// Of the past gradients at the start: bounds the first steps.
const FIRST: f64 = 1e-2;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    quantile: f64,
    weights: [f64; COUNT],
    gradients: [f64; COUNT],
    offset: f64,
}

impl Quantile {
    pub fn new(quantile: f64) -> Quantile {
        let mut weights = [0.0; COUNT];
        weights[super::features::CONSTANT] = 0.05;
        weights[super::features::PROFILE_GROWTH] = 0.5;
        Quantile { quantile, weights, gradients: [FIRST; COUNT], offset: 0.0 }
    }

    pub fn predict(&self, row: &Row) -> f64 {
        self.weights.iter().zip(row).map(|(weight, value)| weight * value).sum::<f64>() + self.offset
    }

    /// `error`: outcome less what was predicted from `row` then.
    pub fn learn(&mut self, row: &Row, error: f64) {
        let over = error > 0.0;
        let slope = if over { self.quantile } else { self.quantile - 1.0 };
        for ((weight, sum), value) in self.weights.iter_mut().zip(&mut self.gradients).zip(row) {
            let gradient = slope * value;
            *sum += gradient * gradient;
            *weight += RATE * gradient / sum.sqrt();
        }
        self.offset += OFFSET_RATE * (f64::from(u8::from(over)) - (1.0 - self.quantile));
    }
}
