//! The result as one page that needs nothing else: what it comes to, where others are ahead, charts, and every figure.

use std::fmt::Write as _;

use super::chart::Chart;
use super::svg::{self, escape};
use super::{OF_RUN, Origin, Report, number};
use crate::figure::Figure;
use crate::measured::Measured;
use crate::thresholds::Thresholds;

/// Figures that stand at the top, what they say, and how they are written.
const HEADLINES: [(&str, &str, &str); 4] = [
    ("over_rtpengine", "×", "the loss-free rate of rtpengine in user space"),
    ("over_nftables", "×", "the loss-free rate of NAT by nftables"),
    ("compare_native_over_bare", "", "of a bare XDP redirect, the physical limit here"),
    ("compare_native_cameras", "", "cameras at 4 Mbit/s on these two processors, without a lost packet"),
];

/// The page.
pub(super) fn page(report: &Report, thresholds: &Thresholds) -> String {
    let mut body = head(&report.origin);
    body += &tiles(report);
    body += &frank(report, thresholds);
    for (part, measured) in &report.parts {
        body += &section(part.title(), measured, thresholds);
    }
    if !report.of_run.is_empty() {
        body += &section(OF_RUN, &Measured::from(report.of_run.clone()), thresholds);
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Culvert: what was measured</title><style>\n{}</style></head>\n<body><main>\n{body}</main></body></html>\n",
        include_str!("page.css")
    )
}

fn head(origin: &Origin) -> String {
    let mut head = format!(
        "<h1>Culvert, measured</h1><p class=\"quiet\">{}<br>commit {}, <code>{}</code></p>\n",
        escape(&origin.machine),
        escape(&origin.commit),
        escape(&origin.command)
    );
    head += "<details><summary>Versions of what it is compared with</summary><dl>";
    for (program, version) in &origin.versions {
        // Writing to a string cannot fail.
        let _ = write!(head, "<dt>{program}</dt><dd>{}</dd>", escape(version));
    }
    head + "</dl></details>\n"
}

fn tiles(report: &Report) -> String {
    let mut tiles = String::new();
    for (name, unit, meaning) in HEADLINES {
        if let Some(figure) = report.figures().find(|figure| figure.name == name) {
            let _ = write!(
                tiles,
                "<div class=\"tile\"><b>{}{unit}</b>{}</div>",
                headline(figure.value),
                escape(meaning)
            );
        }
    }
    if tiles.is_empty() { tiles } else { format!("<div class=\"tiles\">{tiles}</div>\n") }
}

/// Two digits after the point, or none if there are two before it.
fn headline(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.2}") } else { svg::grouped(value.round()) }
}

/// What a reader must not miss: bars that were missed, and where others are ahead.
fn frank(report: &Report, thresholds: &Thresholds) -> String {
    let mut items = thresholds.missed(report.figures());
    items.extend(report.parts.iter().flat_map(|(_, measured)| measured.behind.iter().cloned()));
    if items.is_empty() {
        return String::new();
    }
    format!("<div class=\"frank\"><h3>Where Culvert is not ahead</h3>{}</div>\n", list(&items))
}

fn list(items: &[String]) -> String {
    let items: Vec<_> = items.iter().map(|item| format!("<li>{}</li>", escape(item))).collect();
    format!("<ul>{}</ul>", items.concat())
}

fn section(title: &str, measured: &Measured, thresholds: &Thresholds) -> String {
    let mut section = format!("<section><h2>{}</h2>\n", escape(title));
    for chart in &measured.charts {
        let (Chart::Bars { title, .. } | Chart::Lines { title, .. }) = chart;
        let _ = writeln!(
            section,
            "<figure><h3>{}</h3><div class=\"wide\">{}</div></figure>",
            escape(title),
            svg::draw(chart)
        );
    }
    if !measured.notes.is_empty() {
        section += &list(&measured.notes);
    }
    let open = if measured.charts.is_empty() { " open" } else { "" };
    let _ = writeln!(
        section,
        "<details{open}><summary>{} figures</summary><div class=\"wide\">{}</div></details></section>",
        measured.figures.len(),
        table(&measured.figures, thresholds)
    );
    section
}

fn table(figures: &[Figure], thresholds: &Thresholds) -> String {
    let mut table = "<table><tr><th>name in <code>summary</code></th><th class=\"number\">median</th>\
                     <th>quartiles of the rounds</th><th>unit</th><th>bar</th></tr>"
        .to_owned();
    for figure in figures {
        let spread = figure.quartiles.map(|(low, high)| format!("{} to {}", number(low), number(high)));
        let met = if thresholds.missed([figure]).is_empty() { "met" } else { "missed" };
        let _ = write!(
            table,
            "<tr><td class=\"name\">{}</td><td class=\"number\">{}</td><td>{}</td><td>{}</td><td class=\"{met}\">{}</td></tr>",
            escape(&figure.name),
            number(figure.value),
            spread.unwrap_or_default(),
            figure.unit,
            escape(&thresholds.words(&figure.name))
        );
    }
    table + "</table>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Part;
    use crate::report::tests::origin;

    #[test]
    fn the_page_has_headline_chart_and_what_is_missed() {
        let mut report = Report::new(origin());
        report.add(
            Part::Compare,
            Measured {
                figures: vec![Figure::single("over_rtpengine", 19.0, "ratio")],
                charts: vec![Chart::Bars { title: "rates".into(), unit: "packets/s", bars: Vec::new() }],
                notes: vec!["socat is missing".into()],
                behind: vec!["Ahead of us: them.".into()],
            },
        );
        let bars = Thresholds::parse("[over_rtpengine]\nat_least = 20").unwrap();
        let page = page(&report, &bars);
        for part in ["<b>19×</b>", "<h3>rates</h3>", "socat is missing", "Ahead of us", "must be &gt;= 20"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("http"), "the page must need nothing else");
    }
}
