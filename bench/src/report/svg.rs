//! Charts as SVG, to stand in a page of HTML whose style sheet has the colours.

use std::fmt::Write as _;

use super::chart::{Axis, Bar, Chart, Line, Scale, Whose};
use super::number;

/// Widths and heights in units of the drawing, which the page scales.
const WIDTH: f64 = 860.0;
const LABELS: f64 = 230.0;
const VALUES: f64 = 150.0;
const ROW: f64 = 30.0;
const BAR: f64 = 16.0;
const PLOT: (f64, f64) = (WIDTH - 90.0, 300.0);
const MARGIN: (f64, f64) = (70.0, 12.0);
/// Lines that have a colour of their own.
const COLOURS: usize = 8;

/// A chart, without its title.
pub(super) fn draw(chart: &Chart) -> String {
    match chart {
        Chart::Bars { title, bars, unit } => draw_bars(title, bars, unit),
        Chart::Lines { title, x, y, lines } => draw_lines(title, x, y, lines),
    }
}

/// Text as it may stand in HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn draw_bars(title: &str, bars: &[Bar], unit: &str) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a chart has a few rows")]
    let height = ROW * bars.len() as f64;
    let most = bars.iter().map(|bar| bar.spread.map_or(bar.value, |(_, high)| high.max(bar.value)));
    let most = most.fold(f64::MIN_POSITIVE, f64::max);
    let room = WIDTH - LABELS - VALUES;
    let place = |value: f64| LABELS + room * value.max(0.0) / most;
    let mut svg = open(title, height);
    for (bar, top) in bars.iter().zip((0_u32..).map(|row| ROW * f64::from(row))) {
        let (middle, class) = (top + ROW / 2.0, class_of(bar.whose));
        let end = place(bar.value);
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            r#"<text class="label {class}" x="{:.1}" y="{middle:.1}" text-anchor="end">{}</text><rect class="bar {class}" x="{LABELS}" y="{:.1}" width="{:.1}" height="{BAR}" rx="2"/>"#,
            LABELS - 10.0,
            escape(&bar.label),
            middle - BAR / 2.0,
            (end - LABELS).max(1.0),
        );
        let mut after = end;
        if let Some((low, high)) = bar.spread {
            after = after.max(place(high));
            let (low, high) = (place(low), place(high));
            let _ = write!(
                svg,
                r#"<path class="spread" d="M{low:.1} {0:.1}v8M{high:.1} {0:.1}v8M{low:.1} {middle:.1}H{high:.1}"/>"#,
                middle - 4.0
            );
        }
        let value = format!("{} {unit}", grouped(bar.value));
        let _ = write!(
            svg,
            r#"<text class="value" x="{:.1}" y="{middle:.1}">{}</text>"#,
            after + 8.0,
            escape(&value)
        );
    }
    svg + "</svg>"
}

fn draw_lines(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let (across, up) =
        (Range::of(x.scale, lines, |point| point.0), Range::of(y.scale, lines, |point| point.1));
    let place =
        |(x, y): (f64, f64)| (MARGIN.0 + PLOT.0 * across.share(x), MARGIN.1 + PLOT.1 * (1.0 - up.share(y)));
    let mut svg = open(title, MARGIN.1 + PLOT.1 + 50.0);
    let bottom = MARGIN.1 + PLOT.1;
    for tick in across.ticks() {
        let at = place((tick, up.low)).0;
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{at:.1} {}V{bottom}"/><text class="tick" x="{at:.1}" y="{}" text-anchor="middle">{}</text>"#,
            MARGIN.1,
            bottom + 14.0,
            grouped(tick)
        );
    }
    for tick in up.ticks() {
        let at = place((across.low, tick)).1;
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{} {at:.1}H{}"/><text class="tick" x="{}" y="{at:.1}" text-anchor="end">{}</text>"#,
            MARGIN.0,
            MARGIN.0 + PLOT.0,
            MARGIN.0 - 8.0,
            grouped(tick)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text><text class="axis" transform="translate(14 {}) rotate(-90)" text-anchor="middle">{}</text>"#,
        MARGIN.0 + PLOT.0 / 2.0,
        bottom + 38.0,
        escape(x.title),
        MARGIN.1 + PLOT.1 / 2.0,
        escape(y.title)
    );
    for (number, line) in lines.iter().enumerate() {
        let points = line.points.iter().map(|point| place(*point));
        let points: Vec<_> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(
            svg,
            r#"<polyline class="line {} c{}" points="{}"/>"#,
            class_of(line.whose),
            number % COLOURS,
            points.join(" ")
        );
    }
    svg += "</svg>";
    if lines.len() > 1 {
        svg += r#"<ul class="legend">"#;
        for (number, line) in lines.iter().enumerate() {
            let _ = write!(
                svg,
                r#"<li class="{} c{}">{}</li>"#,
                class_of(line.whose),
                number % COLOURS,
                escape(&line.label)
            );
        }
        svg += "</ul>";
    }
    svg
}

fn open(title: &str, height: f64) -> String {
    let title = escape(title);
    format!(r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{title}">"#)
}

fn class_of(whose: Whose) -> &'static str {
    match whose {
        Whose::Ours => "ours",
        Whose::Theirs => "theirs",
        Whose::Limit => "limit",
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(value: f64) -> String {
    let text = number(value);
    let text = [".000", ".00", ".0"].into_iter().find_map(|end| text.strip_suffix(end)).unwrap_or(&text);
    let (whole, rest) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

/// What an axis spans.
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Range {
    fn of(scale: Scale, lines: &[Line], coordinate: impl Fn(&(f64, f64)) -> f64) -> Self {
        let values = lines.iter().flat_map(|line| &line.points).map(coordinate);
        let values = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match scale {
            _ if !low.is_finite() => Self { scale, low: 1.0, high: 10.0 },
            Scale::Linear => {
                let step = step(high);
                Self { scale, low: 0.0, high: (high / step).ceil() * step }
            }
            Scale::Logarithmic => {
                let (low, high) = (low.log10().floor(), high.log10().ceil());
                Self { scale, low: 10_f64.powf(low), high: 10_f64.powf(high.max(low + 1.0)) }
            }
        }
    }

    /// Where a value is between both ends: 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value / self.low).log10() / (self.high / self.low).log10(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut tick = self.low;
        while tick <= self.high * 1.0001 {
            ticks.push(tick);
            tick = match self.scale {
                Scale::Linear => tick + step(self.high),
                Scale::Logarithmic => tick * 10.0,
            };
        }
        ticks
    }
}

/// A round number that divides what is below this one into about five.
fn step(high: f64) -> f64 {
    let rough = high.max(f64::MIN_POSITIVE) / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|step| step * decade).find(|step| *step >= rough).unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_their_labels_values_and_spread() {
        let bar =
            Bar { label: "a < b".into(), value: 1_234_567.0, spread: Some((1e6, 2e6)), whose: Whose::Ours };
        let svg = draw(&Chart::Bars { title: "speed".into(), unit: "packets/s", bars: vec![bar] });
        for part in ["a &lt; b", "1,234,567 packets/s", r#"class="spread""#, r#"aria-label="speed""#] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
    }

    #[test]
    fn lines_stay_within_the_plot() {
        let line = Line {
            label: "one".into(),
            points: vec![(0.0, 0.0), (10.0, 5.0), (100_000.0, 8.0)],
            whose: Whose::Theirs,
        };
        let axis = |scale| Axis { title: "axis", scale };
        let svg = draw(&Chart::Lines {
            title: "t".into(),
            x: axis(Scale::Logarithmic),
            y: axis(Scale::Linear),
            lines: vec![line],
        });
        assert!(svg.contains(r#"points="70.0,312.0 70.0,"#), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn an_axis_is_divided_into_round_steps() {
        assert_eq!(step(8.0), 2.0);
        assert_eq!(step(1000.0), 200.0);
    }
}
