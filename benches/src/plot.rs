//! The results as a picture: how many times better ours is than each contender, a panel for each row, on a scale of powers.

use std::fmt::Write;

use crate::report::number;
use crate::results::{Results, RowResult, median};
use crate::row::{Against, Better, OURS, PEERS, Row};

const COLUMN: f64 = 580.0;
const LABELS: f64 = 150.0;
const SCALE: f64 = 330.0;
const LINE: f64 = 17.0;
const TITLE: f64 = 34.0;
const HEAD: f64 = 92.0;
/// The scale runs from a tenth to a thousand times.
const DECADES: (f64, f64) = (-1.0, 3.0);

/// One bar of the picture.
struct Line {
    contender: String,
    /// How many times better ours is; below one it is worse.
    advantage: f64,
    /// What was asked for.
    wanted: Option<f64>,
}

/// The picture `results.svg`, readable on light and on dark.
pub(crate) fn svg(rows: &[&Row], results: &Results) -> String {
    let panels: Vec<(String, f64)> = rows
        .iter()
        .filter_map(|row| Some(panel(row, results.rows.get(row.id)?)))
        .collect();
    // The panels stand in two columns of about the same height, in their order.
    let total: f64 = panels.iter().map(|(_, height)| height).sum();
    let (mut body, mut column, mut y, mut height) = (String::new(), 0.0, HEAD, HEAD);
    for (panel, tall) in panels {
        if column == 0.0 && y - HEAD + tall / 2.0 > total / 2.0 {
            (column, y) = (1.0, HEAD);
        }
        let _ = writeln!(
            body,
            "<g transform=\"translate({} {y})\">\n{panel}</g>",
            20.0 + column * COLUMN
        );
        y += tall;
        height = y.max(height);
    }
    let (width, height) = (2.0 * COLUMN + 20.0, height + 10.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" aria-label=\"How many times better ours is than each contender\">\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"head\" x=\"20\" y=\"34\">mesh-runtime beside the raw form and its peers</text>\n\
         <text class=\"note\" x=\"20\" y=\"56\">Bars to the right of 1: ours is so many times better (quicker, smaller, earlier); to the left: worse. \
         Medians of the ratios of interleaved pairs; the scale is logarithmic.</text>\n\
         {}\n{body}</svg>\n",
        legend()
    )
}

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #24292f }\n\
.head { font-size: 20px; font-weight: 600 } .title { font-weight: 600; font-size: 13px } .note { fill: #57606a }\n\
.ground { fill: #ffffff } .grid { stroke: #d0d7de } .one { stroke: #57606a } .wanted { stroke: #cf222e; stroke-width: 2 }\n\
.ours { fill: #8250df } .raw { fill: #57606a } .peer { fill: #0969da } .erlang { fill: #bc4c00 }\n\
@media (prefers-color-scheme: dark) {\n\
text { fill: #e6edf3 } .note { fill: #9198a1 } .ground { fill: #0d1117 } .grid { stroke: #30363d } .one { stroke: #9198a1 }\n\
.wanted { stroke: #ff7b72 } .ours { fill: #a371f7 } .raw { fill: #9198a1 } .peer { fill: #4493f8 } .erlang { fill: #db6d28 }\n\
}\n";

fn legend() -> String {
    let mut text = String::new();
    let entries = [
        ("raw", "raw tokio and its like"),
        ("peer", "other libraries for Rust"),
        ("erlang", "Erlang/OTP"),
        ("ours", "ours in another form"),
    ];
    for (at, (class, words)) in entries.iter().enumerate() {
        let x = 20.0 + 200.0 * at as f64;
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"67\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"77\">{words}</text>",
            x + 18.0
        );
    }
    let _ = write!(
        text,
        "<path class=\"wanted\" d=\"M826 65v16\"/><text x=\"836\" y=\"77\">the bar we set ourselves</text>"
    );
    text
}

/// One row: its title, and a line for each contender that was measured. With it its height.
fn panel(row: &Row, result: &RowResult) -> (String, f64) {
    let figure = row.bars.first().map_or(0, |bar| row.figure(bar.figure));
    let ours = result.entry(OURS).and_then(|entry| entry.median(figure));
    let lines = lines(row, result, figure);
    let bottom = TITLE + LINE * lines.len() as f64;
    let mut text = format!(
        "<text class=\"title\" y=\"14\">{} {}{}: ours {} {}</text>\n",
        row.id,
        row.name,
        if row.figures.len() > 1 {
            format!(", {}", row.figures[figure])
        } else {
            String::new()
        },
        ours.map_or_else(|| "–".to_owned(), number),
        escaped(row.unit)
    );
    for decade in DECADES.0 as i32..=DECADES.1 as i32 {
        let at = x(10_f64.powi(decade));
        let class = if decade == 0 { "one" } else { "grid" };
        let _ = writeln!(
            text,
            "<path class=\"{class}\" d=\"M{at:.1} {}V{bottom}\"/><text class=\"note\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            TITLE - 4.0,
            TITLE - 7.0,
            number_of(decade)
        );
    }
    for (at, line) in lines.iter().enumerate() {
        text.push_str(&drawn(line, TITLE + LINE * at as f64));
    }
    (text, bottom + 16.0)
}

fn number_of(decade: i32) -> String {
    if decade < 0 {
        "0.1 ×".to_owned()
    } else {
        format!("{} ×", 10_i32.pow(decade.unsigned_abs()))
    }
}

fn drawn(line: &Line, y: f64) -> String {
    let (one, end) = (x(1.0), x(line.advantage));
    let (left, right) = (one.min(end), one.max(end));
    let mut text = format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
         <rect class=\"{}\" x=\"{left:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\"/>\n\
         <text x=\"{:.1}\" y=\"{}\">{}</text>\n",
        LABELS - 8.0,
        y + 12.0,
        escaped(&line.contender),
        class(&line.contender),
        y + 2.0,
        (right - left).max(1.0),
        LINE - 4.0,
        right + 6.0,
        y + 12.0,
        number(line.advantage)
    );
    if let Some(wanted) = line.wanted {
        let _ = writeln!(
            text,
            "<path class=\"wanted\" d=\"M{:.1} {}v{LINE}\"/>",
            x(wanted),
            y
        );
    }
    text
}

/// Where a factor stands on the scale; what is beyond it stands at its end.
fn x(factor: f64) -> f64 {
    let (from, to) = DECADES;
    LABELS + SCALE * (factor.log10().clamp(from, to) - from) / (to - from)
}

fn lines(row: &Row, result: &RowResult, figure: usize) -> Vec<Line> {
    let Some(ours) = result.entry(OURS) else {
        return Vec::new();
    };
    let better = |ratio: f64| match row.better {
        Better::Higher => ratio,
        Better::Lower => 1.0 / ratio,
    };
    let best = crate::verdict::best_peer(row, result, figure).map(|entry| entry.contender.as_str());
    let line = |contender: &crate::row::Contender| {
        let theirs = result.entry(contender.name)?;
        let wanted = row.bars.iter().find(|bar| match bar.against {
            Against::Contender(name) => name == contender.name,
            Against::BestPeer => best == Some(contender.name),
            Against::Itself => false,
        });
        Some(Line {
            contender: contender.name.to_owned(),
            advantage: better(median(ours.ratios(theirs, figure))?),
            wanted: wanted.map(|bar| better(bar.factor)),
        })
    };
    let others = row
        .contenders
        .iter()
        .filter(|contender| contender.name != OURS);
    let drawable = |line: &Line| line.advantage.is_finite();
    others.filter_map(line).filter(drawable).collect()
}

fn class(contender: &str) -> &'static str {
    match contender {
        "erlang" => "erlang",
        name if PEERS.contains(&name) => "peer",
        name if name.starts_with(OURS) => "ours",
        _ => "raw",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{LABELS, SCALE, class, svg, x};
    use crate::report::tests::{ROW, sample};
    use crate::results::Results;

    #[test]
    fn a_bar_for_each_contender_measured_and_a_mark_for_each_bar_set() {
        let text = svg(&[&ROW], &sample());
        let count = |part: &str| text.matches(part).count();
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
        // One of each is the legend's.
        assert_eq!(count("<rect class=\"raw\""), 2);
        assert_eq!(count("<rect class=\"peer\""), 2);
        assert_eq!(count("<path class=\"wanted\""), 3);
        assert!(text.contains("1 tell: ours 24.0 M/s"));
        assert!(text.contains("prefers-color-scheme: dark"));
        assert_eq!(count("<g "), count("</g>"));
    }

    #[test]
    fn nothing_measured_is_an_empty_picture() {
        assert!(!svg(&[&ROW], &Results::default()).contains("<g "));
    }

    #[test]
    fn the_scale_is_of_powers_and_has_ends() {
        assert_eq!(x(0.1), LABELS);
        assert_eq!(x(1_000.0), LABELS + SCALE);
        assert_eq!(x(10.0), LABELS + SCALE / 2.0);
        assert_eq!((x(0.001), x(1e9)), (x(0.1), x(1_000.0)));
    }

    #[test]
    fn a_contender_has_the_colour_of_its_kind() {
        let classes = ["erlang", "kameo", "mesh bounded", "tokio", "DelayQueue"].map(class);
        assert_eq!(classes, ["erlang", "peer", "ours", "raw", "raw"]);
    }
}
