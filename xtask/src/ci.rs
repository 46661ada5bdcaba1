//! `cargo xtask ci`: what continuous integration runs, in the order in which a defect is cheapest to find.

use anyhow::Result;

use crate::{bench, test};

/// All checks, then the quick bench with its thresholds.
pub(crate) fn everything() -> Result<()> {
    test::everything(&test::Options::all())?;
    bench::measure(&bench::Options::quick_check())
}
