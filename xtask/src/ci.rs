//! `cargo xtask ci`: what continuous integration runs, in the order in which a defect is cheapest to find.

use anyhow::Result;

use crate::{bench, demo, test};

/// All checks, then the quick bench with its thresholds, then the demos.
pub(crate) fn everything() -> Result<()> {
    test::everything(&test::Options::without_demo())?;
    bench::measure(&bench::Options::quick_check())?;
    demo::show(&demo::Options::usual())?;
    demo::show(&demo::Options::usual().with_viewers())
}
