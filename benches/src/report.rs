//! The results as text: a table for each row, and the document they end in.

use std::fmt::Write;

use crate::results::{Results, RowResult, median};
use crate::row::{OURS, Row, Way};
use crate::verdict::judge;

/// The document `RESULTS.md`.
pub(crate) fn document(rows: &[&Row], results: &Results) -> String {
    let mut text = "# Results of the benches\n\n\
        Written by `cargo run -p benches --release`; how to read and repeat it is told in the [README](README.md).\n\n\
        ![How many times better ours is than each contender, row by row](results.svg)\n\n\
        ## Measured on\n\n"
        .to_owned();
    let measured = || {
        rows.iter()
            .filter_map(|row| Some((*row, results.rows.get(row.id)?)))
    };
    let mut machines: Vec<String> = measured()
        .map(|(_, result)| result.machine.to_string())
        .collect();
    machines.dedup();
    for machine in machines {
        let _ = writeln!(text, "- {machine}");
    }
    text.push_str("\n## Bars\n\n");
    text.push_str(&table(
        &["row", "bar", "reached", "verdict"],
        &bars(rows, results),
    ));
    for (row, result) in measured() {
        let _ = write!(
            text,
            "\n## {} {}\n\nIn {}, {} is better. {} pairs, {}, `{}`.\n\n{}",
            row.id,
            row.name,
            row.unit,
            match row.better {
                crate::row::Better::Higher => "more",
                crate::row::Better::Lower => "less",
            },
            result.pairs,
            result.at,
            result.command,
            section(row, result)
        );
    }
    text
}

/// Every bar of every row with its verdict.
pub(crate) fn bars(rows: &[&Row], results: &Results) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for row in rows {
        for bar in row.bars {
            let Some(result) = results.rows.get(row.id) else {
                continue;
            };
            let judgement = judge(row, result, bar);
            lines.push(vec![
                format!("{} {}", row.id, row.name),
                judgement.bar,
                judgement.reached.map_or_else(|| "–".to_owned(), number),
                judgement.verdict.to_string(),
            ]);
        }
    }
    lines
}

/// What one row measured: the question, and a line for each contender.
pub(crate) fn section(row: &Row, result: &RowResult) -> String {
    let mut header = vec!["contender".to_owned()];
    for figure in row.figures {
        header.push(format!("{figure}, {}", row.unit));
        header.push("ours ÷ theirs".to_owned());
    }
    header.push("note".to_owned());
    let ours = result.entry(OURS);
    let mut lines = Vec::new();
    for contender in row.contenders {
        let entry = result.entry(contender.name);
        let mut line = vec![contender.name.to_owned()];
        for figure in 0..row.figures.len() {
            let value = entry.and_then(|entry| entry.median(figure));
            line.push(value.map_or_else(|| "–".to_owned(), number));
            let ratios = match (ours, entry) {
                (Some(ours), Some(entry)) if contender.name != OURS => ours.ratios(entry, figure),
                _ => Vec::new(),
            };
            line.push(spread(&ratios));
        }
        let lacks = match contender.way {
            Way::Lacks(reason) => Some(reason),
            Way::Run(_) | Way::Erlang(..) => None,
        };
        let note = entry.and_then(|entry| entry.note.as_deref());
        line.push(note.or(lacks).unwrap_or_default().to_owned());
        lines.push(line);
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    format!("{}.\n\n{}", row.question, table(&header, &lines))
}

/// The median and, in brackets, the least and the greatest.
fn spread(ratios: &[f64]) -> String {
    let Some(middle) = median(ratios.iter().copied()) else {
        return String::new();
    };
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{} ({}–{})", number(middle), number(least), number(most))
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match value.abs() {
        size if size >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A Markdown table whose columns also line up on a terminal.
pub(crate) fn table(header: &[&str], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(header[column].chars().count())
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    let mut put = |cells: &[String]| {
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
    };
    put(&header
        .iter()
        .map(|cell| (*cell).to_owned())
        .collect::<Vec<_>>());
    put(&widths
        .iter()
        .map(|width| "-".repeat(*width))
        .collect::<Vec<_>>());
    for line in lines {
        put(line);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{document, number, section, table};
    use crate::machine::Machine;
    use crate::results::{Entry, Results, RowResult};
    use crate::row::{Bar, Better, Contender, Row};

    pub(crate) const ROW: Row = Row {
        id: "1",
        name: "tell",
        question: "tell: who is quicker",
        figures: &["messages"],
        unit: "M/s",
        better: Better::Higher,
        bars: &[
            Bar::to("tokio", "messages", 1.0),
            Bar::to_best_peer("messages", 4.0),
        ],
        seconds: 1.0,
        contenders: &[
            Contender::run("mesh", |_| vec![1.0]),
            Contender::run("tokio", |_| vec![1.0]),
            Contender::run("kameo", |_| vec![1.0]),
            Contender::lacks("xtra", "no such thing"),
        ],
    };

    pub(crate) fn result(figures: &[(&str, f64)]) -> RowResult {
        let entry = |(contender, figure): &(&str, f64)| Entry {
            contender: (*contender).to_owned(),
            runs: vec![Some(vec![*figure]), None, Some(vec![*figure])],
            note: None,
        };
        RowResult {
            at: "2026-01-02 03:04Z".to_owned(),
            machine: Machine {
                processor: "A processor".to_owned(),
                cores: 2,
                memory_gib: 24,
                kernel: "6.1".to_owned(),
                rustc: "rustc 1.95.0".to_owned(),
            },
            command: "cargo run -p benches --release".to_owned(),
            pairs: 3,
            entries: figures.iter().map(entry).collect(),
        }
    }

    pub(crate) fn sample() -> Results {
        let mut results = Results::default();
        let tell = result(&[("mesh", 24.0), ("tokio", 12.0), ("kameo", 8.0)]);
        results.rows.insert("1".to_owned(), tell);
        results
    }

    #[test]
    fn the_document_holds_machine_bars_verdicts_figures_and_what_lacks() {
        let text = document(&[&ROW], &sample());
        for part in [
            "A processor, 2 cores, 24 GiB, Linux 6.1, rustc 1.95.0",
            "| 1 tell | ≥ 1 × tokio                | 2.00    | met             |",
            "| 1 tell | ≥ 4 × the best peer (kameo) | 3.00    | missed by 1.33 × |",
            "3 pairs, 2026-01-02 03:04Z, `cargo run -p benches --release`",
            "| kameo     | 8.00          | 3.00 (3.00–3.00) |",
            "no such thing",
        ] {
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                squeezed(&text).contains(&squeezed(part)),
                "{part} in\n{text}"
            );
        }
        assert_eq!(
            text.lines().filter(|line| line.starts_with("# ")).count(),
            1
        );
    }

    #[test]
    fn a_row_that_was_never_run_is_left_out() {
        assert!(!document(&[&ROW], &Results::default()).contains("tell"));
        assert!(section(&ROW, &result(&[])).contains("| mesh"));
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let told = [0.012, 0.123, 1.234, 12.34, 123.4, 1234.0, 1_234_567.0].map(number);
        assert_eq!(
            told,
            ["0.012", "0.12", "1.23", "12.3", "123", "1,234", "1,234,567"]
        );
        assert_eq!(number(f64::NAN), "–");
    }

    #[test]
    fn columns_line_up() {
        let text = table(&["a", "bb"], &[vec!["ccc".to_owned(), "µ".to_owned()]]);
        assert_eq!(text, "| a   | bb |\n| --- | -- |\n| ccc | µ  |\n");
    }
}
