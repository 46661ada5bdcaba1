//! `cargo xtask ci`: what continuous integration runs, in the order in which a defect is cheapest to find.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::output;
use crate::{bench, demo, test, workspace};

/// Whose reports others are compared with.
const MAIN: &str = "main";

/// All checks, then the quick bench with its thresholds, then the demos.
pub(crate) fn everything() -> Result<()> {
    test::everything(&test::Options::without_demo())?;
    measure()?;
    demo::show(&demo::Options::usual())?;
    demo::show(&demo::Options::usual().with_viewers())
}

/// Measures, and compares with the last run of `main` if there was one here. A run of `main` becomes the next one's.
fn measure() -> Result<()> {
    let folder = workspace::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let [report, page, of_main] = ["report.json", "report.html", "main.json"].map(|name| folder.join(name));
    bench::measure(&bench::Options::quick_check(
        &report,
        &page,
        of_main.is_file().then_some(of_main.as_path()),
    ))?;
    eprintln!("the report is in {}", page.display());
    if is_main() {
        replace(&report, &of_main)?;
    }
    Ok(())
}

fn is_main() -> bool {
    let mut git = Command::new("git");
    git.current_dir(workspace::root()).args(["rev-parse", "--abbrev-ref", "HEAD"]);
    // Sources without a repository are nobody's.
    output(&mut git).is_some_and(|branch| branch.trim() == MAIN)
}

fn replace(report: &Path, of_main: &Path) -> Result<()> {
    fs::copy(report, of_main).with_context(|| format!("writing {}", of_main.display()))?;
    Ok(())
}
