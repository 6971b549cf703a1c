//! Sixteen bytes of a text looked at together: an answer has all bits of each byte it is about, the first byte's lowest. The compiler makes
//! a few instructions of each question.

/// How many bytes are looked at together.
pub(crate) const LANES: usize = 16;

/// Which bytes end a text in JSON, or begin an escape: quotes, backslashes, control characters.
#[inline]
pub(crate) fn specials(run: &[u8; LANES]) -> u128 {
    lanes(run, |byte| (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

/// Which bytes are decimal digits.
#[inline]
pub(crate) fn digits(run: &[u8; LANES]) -> u128 {
    lanes(run, |byte| byte.wrapping_sub(b'0') < 10)
}

/// Which bytes stand between a name and a value: `=` and `:`.
#[inline]
pub(crate) fn signs(run: &[u8; LANES]) -> u128 {
    lanes(run, |byte| (byte == b'=') | (byte == b':'))
}

/// How many bytes an answer is about.
#[inline]
pub(crate) fn count(answer: u128) -> u32 {
    answer.count_ones() / 8
}

#[inline]
fn lanes(run: &[u8; LANES], is: impl Fn(u8) -> bool) -> u128 {
    u128::from_le_bytes(run.map(|byte| if is(byte) { u8::MAX } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::{count, digits, signs, specials};
    use proptest::prelude::{any, prop_assert_eq, prop_oneof, proptest};
    use proptest::sample::select;

    proptest! {
        #[test]
        fn each_byte_has_its_answer(bytes in proptest::array::uniform16(prop_oneof![any::<u8>(), select(&b"\x1f\x20\"\\/09:;=@"[..])])) {
            let all = |is: &dyn Fn(u8) -> bool| (0..16).filter(|at| is(bytes[*at])).fold(0, |answer, at| answer | 0xff << (8 * at));
            prop_assert_eq!(specials(&bytes), all(&|byte| byte < 0x20 || byte == b'"' || byte == b'\\'));
            prop_assert_eq!(digits(&bytes), all(&|byte| byte.is_ascii_digit()));
            prop_assert_eq!(signs(&bytes), all(&|byte| byte == b'=' || byte == b':'));
            prop_assert_eq!(count(digits(&bytes)) as usize, bytes.iter().filter(|byte| byte.is_ascii_digit()).count());
        }
    }
}
