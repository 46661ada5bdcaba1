//! What a part of the bench yields.

use crate::figure::Figure;
use crate::report::Chart;

/// Figures, and what a reader should see beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) figures: Vec<Figure>,
    pub(crate) charts: Vec<Chart>,
    /// Sentences: how it was measured, what is missing, and what could not be measured.
    pub(crate) notes: Vec<String>,
    /// Sentences: where others are ahead.
    pub(crate) behind: Vec<String>,
}

impl From<Vec<Figure>> for Measured {
    fn from(figures: Vec<Figure>) -> Self {
        Self { figures, ..Self::default() }
    }
}
