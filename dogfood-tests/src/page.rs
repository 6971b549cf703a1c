//! Reports as one page of HTML that needs nothing else: verdicts, figures and plots.

use std::fmt::Write as _;

use crate::machine;
use crate::plot::Plot;
use crate::report::{Report, shown};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 180.0;
/// Room for the words below and beside a plot.
const MARGIN: f64 = 30.0;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:52em;padding:0 1em;color:#1c2733;background:#fff}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2.2em;border-top:1px solid #d6dde4;padding-top:1em}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25em .8em .25em 0;vertical-align:top;border-bottom:1px solid #e8edf1}
th{font-weight:600}.holds{color:#17693a}.broken{color:#b3261e;font-weight:700}
pre{white-space:pre-wrap;background:#f3f5f7;padding:.8em;overflow-x:auto;font-size:.85em}
figure{margin:1.2em 0}figcaption{color:#52616f}svg{width:100%;height:auto}
@media(prefers-color-scheme:dark){body{background:#14191f;color:#dbe3ea}td,th,h2{border-color:#2c3641}pre{background:#1d242c}
.holds{color:#6fcf97}.broken{color:#ff8a80}figcaption{color:#9fb0bf}}";

/// The page.
#[must_use]
pub fn page(reports: &[Report]) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    let broken = reports.iter().filter(|report| !report.holds()).count();
    let verdict = match broken {
        0 => "every invariant held".to_owned(),
        broken => format!("{broken} of {} suites broke an invariant", reports.len()),
    };
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width\"><title>dogfood-tests: {verdict}</title><style>{STYLE}</style></head><body>\
         <h1>dogfood-tests: {verdict}</h1><p>{} processors, {} MiB of memory free.</p>",
        machine::processors(),
        machine::available_bytes() >> 20
    );
    for report in reports {
        suite(&mut out, report);
    }
    out.push_str("</body></html>\n");
    out
}

fn suite(out: &mut String, report: &Report) {
    let _ = write!(
        out,
        "<h2>{}</h2><p>{}</p><p>Seed {}, count {}, {} threads for processes.</p><table><tr><th></th><th>guarantee</th><th>invariant</th><th>seen</th></tr>",
        escaped(report.suite),
        escaped(report.sentence),
        report.seed,
        report.count,
        report.workers
    );
    for verdict in &report.verdicts {
        let (class, word) = match verdict.holds {
            true => ("holds", "holds"),
            false => ("broken", "BROKEN"),
        };
        let _ = write!(
            out,
            "<tr><td class=\"{class}\">{word}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(verdict.guarantee),
            escaped(verdict.invariant),
            escaped(&verdict.seen)
        );
    }
    out.push_str("</table><table>");
    let usage = report.usage.json();
    let figures = report
        .rows
        .iter()
        .map(|(what, value)| (what.as_str(), value));
    let costs = usage.as_object().into_iter().flatten();
    for (what, value) in figures.chain(costs.map(|(what, value)| (what.as_str(), value))) {
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td></tr>",
            escaped(what),
            escaped(&shown(value))
        );
    }
    out.push_str("</table>");
    for text in &report.failures {
        let _ = write!(out, "<pre>{}</pre>", escaped(text));
    }
    for plot in &report.plots {
        draw(out, plot);
    }
}

fn draw(out: &mut String, plot: &Plot) {
    let (title, note) = match plot {
        Plot::Histogram { title, .. } => (title, ", by upper end; heights are logarithmic"),
        Plot::Curve { title, .. } => (title, ""),
    };
    let _ = write!(
        out,
        "<figure><figcaption>{}{note}</figcaption><svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
        escaped(title),
        WIDTH + 2.0 * MARGIN,
        HEIGHT + 2.0 * MARGIN,
        escaped(title)
    );
    match plot {
        Plot::Histogram { buckets, .. } => histogram(out, buckets),
        Plot::Curve { points, .. } => curve(out, points),
    }
    out.push_str("</svg></figure>");
}

fn label(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = write!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"11\" fill=\"currentColor\">{}</text>",
        escaped(text)
    );
}

fn histogram(out: &mut String, buckets: &[(u64, u64)]) {
    // Empty buckets before the first that is not say nothing.
    let first = buckets
        .iter()
        .position(|(_, count)| *count > 0)
        .unwrap_or(0);
    let buckets = &buckets[first..];
    let most = buckets
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1) as f64;
    let width = WIDTH / buckets.len().max(1) as f64;
    for (place, (below, count)) in buckets.iter().enumerate() {
        let x = MARGIN + width * place as f64;
        // The tail is what matters, and it is thin.
        let height = HEIGHT * ((*count as f64 + 1.0).ln() / (most + 1.0).ln());
        let _ = write!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"#3b7dd8\"><title>below {}: {count}</title></rect>",
            x + 1.0,
            MARGIN + HEIGHT - height,
            (width - 2.0).max(1.0),
            micros(*below)
        );
        label(
            out,
            x + width / 2.0,
            MARGIN + HEIGHT + 14.0,
            "middle",
            &micros(*below),
        );
        if *count > 0 {
            label(
                out,
                x + width / 2.0,
                MARGIN + HEIGHT - height - 4.0,
                "middle",
                &count.to_string(),
            );
        }
    }
}

fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.0} ms", micros as f64 / 1e3),
        _ => format!("{:.0} s", micros as f64 / 1e6),
    }
}

fn curve(out: &mut String, points: &[(f64, f64)]) {
    let end = points.last().map_or(1.0, |(seconds, _)| seconds.max(0.001));
    let highest = points.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let mut line = String::new();
    for (seconds, value) in points {
        let x = MARGIN + WIDTH * seconds / end;
        let y = MARGIN + HEIGHT * (1.0 - value / highest);
        let _ = write!(line, "{x:.1},{y:.1} ");
    }
    let _ = write!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#3b7dd8\" stroke-width=\"1.5\"/><line x1=\"{MARGIN}\" y1=\"{base}\" x2=\"{right}\" y2=\"{base}\" stroke=\"currentColor\" stroke-width=\"0.5\"/>",
        line.trim_end(),
        base = MARGIN + HEIGHT,
        right = MARGIN + WIDTH
    );
    label(out, MARGIN, MARGIN - 8.0, "start", &format!("{highest:.1}"));
    label(out, MARGIN, MARGIN + HEIGHT + 14.0, "start", "0");
    label(
        out,
        MARGIN + WIDTH,
        MARGIN + HEIGHT + 14.0,
        "end",
        &format!("{end:.1} s"),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::plot::{Curve, Plot};
    use crate::report::{Report, Verdict};
    use std::time::Duration;

    #[test]
    fn page_stands_alone_and_escapes_what_it_shows() {
        let mut memory = Curve::default();
        memory.add(0.0, 1.0);
        memory.add(2.0, 3.0);
        let report = Report {
            suite: "timers",
            verdicts: vec![Verdict {
                guarantee: "E1",
                invariant: "none is early",
                holds: false,
                seen: "<lab.1> & others".to_owned(),
            }],
            rows: vec![("lateness".to_owned(), serde_json::json!({"p50_us": 7}))],
            plots: vec![
                Plot::histogram(
                    "lateness",
                    &[Duration::from_micros(3), Duration::from_millis(2)],
                ),
                memory.plot("resident memory in MiB"),
            ],
            failures: vec!["seed 7 failed".to_owned()],
            ..Report::default()
        };
        let page = page(&[report]);
        for needed in [
            "<svg",
            "<polyline",
            "<rect",
            "&lt;lab.1&gt; &amp; others",
            "BROKEN",
            "seed 7 failed",
            "p50_us 7",
        ] {
            assert!(page.contains(needed), "{needed} is missing");
        }
        for foreign in ["http://", "https://", "<script", "<link", "src="] {
            assert!(!page.contains(foreign), "{foreign} is from elsewhere");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }
}
