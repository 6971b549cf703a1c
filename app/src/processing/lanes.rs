//! Sixteen bytes of a text looked at together: an answer has a bit for each byte it is about, the first byte's lowest.

use wide::u8x16;

/// How many bytes are looked at together.
pub(crate) const LANES: usize = 16;

/// An answer: its lower sixteen bits.
pub(crate) type Lanes = u32;

/// Which bytes end a text in JSON, or begin an escape: quotes, backslashes, control characters.
#[inline]
pub(crate) fn specials(run: &[u8; LANES]) -> Lanes {
    let run = u8x16::new(*run);
    let is_control = run.min(u8x16::splat(0x1f)).simd_eq(run);
    let is_mark = run.simd_eq(u8x16::splat(b'"')) | run.simd_eq(u8x16::splat(b'\\'));
    (is_control | is_mark).to_bitmask()
}

/// Which bytes stand between a name and a value: `=` and `:`.
#[inline]
pub(crate) fn signs(run: &[u8; LANES]) -> Lanes {
    let run = u8x16::new(*run);
    (run.simd_eq(u8x16::splat(b'=')) | run.simd_eq(u8x16::splat(b':'))).to_bitmask()
}

/// Which bytes stand before the first of an answer that is not empty.
#[inline]
pub(crate) fn before(answer: Lanes) -> Lanes {
    !answer & (answer - 1)
}

#[cfg(test)]
mod tests {
    use super::{before, signs, specials};
    use proptest::prelude::{any, prop_assert_eq, prop_oneof, proptest};
    use proptest::sample::select;

    proptest! {
        #[test]
        fn each_byte_has_its_answer(bytes in proptest::array::uniform16(prop_oneof![any::<u8>(), select(&b"\x1f\x20\"\\/09:;=@"[..])])) {
            let all = |is: &dyn Fn(u8) -> bool| (0..16).filter(|at| is(bytes[*at])).fold(0, |answer, at| answer | 1 << at);
            prop_assert_eq!(specials(&bytes), all(&|byte| byte < 0x20 || byte == b'"' || byte == b'\\'));
            prop_assert_eq!(signs(&bytes), all(&|byte| byte == b'=' || byte == b':'));
            let first = (0..16).find(|at| all(&|byte| byte == b'"') >> at & 1 == 1);
            if let Some(first) = first {
                prop_assert_eq!(before(all(&|byte| byte == b'"')), (1 << first) - 1);
            }
        }
    }
}
