use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use model::AppId;
use storage::{AllSettings, Quota, Settings};

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn size(events: usize, bytes: usize) -> Size {
    Size { events, bytes }
}

fn flow(quota: QuotaOptions, options: FlowOptions) -> Flow {
    let cache = storage::open_cache("memory:").now_or_never().unwrap().unwrap();
    let limits = Limits::new(cache, "ingest", quota.processes);
    Flow::new(options, quota, Arc::new(limits))
}

/// Nobody else is asked, so it is said at once.
fn admit(flow: &Flow, tenant: &TenantId, size: Size) -> Result<Admission, Error> {
    flow.admit(tenant, &size.into()).now_or_never().unwrap()
}

/// 100 events and 1000 bytes a second, as many again twice at once.
fn limited() -> Flow {
    let quota = QuotaOptions {
        events_per_second: 100,
        events_burst: 200,
        bytes_per_second: 1_000,
        bytes_burst: 2_000,
        ..QuotaOptions::default()
    };
    flow(quota, FlowOptions::default())
}

fn refusal(outcome: Result<Admission, Error>) -> Error {
    outcome.err().expect("it is refused")
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_does_not_fit_is_told_when_it_does() {
    let (flow, a, b) = (limited(), tenant("a"), tenant("b"));
    admit(&flow, &a, size(200, 10)).unwrap();
    let error = refusal(admit(&flow, &a, size(50, 10)));
    assert_eq!(error.code, ErrorCode::ResourceExhausted);
    assert!(error.message.contains("100 events a second"), "{error}");
    let wait = error.retry_after.unwrap();
    assert_eq!(wait, Duration::from_millis(501));
    admit(&flow, &b, size(200, 10)).unwrap(); // another tenant's is its own
    tokio::time::advance(wait - Duration::from_millis(2)).await;
    refusal(admit(&flow, &a, size(50, 10)));
    tokio::time::advance(Duration::from_millis(2)).await;
    admit(&flow, &a, size(50, 10)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_charged_whole_or_not_at_all() {
    let (flow, a) = (limited(), tenant("a"));
    let used = admit(&flow, &a, size(10, 2_000)).unwrap();
    let error = refusal(admit(&flow, &a, size(100, 500))); // its bytes don't fit, so its events aren't charged
    assert_eq!(error.retry_after, Some(Duration::from_millis(501)), "{error}");
    assert!(error.message.contains("1000 bytes a second"), "{error}");
    flow.give_back(&used);
    admit(&flow, &a, size(200, 2_000)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_beyond_the_burst_is_told_what_would_fit() {
    let (flow, a) = (limited(), tenant("a"));
    for (size, reason, limit) in [(size(201, 1), "TOO_MANY", "200"), (size(1, 2_001), "TOO_LONG", "2000")] {
        let error = refusal(admit(&flow, &a, size));
        assert_eq!((error.code, error.retry_after), (ErrorCode::InvalidArgument, None));
        let violation = &error.violations[0];
        assert_eq!((&*violation.field, &*violation.reason), ("events", reason));
        assert!(violation.description.contains(limit), "{error}");
    }
    admit(&flow, &a, size(200, 2_000)).unwrap();
}

fn set(flow: &Flow, tenant: &TenantId, quota: Quota) {
    let settings = Settings { quota, ..Settings::default() };
    flow.quotas.limits.set(AllSettings::of([(Some(tenant.clone()), None, settings)]));
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_sets_counts_field_by_field_and_at_once() {
    let (flow, a, b) = (limited(), tenant("a"), tenant("b"));
    admit(&flow, &a, size(200, 1)).unwrap();
    refusal(admit(&flow, &a, size(50, 1)));
    let quota = Quota { events_per_second: Some(0), ..Quota::default() };
    set(&flow, &a, quota);
    admit(&flow, &a, size(1_000_000, 1)).unwrap();
    refusal(admit(&flow, &a, size(1, 2_001))); // its bytes are still as configured
    admit(&flow, &b, size(200, 1)).unwrap();
    refusal(admit(&flow, &b, size(200, 1)));
    let quota = Quota { events_per_second: Some(10), ..Quota::default() };
    set(&flow, &b, Quota { events_burst: Some(0), ..quota });
    let error = refusal(admit(&flow, &b, size(101, 1)));
    assert!(error.message.contains("lets 100 come at once"), "ten seconds' worth: {error}");
}

#[tokio::test(start_paused = true)]
async fn an_app_has_its_own_within_its_tenant_s() {
    let (flow, a) = (limited(), tenant("a"));
    let quota = Quota { events_per_second: Some(1), events_burst: Some(20), ..Quota::default() };
    let (shop, blog) = (AppId::new("shop").unwrap(), AppId::new("blog").unwrap());
    assert!(!flow.quotas.are_of_apps(&a));
    let settings = Settings { quota, ..Settings::default() };
    flow.quotas.limits.set(AllSettings::of([(Some(a.clone()), Some(shop.clone()), settings)]));
    assert!(flow.quotas.are_of_apps(&a));
    let admit = |app: &AppId, events| {
        let sizes = Sizes { whole: size(events, 10), of_apps: vec![(app.clone(), size(events, 10))] };
        flow.admit(&a, &sizes).now_or_never().unwrap()
    };
    let used = admit(&shop, 20).unwrap();
    let error = refusal(admit(&shop, 1));
    assert_eq!(&*error.limit.as_ref().unwrap().subject, "tenants/a/apps/shop");
    assert_eq!(error.retry_after, Some(Duration::from_millis(1_001)), "{error}");
    assert!(refusal(admit(&shop, 21)).message.contains("the app's quota lets 20 come at once"));
    admit(&blog, 180).unwrap(); // what the shop was refused wasn't charged to the tenant
    let error = refusal(admit(&blog, 1));
    assert_eq!(&*error.limit.as_ref().unwrap().subject, "tenants/a", "of which 200 are used up");
    flow.give_back(&used);
    admit(&shop, 20).unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_of_several_processes_lets_its_part_in() {
    let quota = QuotaOptions { events_per_second: 100, processes: 4, ..QuotaOptions::default() };
    let (flow, a) = (flow(quota, FlowOptions::default()), tenant("a"));
    admit(&flow, &a, size(1_000, 1)).unwrap();
    let wait = refusal(admit(&flow, &a, size(25, 1))).retry_after.unwrap();
    assert_eq!(wait, Duration::from_millis(31_001), "40 s are to be paid, of which ten are a burst");
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_its_quota_but_not_for_ever() {
    let (flow, a) = (limited(), tenant("a"));
    admit(&flow, &a, size(200, 1)).unwrap();
    let started = Instant::now();
    flow.admit_in_time(&a, &size(200, 1).into()).await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(2));

    // Ten minutes' worth: it is told at once, not after the pause.
    let slow = Quota { events_per_second: Some(1), events_burst: Some(600), ..Quota::default() };
    set(&flow, &a, slow);
    admit(&flow, &a, size(300, 1)).unwrap();
    let started = Instant::now();
    let error = refusal(flow.admit_in_time(&a, &size(600, 1).into()).await);
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(error.retry_after.unwrap() > Duration::from_secs(30), "{error}");
}

#[tokio::test(start_paused = true)]
async fn room_is_shared_so_that_nobody_takes_the_last_of_it() {
    let options = FlowOptions { in_flight_bytes: 1_200, ..FlowOptions::default() };
    let flow = flow(QuotaOptions::default(), options);
    let fill = |name: &str| -> Vec<Admission> {
        std::iter::from_fn(|| admit(&flow, &tenant(name), size(1, 10)).ok()).collect()
    };
    let alone = fill("a");
    assert_eq!(alone.len(), 60, "half of it");
    let second = fill("b");
    assert_eq!(second.len(), 30, "half of what is left");
    let error = refusal(admit(&flow, &tenant("a"), size(1, 10)));
    assert_eq!((error.code, error.retry_after), (ErrorCode::ResourceExhausted, Some(LATER)));
    admit(&flow, &tenant("c"), size(1, 300)).unwrap(); // one that has nothing yet gets all that is left
    drop((alone, second));
    assert_eq!(flow.budget.in_flight(), 0);
    admit(&flow, &tenant("a"), size(1, 1 << 30)).unwrap(); // alone even one larger than everything
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_room_in_turn_and_who_gave_up_takes_none() {
    let options = FlowOptions { in_flight_bytes: 1_000, ..FlowOptions::default() };
    let flow = Arc::new(flow(QuotaOptions::default(), options));
    let held = admit(&flow, &tenant("a"), size(1, 500)).unwrap();
    let wait = |name: &'static str, bytes| {
        let flow = Arc::clone(&flow);
        tokio::spawn(async move { flow.admit_in_time(&tenant(name), &size(1, bytes).into()).await })
    };
    let given_up = wait("a", 400);
    let waiting: Vec<_> = (0..3).map(|_| wait("a", 100)).collect();
    tokio::task::yield_now().await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    let other = wait("b", 100);
    tokio::task::yield_now().await;
    assert!(other.is_finished(), "another tenant doesn't wait behind it");
    given_up.abort();
    let _ = given_up.await;
    drop(held);
    let mut admitted = Vec::new();
    let mut waiting: FuturesUnordered<_> = waiting.into_iter().collect();
    while let Some(task) = waiting.next().await {
        admitted.push(task.unwrap().unwrap());
    }
    assert_eq!(flow.budget.in_flight(), 400);
    drop((admitted, other.await.unwrap().unwrap()));
    assert_eq!(flow.budget.in_flight(), 0);

    let _held = admit(&flow, &tenant("a"), size(1, 500)).unwrap();
    let started = Instant::now();
    let error = refusal(flow.admit_in_time(&tenant("a"), &size(1, 100).into()).await);
    assert_eq!((started.elapsed(), error.retry_after), (Duration::from_secs(30), Some(LATER)));
}

#[tokio::test(start_paused = true)]
async fn who_gave_up_is_passed_over() {
    let options = FlowOptions { in_flight_bytes: 1_000, ..FlowOptions::default() };
    let flow = Arc::new(flow(QuotaOptions::default(), options));
    let held = admit(&flow, &tenant("a"), size(1, 900)).unwrap();
    let wait = |name: &'static str| {
        let flow = Arc::clone(&flow);
        tokio::spawn(async move { flow.admit_in_time(&tenant(name), &size(1, 200).into()).await })
    };
    let gone = [wait("b"), wait("c")];
    tokio::task::yield_now().await;
    let patient = wait("d");
    tokio::task::yield_now().await;
    for waiting in gone {
        waiting.abort();
        let _ = waiting.await;
    }
    let started = Instant::now();
    drop(held);
    patient.await.unwrap().unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(flow.budget.in_flight(), 0);
}

#[tokio::test]
async fn no_room_at_all_is_room_for_one_batch_at_a_time() {
    let flow = flow(QuotaOptions::default(), FlowOptions { in_flight_bytes: 0, ..FlowOptions::default() });
    let first = admit(&flow, &tenant("a"), size(1, 500)).unwrap();
    refusal(admit(&flow, &tenant("b"), size(1, 500)));
    drop(first);
    admit(&flow, &tenant("b"), size(1, 500)).unwrap();
}

/// Random batches of random tenants that come and go: never more than everything, never a byte lost.
#[tokio::test(start_paused = true)]
async fn room_is_neither_exceeded_nor_lost() {
    let seed = std::env::var("PENSTOCK_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_u64);
    println!("PENSTOCK_SEED={seed}");
    let mut state = seed | 1;
    let mut below = move |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % end
    };
    let options = FlowOptions { in_flight_bytes: 10_000, pause_seconds: 5, ..FlowOptions::default() };
    let flow = Arc::new(flow(QuotaOptions::default(), options));
    let tasks: Vec<_> = (0..2_000)
        .map(|_| {
            let (flow, tenant) = (Arc::clone(&flow), tenant(&format!("t{}", below(7))));
            let (bytes, starts, works, gives_up) = (below(3_000) as usize, below(5_000), below(20), below(100));
            tokio::spawn(async move {
                sleep(Duration::from_millis(starts)).await;
                let sizes = size(1, bytes).into();
                let admitted = flow.admit_in_time(&tenant, &sizes);
                let gives_up = Duration::from_millis(gives_up);
                if let Ok(Ok(_room)) = timeout(gives_up, admitted).await {
                    assert!(flow.budget.in_flight() <= 10_000);
                    sleep(Duration::from_millis(works)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(flow.budget.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_is_behind_gets_fewer_batches_and_then_none() {
    let options = FlowOptions { slow_lag_seconds: 60, max_lag_seconds: 3_600, ..FlowOptions::default() };
    let (flow, a) = (Arc::new(flow(QuotaOptions::default(), options)), tenant("a"));
    for (lag, credits) in [(0, 16), (60, 16), (120, 8), (240, 4), (600, 1), (100_000, 1)] {
        flow.lag.set(Duration::from_secs(lag));
        assert_eq!(flow.credits(16), credits, "{lag} s");
    }
    let error = refusal(admit(&flow, &a, size(1, 1)));
    assert_eq!(error.code, ErrorCode::ResourceExhausted);
    assert!(error.retry_after.is_some());

    let waiting = tokio::spawn({
        let flow = Arc::clone(&flow);
        async move { flow.admit_in_time(&tenant("a"), &size(1, 1).into()).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(flow.budget.in_flight(), 0, "who waits holds nothing");
    flow.lag.set(Duration::from_secs(3_599));
    waiting.await.unwrap().unwrap();
    admit(&flow, &a, size(1, 1)).unwrap();

    flow.lag.set(Duration::from_secs(3_600));
    let started = Instant::now();
    refusal(flow.admit_in_time(&a, &size(1, 1).into()).await);
    assert_eq!(started.elapsed(), Duration::from_secs(30));
}

#[tokio::test]
async fn streams_are_counted_for_each_tenant_and_in_all() {
    let options = FlowOptions { streams: 3, tenant_streams: 2, ..FlowOptions::default() };
    let flow = flow(QuotaOptions::default(), options);
    let (a, b) = (tenant("a"), tenant("b"));
    let first = flow.open_stream(&a).unwrap();
    let _second = flow.open_stream(&a).unwrap();
    assert_eq!(flow.open_stream(&a).err().unwrap().retry_after, Some(LATER));
    let _of_b = flow.open_stream(&b).unwrap();
    assert!(flow.open_stream(&b).is_err(), "the process has no more");
    drop(first);
    flow.open_stream(&b).unwrap();
    flow.open_stream(&a).unwrap();
}
