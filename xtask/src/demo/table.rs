//! A table for people: columns as wide as their widest entry.

use std::fmt::Write as _;

/// The heading and the rows below it, each ended by a new line.
pub(super) fn table<const COLUMNS: usize>(
    heading: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let lines: Vec<_> = std::iter::once(heading.map(str::to_owned)).chain(rows).collect();
    let mut text = String::new();
    for row in &lines {
        let mut line = String::new();
        for (column, entry) in row.iter().enumerate() {
            let entries = lines.iter().filter_map(|row| row.get(column));
            let width = entries.map(String::len).max().unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(line, "{entry:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The value, or a dash in its place.
pub(super) fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["aa".to_owned(), "b".to_owned()]];
        assert_eq!(table(["x", "y"], rows), "x   y\naa  b\n");
    }
}
