//! Samples of one figure: the median is reported, the quartiles say how far it can be trusted.

/// Values of one figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// One more value.
    pub(crate) fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|other| *other < value);
        self.0.insert(at, value);
    }

    /// Half of the values are below.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// A quarter of the values is below the first, a quarter above the second.
    pub(crate) fn quartiles(&self) -> (f64, f64) {
        (self.quantile(0.25), self.quantile(0.75))
    }

    /// The value below which this share (0 to 1) of the values is, interpolated between neighbours; NaN if there is
    /// none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a sample has a few hundred values")]
        let position = share * self.0.len().saturating_sub(1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the number of values"
        )]
        let (below, above) = (position.floor() as usize, position.ceil() as usize);
        match (self.0.get(below), self.0.get(above)) {
            (Some(low), Some(high)) => low + (high - low) * position.fract(),
            _ => f64::NAN,
        }
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sample = Self::default();
        for value in values {
            sample.push(value);
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_outliers() {
        let sample: Sample = [3.0, 1000.0, 1.0, 2.0, 4.0].into_iter().collect();
        assert_eq!(sample.median(), 3.0);
        assert_eq!(sample.quartiles(), (2.0, 4.0));
    }

    #[test]
    fn an_even_number_of_values_has_its_median_between_two() {
        let sample: Sample = [1.0, 2.0, 4.0, 9.0].into_iter().collect();
        assert_eq!(sample.median(), 3.0);
    }

    #[test]
    fn no_value_has_no_median() {
        assert!(Sample::default().median().is_nan());
    }
}
