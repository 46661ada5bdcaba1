//! Whether the documentation explains a figure.

use crate::figure::Figure;

/// Where names are explained, in backquotes; `…` in a name stands for anything.
const DOCUMENTATION: &str = include_str!("../../docs/performance.md");

/// The names that docs/performance.md does not explain.
pub(crate) fn unexplained<'a>(figures: impl IntoIterator<Item = &'a Figure>) -> Vec<&'a str> {
    let names = figures.into_iter().map(|figure| figure.name.as_str());
    names.filter(|name| !is_explained(DOCUMENTATION, name)).collect()
}

fn is_explained(documentation: &str, name: &str) -> bool {
    // What is between an odd backquote and the next one is code.
    documentation.split('`').skip(1).step_by(2).any(|pattern| matches(pattern, name))
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(start).filter(|_| !start.is_empty()) else { return false };
    let mut parts = rest.split('…').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn three_dots_stand_for_anything() {
        assert!(matches("compare_…_pps_…", "compare_native_pps_1200_100"));
        assert!(matches("books_…", "books_refused"));
        assert!(!matches("books_…", "book"));
        assert!(!matches("compare_…_ns_…", "compare_native_pps_1200"));
        assert!(!matches("…", "anything"));
    }

    #[test]
    fn what_is_not_in_the_documentation_is_found() {
        let figures = [Figure::single("over_rtpengine", 1.0, "ratio"), Figure::single("speed", 1.0, "ratio")];
        assert_eq!(unexplained(&figures), ["speed"]);
    }

    /// What sources call figures: a whole name, or the format of one.
    fn names_in_sources(folder: &Path, names: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names_in_sources(&path, names);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            for call in ["Figure::single(", "Figure::median("] {
                let literals = text.split(call).skip(1).filter_map(|rest| {
                    let rest = rest.trim_start();
                    let rest = rest.strip_prefix("format!(").unwrap_or(rest).strip_prefix('"')?;
                    rest.split('"').next()
                });
                names.extend(literals.map(str::to_owned));
            }
        }
    }

    /// Of a format only the start is known here; `--check` looks at whole names.
    #[test]
    fn every_name_in_the_sources_is_explained() {
        let mut names = Vec::new();
        names_in_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
        assert!(names.len() > 40, "{names:?}");
        let words: Vec<_> = DOCUMENTATION.split('`').skip(1).step_by(2).collect();
        let is_missing = |name: &&String| match name.split_once('{') {
            Some((start, _)) => !words.iter().any(|word| word.starts_with(start)),
            None => !is_explained(DOCUMENTATION, name),
        };
        let missing: Vec<_> = names.iter().filter(is_missing).collect();
        assert!(missing.is_empty(), "docs/performance.md does not explain {missing:?}");
    }
}
