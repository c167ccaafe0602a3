//! What a topic is, by the admin API's DescribeTopics, which the safe bindings don't offer: the topic's id is nowhere else.
//! And why the brokers can't be reached, which librdkafka says only in its log: of an admin client the bindings read no log.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char},
    ptr,
    time::Duration,
};

use rdkafka::{bindings as rd, client::Client, client::ClientContext, error::RDKafkaErrorCode};

use crate::LogError;

/// A topic as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    /// The topic's id: another one for each topic ever made, whatever its name.
    pub(super) id: String,
    pub(super) partitions: u32,
    /// Replicas of the partition that has the fewest.
    pub(super) replicas: usize,
    /// Whether every partition has a leader.
    pub(super) led: bool,
}

/// Frees what librdkafka gave, with the function that it names for it.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by librdkafka, not freed before, and the function is the one of its type.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// Describes the topic; `None` if there is none. Blocks for up to `timeout`.
pub(super) fn describe<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<Description>, LogError> {
    let name = CString::new(topic).map_err(|_| LogError::Config("a topic's name has no NUL".into()))?;
    let mut names: [*const c_char; 1] = [name.as_ptr()];
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();

    // SAFETY: `rk` lives as long as `client`. `names` has one valid string, which is copied.
    let (queue, topics, options) = unsafe {
        (
            Owned(rd::rd_kafka_queue_new(rk), rd::rd_kafka_queue_destroy),
            Owned(
                rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1),
                rd::rd_kafka_TopicCollection_destroy,
            ),
            Owned(
                rd::rd_kafka_AdminOptions_new(rk, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
                rd::rd_kafka_AdminOptions_destroy,
            ),
        )
    };
    if queue.0.is_null() || topics.0.is_null() || options.0.is_null() {
        return Err(LogError::Unavailable("librdkafka has no memory for a question".into()));
    }
    // SAFETY: all four are valid, and the request copies what it needs. The answer comes to the queue, also on a failure
    // or when the time is over, so the event is null only if that is late; then the queue's end drops the answer.
    let event = unsafe {
        rd::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, ptr::null_mut(), 0);
        rd::rd_kafka_DescribeTopics(rk, topics.0, options.0, queue.0);
        Owned(rd::rd_kafka_queue_poll(queue.0, timeout_ms.saturating_add(1_000)), rd::rd_kafka_event_destroy)
    };
    if event.0.is_null() {
        return Err(LogError::Unavailable("the brokers didn't describe the topic in time".into()));
    }
    // SAFETY: the event is valid; its error, and the result within it, live as long as it does.
    let result = unsafe {
        let code = RDKafkaErrorCode::from(rd::rd_kafka_event_error(event.0));
        if code != RDKafkaErrorCode::NoError {
            return Err(LogError::Unavailable(format!("the topic can't be described: {code}")));
        }
        rd::rd_kafka_event_DescribeTopics_result(event.0)
    };
    if result.is_null() {
        return Err(LogError::Unavailable("the brokers' answer is not a description of a topic".into()));
    }
    // SAFETY: `result` lives in the event. Of the arrays only as many elements are read as were counted, and all that is
    // borrowed is copied before the event ends. A null error is the code for none.
    unsafe {
        let mut count = 0;
        let described = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count != 1 {
            return Err(LogError::Unavailable(format!("asked for one topic, the brokers described {count}")));
        }
        let described = *described;
        match RDKafkaErrorCode::from(rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(described))) {
            RDKafkaErrorCode::NoError => {}
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => return Ok(None),
            code => return Err(LogError::Unavailable(format!("the topic can't be described: {code}"))),
        }
        let id = rd::rd_kafka_Uuid_base64str(rd::rd_kafka_TopicDescription_topic_id(described));
        if id.is_null() {
            return Err(LogError::Unavailable("librdkafka has no memory for a topic's id".into()));
        }
        let id = CStr::from_ptr(id).to_string_lossy().into_owned();
        let list = rd::rd_kafka_TopicDescription_partitions(described, &mut count);
        let (mut replicas, mut led) = (usize::MAX, true);
        for index in 0..count {
            let (partition, mut of_partition) = (*list.add(index), 0);
            rd::rd_kafka_TopicPartitionInfo_replicas(partition, &mut of_partition);
            replicas = replicas.min(of_partition);
            led &= !rd::rd_kafka_TopicPartitionInfo_leader(partition).is_null();
        }
        Ok(Some(Description { id, partitions: count as u32, replicas, led }))
    }
}

/// Empties the client's log; why a connection failed last, if it says.
pub(super) fn last_failure<C: ClientContext>(client: &Client<C>) -> Option<String> {
    // SAFETY: the client lives, and the queue is let go of before it ends.
    let queue = unsafe { Owned(rd::rd_kafka_queue_get_main(client.native_ptr()), rd::rd_kafka_queue_destroy) };
    let mut last = None;
    loop {
        // SAFETY: the queue is valid. An admin client's main queue has nothing that anybody else waits for.
        let event = unsafe { Owned(rd::rd_kafka_queue_poll(queue.0, 0), rd::rd_kafka_event_destroy) };
        if event.0.is_null() {
            return last;
        }
        let (mut facility, mut message, mut level): (*const c_char, *const c_char, _) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is valid; where it is one of the log, both texts are, and live as long as it does.
        unsafe {
            if rd::rd_kafka_event_log(event.0, &mut facility, &mut message, &mut level) == 0
                && CStr::from_ptr(facility) == c"FAIL"
            {
                last = Some(CStr::from_ptr(message).to_string_lossy().into_owned());
            }
        }
    }
}
