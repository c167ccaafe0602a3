use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::Event;

type Asked = (Instant, Vec<String>);

/// A server that answers as it is told, and accepts where it isn't told anything.
#[derive(Clone, Default)]
struct Told {
    answers: Arc<Mutex<VecDeque<Result<v1::Acknowledgement, Error>>>>,
    /// When it was asked, and for which events.
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Wire for Told {
    async fn publish(&self, request: v1::PublishRequest) -> Result<v1::Acknowledgement, Error> {
        let events: Vec<_> = request.events.into_iter().map(|event| event.event_id).collect();
        let accepted = events.len() as u32;
        self.asked.lock().push((Instant::now(), events));
        let all = v1::Acknowledgement { accepted, rejections: vec![], position_token: "t".into() };
        self.answers.lock().pop_front().unwrap_or(Ok(all))
    }

    async fn identify(&self, _: v1::IdentifyRequest) -> Result<String, Error> {
        Ok("t".into())
    }
}

fn sender(told: &Told, batch_events: usize, queue_bytes: usize) -> (Sender<Told>, Arc<Mutex<Vec<Rejection>>>) {
    let limits = Limits { batch_events, batch_bytes: 1 << 20, batch_time: Duration::from_millis(200), queue_bytes };
    let rejections = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&rejections);
    let on_rejected = Box::new(move |rejection| seen.lock().push(rejection));
    (Sender::new(Box::new(Memory::default()), false, told.clone(), String::new(), limits, on_rejected), rejections)
}

fn event(id: usize) -> Bytes {
    Event::new("e").id(id.to_string()).encoded().unwrap().1
}

fn refused(code: Code, retry_after: Option<Duration>) -> Result<v1::Acknowledgement, Error> {
    let mut details = ErrorDetails::new();
    if let Some(after) = retry_after {
        details.set_retry_info(Some(after));
    }
    Err(Status::with_error_details(code, "no", details).into())
}

#[tokio::test(start_paused = true)]
async fn a_batch_leaves_when_it_is_full_or_its_time_is_over() {
    let told = Told::default();
    let (sender, _) = sender(&told, 3, 1 << 20);
    let start = Instant::now();
    for id in 0..4 {
        sender.put(event(id)).await.unwrap();
    }
    while sender.pending() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let asked = told.asked.lock().clone();
    let sizes: Vec<_> = asked.iter().map(|(_, events)| events.len()).collect();
    assert_eq!(sizes, [3, 1]);
    assert!(asked[0].0 - start < Duration::from_millis(5));
    assert!(asked[1].0 - start >= Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_sent_again_not_before_the_server_wants_it() {
    let told = Told::default();
    told.answers.lock().push_back(refused(Code::ResourceExhausted, Some(Duration::from_secs(7))));
    let (sender, _) = sender(&told, 10, 1 << 20);
    sender.put(event(1)).await.unwrap();
    let flushed = sender.flush().await.unwrap();
    assert_eq!((flushed.accepted, flushed.token.as_str()), (1, "t"));
    let asked = told.asked.lock().clone();
    assert_eq!(asked[0].1, asked[1].1, "with the same id");
    assert!(asked[1].0 - asked[0].0 >= Duration::from_secs(7));
}

#[test]
fn pauses_grow_to_ten_seconds_and_never_fall_short_of_what_the_server_says() {
    let error = refused(Code::Unavailable, None).unwrap_err();
    let longest: Vec<_> = [1, 2, 4, 8, 40].map(|attempt| pause(&error, attempt, 1.0).as_millis()).to_vec();
    assert_eq!(longest, [100, 200, 800, 10_000, 10_000]);
    assert_eq!(pause(&error, 8, 0.0), Duration::ZERO);
    let told = refused(Code::Unavailable, Some(Duration::from_secs(30))).unwrap_err();
    assert_eq!(pause(&told, 8, 1.0), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_or_waits_until_there_is_room() {
    let told = Told::default();
    told.answers.lock().push_back(refused(Code::Unavailable, Some(Duration::from_secs(5))));
    let (sender, _) = sender(&told, 10, 400);
    let mut queued = 0;
    while sender.try_put(&event(queued)).is_ok() {
        queued += 1;
    }
    assert!(matches!(sender.try_put(&event(queued)), Err(Error::QueueFull)));
    assert!(queued > 0 && sender.pending() == queued);
    sender.put(event(queued)).await.unwrap(); // the server is there again after 5 s
    assert_eq!(sender.flush().await.unwrap().accepted, queued as u64 + 1);
}

#[tokio::test(start_paused = true)]
async fn what_keeps_the_queue_from_being_sent_is_told_and_nothing_is_lost() {
    let told = Told::default();
    told.answers.lock().push_back(refused(Code::Unauthenticated, None));
    let (sender, rejections) = sender(&told, 10, 1 << 20);
    sender.put(event(1)).await.unwrap();
    assert_eq!(sender.flush().await.unwrap_err().code(), Some(Code::Unauthenticated));
    assert_eq!(sender.pending(), 1);
    assert_eq!(sender.flush().await.unwrap().accepted, 1);
    assert!(rejections.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_whole_is_halved_until_the_one_at_fault_stands_alone() {
    let told = Told::default();
    told.answers.lock().extend([refused(Code::InvalidArgument, None), refused(Code::InvalidArgument, None)]);
    let (sender, rejections) = sender(&told, 10, 1 << 20);
    sender.put(event(0)).await.unwrap();
    sender.put(event(1)).await.unwrap();
    let flushed = sender.flush().await.unwrap();
    assert_eq!((flushed.accepted, flushed.rejected), (1, 1));
    let refused: Vec<_> = rejections.lock().iter().map(|r| r.event.clone().unwrap().id.unwrap()).collect();
    assert_eq!(refused, ["0"]);
}

#[tokio::test(start_paused = true)]
async fn close_hands_back_what_was_not_sent_and_then_nothing_is_taken() {
    let told = Told::default();
    let (sender, rejections) = sender(&told, 10, 1 << 20);
    sender.put(event(1)).await.unwrap();
    sender.close().await;
    assert_eq!(rejections.lock().iter().map(|r| r.code.clone()).collect::<Vec<_>>(), ["NOT_SENT"]);
    assert!(matches!(sender.put(event(2)).await, Err(Error::Closed)));
    assert!(matches!(sender.flush().await, Err(Error::Closed)));
}
