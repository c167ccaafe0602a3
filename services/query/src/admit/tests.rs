#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicI64, Ordering};

use futures::{FutureExt, future::join_all};
use model::DAY_MS;
use tokio::time::sleep;

use super::*;

fn now_ms() -> i64 {
    20_000 * DAY_MS
}

fn admission(concurrent: usize, tenant_concurrent: usize) -> Admission {
    let (shared_tenant_concurrent, background_concurrent) = (tenant_concurrent, 8);
    let options = Options {
        concurrent,
        tenant_concurrent,
        shared_tenant_concurrent,
        background_concurrent,
        ..Options::default()
    };
    Admission::new(&options, now_ms)
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

const MIB: u64 = 1 << 20;

async fn runs(admission: &Admission, name: &str, class: Priority, seconds: u64) -> Result<Duration, Error> {
    let came = Instant::now();
    let _leave = admission.enter(&tenant(name), class, MIB).await?;
    let waited = came.elapsed();
    sleep(Duration::from_secs(seconds)).await;
    Ok(waited)
}

#[tokio::test(start_paused = true)]
async fn one_tenant_s_queries_leave_room_for_others() {
    let admission = admission(3, 2);
    let (a, b) = (tenant("a"), tenant("b"));
    let enter = |tenant| admission.enter(tenant, Priority::Interactive, MIB);
    let first = enter(&a).await.unwrap();
    let _second = enter(&a).await.unwrap();
    let refused = enter(&a).await.err().unwrap();
    assert_eq!((refused.code, refused.retry_after.is_some()), (ErrorCode::ResourceExhausted, true));
    assert!(refused.message.contains("the tenant has all of its 2 places in use"), "{refused}");
    let _other = enter(&b).await.unwrap();
    drop(first);
    enter(&a).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_small_tenant_beside_a_noisy_one_waits_for_one_turn() {
    let admission = admission(2, 2);
    let noisy = join_all((0..8).map(|_| runs(&admission, "noisy", Priority::Interactive, 1)));
    let small = async {
        sleep(Duration::from_millis(100)).await;
        runs(&admission, "small", Priority::Interactive, 1).await.unwrap()
    };
    let (_, waited) = futures::join!(noisy, small);
    assert!(waited <= Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_where_it_stood_why_and_when_to_come_again() {
    let admission = admission(1, 1);
    runs(&admission, "a", Priority::Interactive, 2).await.unwrap(); // from now on it is known how long queries take
    let _busy = admission.enter(&tenant("a"), Priority::Interactive, MIB).await.unwrap();
    let b = tenant("b");
    let mut others = join_all((0..3).map(|_| admission.enter(&b, Priority::Interactive, MIB)));
    assert!((&mut others).now_or_never().is_none());
    let c = tenant("c");
    let refused = admission.enter(&c, Priority::Interactive, MIB);
    let (refused, _) = futures::join!(refused, &mut others);
    let refused = refused.err().unwrap();
    assert!(refused.message.contains("waited its time in vain, at place 2 of the interactive queue"), "{refused}");
    assert!(refused.message.contains("the house is full: 1 of its 1 places are in use"), "{refused}");
    assert_eq!(refused.retry_after, Some(Duration::from_secs(4)), "two before it, of two seconds each");
}

#[tokio::test(start_paused = true)]
async fn who_can_t_start_before_its_deadline_is_refused_at_once() {
    let admission = admission(1, 1);
    let (a, b) = (tenant("a"), tenant("b"));
    let soon = |ms| Some(Instant::now() + Duration::from_millis(ms));
    admission.in_time(&a, Priority::Interactive, soon(1)).unwrap();
    runs(&admission, "a", Priority::Interactive, 2).await.unwrap();
    admission.in_time(&a, Priority::Interactive, soon(1)).unwrap();
    let _busy = admission.enter(&a, Priority::Interactive, MIB).await.unwrap();
    let refused = admission.in_time(&b, Priority::Interactive, soon(1_900)).unwrap_err();
    assert!(refused.message.contains("can't start before its deadline"), "{refused}");
    admission.in_time(&b, Priority::Interactive, soon(2_100)).unwrap();
    admission.in_time(&b, Priority::Interactive, None).unwrap();
}

#[tokio::test(start_paused = true)]
async fn background_work_waits_until_half_of_the_places_are_free() {
    let admission = admission(4, 4);
    let busy = [
        admission.enter(&tenant("a"), Priority::Interactive, MIB).await.unwrap(),
        admission.enter(&tenant("a"), Priority::Interactive, MIB).await.unwrap(),
    ];
    let b = tenant("b");
    let mut work = Box::pin(admission.enter(&b, Priority::Background, MIB));
    assert!((&mut work).now_or_never().is_none(), "half is in use");
    let [one, _other] = busy;
    drop(one);
    let working = work.now_or_never().unwrap().unwrap();
    let refused = admission.enter(&tenant("c"), Priority::Background, MIB).await.err().unwrap();
    assert!(refused.message.contains("background work is closed while half of the 4 places"), "{refused}");
    drop(working);
}

#[tokio::test(start_paused = true)]
async fn in_its_hours_background_work_runs_beside_others() {
    let hours = Some(Hours::try_from("22:00-06:00".to_owned()).unwrap());
    let options = Options {
        concurrent: 4,
        tenant_concurrent: 4,
        background_concurrent: 8,
        background_hours: hours,
        ..Options::default()
    };
    let night = Admission::new(&options, || 20_000 * DAY_MS);
    let _busy = [
        night.enter(&tenant("a"), Priority::Interactive, MIB).await.unwrap(),
        night.enter(&tenant("a"), Priority::Interactive, MIB).await.unwrap(),
    ];
    night.enter(&tenant("b"), Priority::Background, MIB).await.unwrap();
    let noon = Admission::new(&options, || 20_000 * DAY_MS + DAY_MS / 2);
    let _busy = [
        noon.enter(&tenant("a"), Priority::Interactive, MIB).await.unwrap(),
        noon.enter(&tenant("a"), Priority::Interactive, MIB).await.unwrap(),
    ];
    let refused = noon.enter(&tenant("b"), Priority::Background, MIB).await.err().unwrap();
    assert!(refused.message.contains("closed till 22:00 UTC or while half"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn when_its_hours_begin_background_work_starts_by_itself() {
    static NOW: AtomicI64 = AtomicI64::new(20_000 * DAY_MS - 1);
    let hours = Some(Hours::try_from("00:00-06:00".to_owned()).unwrap());
    let options = Options { concurrent: 2, background_hours: hours, ..Options::default() };
    let admission = Admission::new(&options, || NOW.load(Ordering::Relaxed));
    let _busy = admission.enter(&tenant("a"), Priority::Interactive, MIB).await.unwrap();
    let b = tenant("b");
    let mut work = Box::pin(admission.enter(&b, Priority::Background, MIB));
    assert!((&mut work).now_or_never().is_none());
    NOW.fetch_add(1, Ordering::Relaxed);
    work.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_no_longer_leaves_no_trace() {
    let admission = admission(1, 1);
    let busy = admission.enter(&tenant("a"), Priority::Interactive, MIB).await.unwrap();
    let b = tenant("b");
    let mut gone = join_all((0..5).map(|_| admission.enter(&b, Priority::Interactive, MIB)));
    assert!((&mut gone).now_or_never().is_none());
    assert_eq!(admission.0.state.lock().fair.waiting(), 5);
    drop(gone);
    drop(busy);
    let state = admission.0.state.lock();
    assert_eq!((state.fair.running(), state.fair.waiting()), (0, 0));
}
