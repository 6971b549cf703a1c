//! From samples of a project's events to a dictionary, if one is worth having: pure.

use jiff::Timestamp;

use super::waste;
use crate::domain::payload::{self, Dictionary};

/// Events of one round of learning: every other one is learned from, the others try what was learned.
pub(super) const SAMPLES: usize = 32;

/// Fewer events are no trial.
pub(super) const SAMPLES_MIN: usize = SAMPLES / 4;

/// The most of one event that a dictionary takes in.
pub(super) const SAMPLE_BYTES_MAX: usize = 32 * 1024;

/// A dictionary is worth having if the trial's payloads take no more than so many quarters of what they take now.
const QUARTERS: usize = 3;

/// Makes the text of a dictionary of `samples`, each the JSON of an event, normalised and scrubbed. `None` if that packs no better than
/// the `present` one, if any, or none.
///
/// Only what is new is taken in: a sample that packs badly with what is there so far. The first sample comes last, for what is near takes
/// shorter offsets, and the first is likely to be of the most frequent kind. Of the present dictionary, which packs well what is no
/// sample for that reason, the nearer half at least stays, in front.
pub(super) fn learn(samples: &[Vec<u8>], present: Option<&Dictionary>) -> Option<Vec<u8>> {
    let (learned_from, trial): (Vec<_>, Vec<_>) = samples
        .iter()
        .enumerate()
        .partition(|(nth, _)| nth % 2 == 0);
    let present_text = present.map_or(&[][..], Dictionary::text);
    let mut room = match present {
        Some(_) => Dictionary::TEXT_BYTES_MAX / 2,
        None => Dictionary::TEXT_BYTES_MAX,
    };
    let mut novel: Vec<&[u8]> = Vec::new();
    let mut candidate = dictionary(&text(present_text, &novel));
    for (_, sample) in learned_from {
        if room == 0 {
            break;
        }
        let taken = &sample[..sample.len().min(SAMPLE_BYTES_MAX).min(room)];
        if waste::is_bad(packed_len(taken, candidate.as_ref())?, taken.len()) {
            room -= taken.len();
            novel.push(taken);
            candidate = dictionary(&text(present_text, &novel));
        }
    }
    let total = |dictionary: Option<&Dictionary>| -> Option<usize> {
        let lens = trial.iter().map(|(_, json)| packed_len(json, dictionary));
        lens.sum()
    };
    let is_worth = total(candidate.as_ref())? * 4 <= total(present)? * QUARTERS;
    (is_worth && !novel.is_empty()).then(|| text(present_text, &novel))
}

/// What is left of the present text, and the samples, first one last.
fn text(present: &[u8], novel: &[&[u8]]) -> Vec<u8> {
    let len: usize = novel.iter().map(|sample| sample.len()).sum();
    let left = Dictionary::TEXT_BYTES_MAX - len;
    let mut text = present[present.len().saturating_sub(left)..].to_vec();
    for sample in novel.iter().rev() {
        text.extend_from_slice(sample);
    }
    text
}

/// For trial only.
fn dictionary(text: &[u8]) -> Option<Dictionary> {
    (!text.is_empty()).then(|| Dictionary::of_text(text, Timestamp::UNIX_EPOCH))
}

fn packed_len(json: &[u8], dictionary: Option<&Dictionary>) -> Option<usize> {
    let mut packed = Vec::new();
    payload::pack(json, dictionary, &mut packed).ok()?;
    Some(packed.len())
}

#[cfg(test)]
pub(super) mod tests {
    use super::{SAMPLES, learn, packed_len};
    use crate::domain::payload::Dictionary;
    use jiff::Timestamp;
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    /// An event of a kind: what events of a kind have in common does not repeat itself, and each has something of its own.
    pub(in crate::ingestion::dictionaries) fn event(kind: u64, nth: u64, len: usize) -> Vec<u8> {
        let mix = |n: u64| (n ^ (n >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words = (0_u64..).map(|at| format!("\"{:x}\":", mix(mix(kind + 1) + at)));
        let mut json = format!("{{\"id\":\"{:016x}\",", mix(mix(nth) + 7));
        for word in words {
            if json.len() >= len {
                return json.into_bytes();
            }
            json.push_str(&word);
        }
        json.into_bytes()
    }

    fn of_kinds(kinds: u64, len: usize) -> Vec<Vec<u8>> {
        // Both of a pair are of the same kind: one to learn from, one for the trial.
        let kind = |nth: u64| nth / 2 % kinds;
        (0..SAMPLES as u64)
            .map(|nth| event(kind(nth), nth, len))
            .collect()
    }

    fn dictionary(text: Vec<u8>) -> Dictionary {
        Dictionary::of_text(&text, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn one_kind_is_learned_from_one_event() {
        let learned = learn(&of_kinds(1, 9_000), None).unwrap();
        assert!((9_000..9_100).contains(&learned.len()), "{}", learned.len());
        let with = dictionary(learned);
        assert!(packed_len(&event(0, 99, 9_000), Some(&with)).unwrap() < 150);
        assert_eq!(learn(&of_kinds(1, 9_000), Some(&with)), None, "it is known");
    }

    #[test]
    fn every_kind_has_its_place_and_the_first_the_nearest() {
        let learned = learn(&of_kinds(4, 9_000), None).unwrap();
        let with = dictionary(learned.clone());
        for kind in 0..4 {
            let len = packed_len(&event(kind, 99, 9_000), Some(&with)).unwrap();
            assert!(len < 200, "{kind}: {len}");
        }
        assert!(learned.ends_with(&event(0, 0, 9_000)));
    }

    #[test]
    fn what_was_learned_before_is_not_forgotten() {
        let first = dictionary(learn(&of_kinds(1, 9_000), None).unwrap());
        let others: Vec<Vec<u8>> = (0..SAMPLES as u64)
            .map(|nth| event(10 + nth / 2 % 2, nth, 9_000))
            .collect();
        let second = dictionary(learn(&others, Some(&first)).unwrap());
        for kind in [0, 10, 11] {
            let len = packed_len(&event(kind, 99, 9_000), Some(&second)).unwrap();
            assert!(len < 200, "{kind}: {len}");
        }
    }

    #[test]
    fn events_with_nothing_in_common_teach_nothing() {
        let unlike: Vec<Vec<u8>> = (0..SAMPLES as u64)
            .map(|nth| event(nth, nth, 9_000))
            .collect();
        assert_eq!(learn(&unlike, None), None);
        assert_eq!(learn(&[], None), None);
        assert_eq!(learn(&[Vec::new(), Vec::new()], None), None);
    }

    proptest! {
        // Each case packs hundreds of events.
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn what_is_learned_is_within_its_bound_and_better(
            kinds in 1_u64..12, len in 100_usize..80_000, has_present in any::<bool>(), noise in any::<Vec<u8>>()
        ) {
            let present = has_present.then(|| dictionary(event(kinds + 1, 0, 60_000)));
            let mut samples = of_kinds(kinds, len);
            samples[3] = noise;
            if let Some(learned) = learn(&samples, present.as_ref()) {
                prop_assert!(learned.len() <= Dictionary::TEXT_BYTES_MAX);
                let learned = dictionary(learned);
                let total = |with: Option<&Dictionary>| -> usize {
                    samples.iter().skip(1).step_by(2).map(|json| packed_len(json, with).unwrap()).sum()
                };
                prop_assert!(total(Some(&learned)) * 4 <= total(present.as_ref()) * 3);
            }
        }
    }
}
