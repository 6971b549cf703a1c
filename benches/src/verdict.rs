//! Whether a bar is met, by the median of the ratios of pairs; under 15 % is a tie.

use std::fmt;

use crate::results::{Entry, RowResult, median};
use crate::row::{Against, Bar, Better, OURS, PEERS, Row};

/// A difference smaller than this share is no difference on a shared machine.
const TIE: f64 = 0.15;

/// What became of a bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Met,
    /// Missed by less than can be told.
    Tie,
    /// Short by this factor.
    Missed(f64),
    NotMeasured,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Met => formatter.write_str("met"),
            Verdict::Tie => formatter.write_str("tie"),
            Verdict::Missed(by) => write!(formatter, "missed by {by:.2} ×"),
            Verdict::NotMeasured => formatter.write_str("not measured"),
        }
    }
}

/// A bar with its outcome.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// The bar in words: `≥ 1.2 × tokio`.
    pub(crate) bar: String,
    /// What was compared with it: the median ratio, or the median figure.
    pub(crate) reached: Option<f64>,
    pub(crate) verdict: Verdict,
}

/// The peer whose median is best.
pub(crate) fn best_peer<'a>(row: &Row, result: &'a RowResult, figure: usize) -> Option<&'a Entry> {
    let peers = result
        .entries
        .iter()
        .filter(|entry| PEERS.contains(&entry.contender.as_str()));
    let measured = peers.filter_map(|entry| Some((entry, entry.median(figure)?)));
    let better = |a: &f64, b: &f64| match row.better {
        Better::Higher => a.total_cmp(b),
        Better::Lower => b.total_cmp(a),
    };
    measured
        .max_by(|(_, a), (_, b)| better(a, b))
        .map(|(entry, _)| entry)
}

/// Judges one bar of a row.
pub(crate) fn judge(row: &Row, result: &RowResult, bar: &Bar) -> Judgement {
    let figure = row.figure(bar.figure);
    let ours = result.entry(OURS);
    let theirs = match bar.against {
        Against::Contender(name) => result.entry(name),
        Against::BestPeer => best_peer(row, result, figure),
        Against::Itself => None,
    };
    let reached = ours.and_then(|ours| match bar.against {
        Against::Itself => ours.median(figure),
        Against::Contender(_) | Against::BestPeer => median(ours.ratios(theirs?, figure)),
    });
    let verdict = reached.map_or(Verdict::NotMeasured, |reached| {
        let short = match row.better {
            Better::Higher => bar.factor / reached,
            Better::Lower => reached / bar.factor,
        };
        let ties = bar.against != Against::Itself;
        if short <= 1.0 {
            Verdict::Met
        } else if ties && short < 1.0 / (1.0 - TIE) {
            Verdict::Tie
        } else {
            Verdict::Missed(short)
        }
    });
    Judgement {
        bar: words(row, bar, theirs.map(|entry| entry.contender.as_str())),
        reached,
        verdict,
    }
}

fn words(row: &Row, bar: &Bar, best: Option<&str>) -> String {
    let sign = match row.better {
        Better::Higher => "≥",
        Better::Lower => "≤",
    };
    let figure = match row.figures.len() {
        1 => String::new(),
        _ => format!("{} ", bar.figure),
    };
    let stretch = if bar.stretch { "stretch: " } else { "" };
    match bar.against {
        Against::Itself => format!("{stretch}{figure}{sign} {} {}", bar.factor, row.unit),
        Against::Contender(name) => format!("{stretch}{figure}{sign} {} × {name}", bar.factor),
        Against::BestPeer => format!(
            "{stretch}{figure}{sign} {} × the best peer ({})",
            bar.factor,
            best.unwrap_or("none")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge};
    use crate::report::tests::{ROW, result};
    use crate::row::{Bar, Better, Row};

    fn verdict(better: Better, ours: f64, bar: Bar) -> Verdict {
        let row = Row { better, ..ROW };
        let result = result(&[
            ("mesh", ours),
            ("tokio", 10.0),
            ("xtra", 4.0),
            ("kameo", 2.0),
        ]);
        judge(&row, &result, &bar).verdict
    }

    #[test]
    fn a_higher_figure_meets_ties_or_misses() {
        let bar = Bar::to("tokio", "messages", 1.2);
        assert_eq!(verdict(Better::Higher, 12.0, bar), Verdict::Met);
        assert_eq!(verdict(Better::Higher, 11.0, bar), Verdict::Tie);
        assert_eq!(verdict(Better::Higher, 6.0, bar), Verdict::Missed(2.0));
    }

    #[test]
    fn a_lower_figure_meets_ties_or_misses() {
        let bar = Bar::to("tokio", "messages", 0.5);
        assert_eq!(verdict(Better::Lower, 5.0, bar), Verdict::Met);
        assert_eq!(verdict(Better::Lower, 5.5, bar), Verdict::Tie);
        assert_eq!(verdict(Better::Lower, 20.0, bar), Verdict::Missed(4.0));
    }

    #[test]
    fn the_best_peer_is_the_one_with_the_best_median() {
        let bar = Bar::to_best_peer("messages", 1.0);
        assert_eq!(verdict(Better::Higher, 4.0, bar), Verdict::Met);
        assert_eq!(verdict(Better::Higher, 2.0, bar), Verdict::Missed(2.0));
        assert_eq!(verdict(Better::Lower, 2.0, bar), Verdict::Met);
        assert_eq!(verdict(Better::Lower, 4.0, bar), Verdict::Missed(2.0));
    }

    #[test]
    fn a_figure_of_its_own_knows_no_tie() {
        let bar = Bar::of_itself("messages", 100.0);
        assert_eq!(verdict(Better::Lower, 100.0, bar), Verdict::Met);
        assert_eq!(verdict(Better::Lower, 110.0, bar), Verdict::Missed(1.1));
    }

    #[test]
    fn whoever_was_not_measured_is_not_judged() {
        let bar = Bar::to("erlang", "messages", 1.0);
        assert_eq!(verdict(Better::Higher, 1.0, bar), Verdict::NotMeasured);
    }

    #[test]
    fn a_bar_is_told_in_words() {
        let result = result(&[("mesh", 1.0), ("xtra", 4.0)]);
        let told = |bar| judge(&ROW, &result, &bar).bar;
        assert_eq!(told(Bar::to("tokio", "messages", 1.2)), "≥ 1.2 × tokio");
        assert_eq!(
            told(Bar::to_best_peer("messages", 4.0)),
            "≥ 4 × the best peer (xtra)"
        );
        assert_eq!(
            told(Bar::of_itself("messages", 8.0).stretch()),
            "stretch: ≥ 8 M/s"
        );
    }
}
