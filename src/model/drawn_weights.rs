use std::collections::HashMap;
use std::fmt::Display;

use candle_core::{Device, Tensor};

/// Weights of ±½ by a linear congruential generator: a network for tests, the same at every run.
pub(super) struct DrawnWeights {
    prefix: &'static str,
    state: u32,
    weights: HashMap<String, Tensor>,
}

impl DrawnWeights {
    /// `prefix` stands before every name.
    pub(super) fn new(prefix: &'static str) -> Self {
        Self { prefix, state: 1, weights: HashMap::new() }
    }

    /// The next numbers, as a tensor of this name and shape.
    pub(super) fn add(&mut self, name: impl Display, shape: &[usize]) {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.draw()).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        self.weights.insert(format!("{}{name}", self.prefix), tensor);
    }

    pub(super) fn done(self) -> HashMap<String, Tensor> {
        self.weights
    }

    fn draw(&mut self) -> f32 {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.state >> 8) as f32 / (1 << 24) as f32 - 0.5
    }
}
