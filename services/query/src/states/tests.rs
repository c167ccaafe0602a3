use super::*;

const FROM: i64 = 100 * DAY_MS;

fn ended(epochs: Vec<(i64, u128)>) -> Ended {
    Ended { until_ms: FROM + 3 * DAY_MS + 5 * HOUR_MS, epochs: epochs.into(), mark: None, has_states: true }
}

fn kept(bucket_ms: i64, length: Length, piece: i64) -> BucketState {
    BucketState { bucket_ms, length_ms: length.ms(), epochs: String::new(), piece }
}

fn chosen(times: Range<i64>, ended: &Ended, kept: &[BucketState]) -> (Vec<i64>, Vec<Range<i64>>) {
    let Pieces { numbers, rest, .. } = choose("s".into(), &[times], ended, kept);
    (numbers, rest)
}

#[test]
fn days_go_before_hours_and_what_is_left_lies_between() {
    let all = [
        kept(FROM + 22 * HOUR_MS, Length::Hour, 1),
        kept(FROM + 23 * HOUR_MS, Length::Hour, 2),
        kept(FROM + DAY_MS, Length::Hour, 3),
        kept(FROM + DAY_MS, Length::Day, 4),
        kept(FROM + 3 * DAY_MS, Length::Hour, 5),
    ];
    let start = FROM + 22 * HOUR_MS - 60_000;
    let (numbers, rest) = chosen(start..i64::MAX, &ended(vec![]), &all);
    assert_eq!(numbers, [1, 2, 4, 5]);
    let two_days = FROM + 2 * DAY_MS..FROM + 3 * DAY_MS;
    assert_eq!(rest, [start..FROM + 22 * HOUR_MS, two_days, FROM + 3 * DAY_MS + HOUR_MS..i64::MAX]);
}

#[test]
fn a_bucket_of_another_epoch_is_left_to_its_events() {
    let all =
        [kept(FROM, Length::Day, 1), kept(FROM + HOUR_MS, Length::Hour, 2), kept(FROM + 2 * HOUR_MS, Length::Hour, 3)];
    let day = FROM..FROM + DAY_MS;
    assert_eq!(chosen(day.clone(), &ended(vec![]), &all), (vec![1], vec![]));
    let late = ended(vec![(FROM + HOUR_MS, 9)]);
    assert_eq!(
        chosen(day.clone(), &late, &all),
        (vec![3], vec![FROM..FROM + 2 * HOUR_MS, FROM + 3 * HOUR_MS..FROM + DAY_MS])
    );
    let mut anew = all;
    anew[1].epochs = epochs_of(FROM + HOUR_MS..FROM + 2 * HOUR_MS, &late.epochs);
    assert_eq!(chosen(day, &late, &anew).0, [2, 3]);
}

#[test]
fn many_gaps_become_one() {
    let all: Vec<_> = (0..60).step_by(2).map(|hour| kept(FROM + hour * HOUR_MS, Length::Hour, hour)).collect();
    let (numbers, rest) = chosen(FROM..FROM + 60 * HOUR_MS, &ended(vec![]), &all);
    assert_eq!((rest.len(), rest[MOST_TIMES - 1].end), (MOST_TIMES, FROM + 60 * HOUR_MS));
    assert_eq!(numbers.len(), MOST_TIMES, "all before the last gap");
}

#[test]
fn what_has_not_ended_is_not_whole() {
    let until = ended(vec![]).until_ms;
    let of = |times: Range<i64>| extent(&[times], until);
    assert_eq!(of(FROM + 1..i64::MAX), (FROM + HOUR_MS, until - FROM - HOUR_MS));
    assert_eq!(of(FROM..FROM + HOUR_MS - 1), (until, 0));
    assert_eq!(chosen(until..i64::MAX, &ended(vec![]), &[kept(until, Length::Hour, 1)]).0, [0; 0]);
}
