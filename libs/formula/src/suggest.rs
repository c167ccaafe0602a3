//! "Did you mean": the nearest name by edit distance.

/// Names longer than this are not compared.
const MAX_NAME: usize = 64;
/// How many names are compared at most, so that a refusal stays quick.
const MAX_CANDIDATES: usize = 4_096;

/// `; did you mean ...?` for the nearest of the candidates, or nothing if none is near.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |best| format!("; did you mean `{best}`?"))
}

/// The nearest candidate within a third of the name's length, ignoring case; the first in the alphabet on a tie.
fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = lower(name)?;
    let limit = (name.len() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .take(MAX_CANDIDATES)
        .filter_map(|candidate| Some((distance(&name, &lower(candidate)?, limit)?, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

fn lower(name: &str) -> Option<Vec<char>> {
    let chars: Vec<char> = name.chars().take(MAX_NAME + 1).flat_map(char::to_lowercase).collect();
    (!chars.is_empty() && chars.len() <= MAX_NAME).then_some(chars)
}

/// The number of insertions, deletions, replacements and swaps of neighbours, if it is within the limit.
fn distance(a: &[char], b: &[char], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        if row.iter().min().is_none_or(|least| *least > limit) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|d| *d <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let names = ["purchase_amount", "country", "user_id", "load_time", "SUM"];
        for (name, want) in [
            ("purchse_amount", Some("purchase_amount")),
            ("Contry", Some("country")),
            ("usre_id", Some("user_id")),
            ("smu", Some("SUM")),
            ("revenue", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, names), want, "{name}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
    }
}
