//! Cosines and sines of the angles by which positions turn queries and keys.

use super::config::Rotation;

/// The angles' frequencies, and the turns for the positions of a step.
#[derive(Debug)]
pub struct Turns {
    frequencies: Vec<f32>,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Turns {
    /// `divisors` divide the frequency of each pair.
    #[must_use]
    pub fn new(rotation: Rotation, divisors: Option<&[f32]>) -> Self {
        let pairs = rotation.width / 2;
        let frequency = |pair: usize| {
            #[allow(clippy::cast_precision_loss)] // A head has a few hundred values.
            let exponent = -(pair as f64) / pairs as f64;
            let divisor = divisors.map_or(1.0, |divisors| f64::from(divisors[pair]));
            #[allow(clippy::cast_possible_truncation)]
            let frequency =
                (f64::from(rotation.base).powf(exponent) * f64::from(rotation.scale) / divisor) as f32;
            frequency
        };
        Self { frequencies: (0..pairs).map(frequency).collect(), cosines: Vec::new(), sines: Vec::new() }
    }

    /// Works out the turns for these positions, one for each row of a step.
    #[allow(clippy::cast_precision_loss)] // Positions are below 2^24.
    pub fn prepare(&mut self, positions: &[usize]) {
        self.cosines.clear();
        self.sines.clear();
        for position in positions {
            for frequency in &self.frequencies {
                let (sine, cosine) = (*position as f32 * frequency).sin_cos();
                self.cosines.push(cosine);
                self.sines.push(sine);
            }
        }
    }

    /// Cosines and sines for a row.
    #[must_use]
    pub fn row(&self, row: usize) -> (&[f32], &[f32]) {
        let pairs = self.frequencies.len();
        (&self.cosines[row * pairs..][..pairs], &self.sines[row * pairs..][..pairs])
    }
}
