//! The smallest input that still fails, as far as a bounded number of tries finds it.

/// Cuts pieces out of `input`, ever smaller ones, as long as it `fails`; at most `tries` times.
pub fn shrink(input: &[u8], mut tries: u32, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut piece = best.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < best.len() {
            if tries == 0 {
                return best;
            }
            tries -= 1;
            let without = [&best[..at], &best[(at + piece).min(best.len())..]].concat();
            if fails(&without) {
                best = without;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    best
}

#[test]
fn what_does_not_matter_is_cut_out() {
    let input = b"some {text} with a fault } in {it, and more after it";
    let shrunk = shrink(input, 10_000, |bytes| bytes.windows(2).any(|pair| pair == b"{i"));
    assert_eq!(shrunk, b"{i");
    assert_eq!(shrink(input, 0, |_| true), input);
}
