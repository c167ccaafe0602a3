//! Merges have the time of the cores that nobody else wants, and a tenth of it where others want all.
//!
//! The engine makes a thread nicer for as long as it merges, where the process may (`CAP_SYS_NICE`). That isn't enough: a core is busy to
//! Linux with whatever thread, and what wakes up queues where it ran before. Seen with `perf sched` on two cores: merges had half of one of
//! them, and in 98 % of that time threads of inserts and calls waited for the other. A core that runs nothing but `SCHED_IDLE` counts as
//! idle. So the engine's `setpriority` is this one, as its `write` is [`fail_stop`](crate::fail_stop)'s, and puts merges there.
//!
//! Nor is that enough where the others come in bursts: a core takes over what waits for another one only when it has nothing at all to run, and
//! with a merge it has. Of 0.32 cores that merges had under that policy, others waited for the other core in 0.31. So a merge's next step, which is
//! some 50 ms, waits for as long as there are as many others as the machine has cores.
//!
//! Either way a thread may wait for ever, and its table's next inserts with it in the end. So it is watched how much time merges get:
//! where that is too little, they are among the others until they had their part.
#![allow(unsafe_code)]

use std::time::Duration;

/// How nice the engine is to make merges. Nothing else asks for just that: this is what they are known by.
pub(crate) const NICE: i32 = 11;

/// From now on. Without what it takes merges are nicer and no more.
pub(crate) fn watch() {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::start() {
        tracing::warn!(%error, "merges can't be watched, so they only are nicer than the rest");
    }
}

/// What merges are owed of the cores.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only what can be watched is owed"))]
struct Owed {
    time: Duration,
    /// Whether they are among the others until they have it.
    paid: bool,
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only what can be watched is owed"))]
impl Owed {
    const NOTHING: Self = Self { time: Duration::ZERO, paid: false };
    /// So much of their share may be late.
    const LATE: Duration = Duration::from_millis(200);
    /// More isn't remembered: it would be given at the expense of those who are there now.
    const MOST: Duration = Duration::from_secs(1);

    /// After a time in which merges `ran`; `wanted`: whether one waits for more.
    fn after(self, elapsed: Duration, ran: Duration, wanted: bool, cores: u32) -> Self {
        if !wanted {
            return Self::NOTHING;
        }
        let share = |time: Duration| time * cores / 10;
        let time = (self.time + share(elapsed)).saturating_sub(ran).min(share(Self::MOST));
        Self { time, paid: time > if self.paid { Duration::ZERO } else { share(Self::LATE) } }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::Cell;
    use std::ffi::{c_int, c_uint};
    use std::time::{Duration, Instant};
    use std::{fs, io, thread};

    use parking_lot::{Condvar, Mutex};
    use rustix::io::Errno;
    use rustix::process::{Pid, setpriority_pgrp, setpriority_process, setpriority_user};
    use rustix::thread::gettid;

    use super::{NICE, Owed};
    use crate::fail_stop;

    const TICK: Duration = Duration::from_millis(25);
    /// How often it is counted who wants a core.
    const COUNT: Duration = Duration::from_millis(5);
    /// No step waits longer, should nobody look any more.
    const LONGEST: Duration = Duration::from_secs(1);
    const SCHED_OTHER: c_int = 0;
    const SCHED_IDLE: c_int = 5;

    /// Threads that merged, and what they are owed.
    static STATE: Mutex<State> =
        Mutex::new(State { watched: false, threads: Vec::new(), owed: Owed::NOTHING, full: false });
    static MERGES: Condvar = Condvar::new();
    static ROOM: Condvar = Condvar::new();
    thread_local! {
        static MERGES_HERE: Cell<bool> = const { Cell::new(false) };
    }

    struct State {
        watched: bool,
        threads: Vec<Thread>,
        owed: Owed,
        /// Whether others want all cores, and nothing is owed.
        full: bool,
    }

    struct Thread {
        id: Pid,
        does: Does,
        ran: Duration,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Does {
        NoMerge,
        /// It is about to do a step of one.
        Waits,
        Merges,
    }

    #[derive(Clone, Copy)]
    struct Cores {
        /// Those that this process may use.
        ours: u32,
        /// The machine's, on which all run that are counted.
        all: u32,
    }

    #[repr(C)]
    struct SchedParam {
        priority: c_int,
    }

    unsafe extern "C" {
        fn sched_setscheduler(thread: c_int, policy: c_int, param: *const SchedParam) -> c_int;
    }

    /// # Safety
    /// That of `setpriority(2)`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn setpriority(which: c_int, who: c_uint, nice: c_int) -> c_int {
        let id = Pid::from_raw(who.cast_signed());
        let outcome = match which {
            0 => setpriority_process(id, nice),
            1 => setpriority_pgrp(id, nice),
            2 => setpriority_user(rustix::process::Uid::from_raw(who), nice),
            _ => Err(Errno::INVAL),
        };
        match outcome {
            Ok(()) => {
                if which == 0 && id.is_none() {
                    told(nice == NICE);
                }
                0
            }
            Err(error) => {
                fail_stop::leave(error);
                -1
            }
        }
    }

    /// This thread does a step of a merge from now on, which may have to wait, or has done it. Nobody holds the lock who may have to wait for a core for long, and nobody takes it who never merged.
    fn told(merges: bool) {
        let id = gettid();
        if merges {
            let mut state = STATE.lock();
            if state.begins(id) {
                MERGES_HERE.set(true);
                MERGES.notify_one();
                ROOM.wait_while_for(&mut state, |state| state.full, LONGEST);
                state.does(id, Does::Merges);
                drop(state);
                place(id, SCHED_IDLE);
            }
        } else if MERGES_HERE.replace(false) {
            place(id, SCHED_OTHER);
            STATE.lock().ends(id);
        }
    }

    impl State {
        /// Whether it is watched.
        fn begins(&mut self, id: Pid) -> bool {
            if self.does(id, Does::Waits) {
                return true;
            }
            match ran(id) {
                Ok(ran) if self.watched => self.threads.push(Thread { id, does: Does::Waits, ran }),
                _ => return false,
            }
            true
        }

        fn ends(&mut self, id: Pid) {
            if self.does(id, Does::NoMerge) {
                place(id, SCHED_OTHER); // a look may have come between
            }
        }

        /// Whether the thread is known.
        fn does(&mut self, id: Pid, does: Does) -> bool {
            let thread = self.threads.iter_mut().find(|thread| thread.id == id);
            thread.map(|thread| thread.does = does).is_some()
        }

        fn those_that(&self, does: Does) -> impl Iterator<Item = Pid> {
            self.threads.iter().filter(move |thread| thread.does == does).map(|thread| thread.id)
        }

        /// `others`: how many other threads wanted a core lately.
        fn look(&mut self, elapsed: Duration, cores: Cores, others: f64) {
            let mut had = Duration::ZERO;
            self.threads.retain_mut(|thread| {
                let Ok(ran) = ran(thread.id) else { return false }; // it has ended
                had += ran.saturating_sub(thread.ran);
                thread.ran = ran;
                true
            });
            let wanted = self.those_that(Does::Waits).next().is_some() || self.those_that(Does::Merges).any(is_ready);
            self.owed = self.owed.after(elapsed, had, wanted, cores.ours);
            let policy = if self.owed.paid { SCHED_OTHER } else { SCHED_IDLE };
            self.those_that(Does::Merges).for_each(|id| _ = place(id, policy));
            self.full = others >= f64::from(cores.all) && !self.owed.paid;
            if !self.full {
                ROOM.notify_all();
            }
        }
    }

    pub(super) fn start() -> io::Result<()> {
        ran(gettid())?; // the kernel may not count it
        let ours = u32::try_from(thread::available_parallelism()?.get()).unwrap_or(u32::MAX);
        let is_core =
            |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let all = fs::read_to_string("/proc/stat")?.lines().filter(is_core).count();
        let cores = Cores { ours, all: u32::try_from(all).unwrap_or(u32::MAX) };
        runnable()?;
        thread::Builder::new().name("merges".to_owned()).spawn(move || watch(cores)).map(drop)
    }

    fn watch(cores: Cores) {
        // Who may not come back must not go there.
        if !(place(gettid(), SCHED_IDLE) && place(gettid(), SCHED_OTHER)) {
            tracing::info!("without CAP_SYS_NICE merges don't give way to inserts and queries");
            return;
        }
        STATE.lock().watched = true;
        let mut last = Instant::now();
        loop {
            let mut state = STATE.lock();
            if state.threads.iter().all(|thread| thread.does == Does::NoMerge) {
                MERGES.wait(&mut state);
                last = Instant::now();
            }
            drop(state);
            let (mut others, mut counts) = (0, 0_u32);
            while last.elapsed() < TICK {
                thread::sleep(COUNT);
                let merges = STATE.lock().those_that(Does::Merges).count();
                others += runnable().unwrap_or(0).saturating_sub(merges + 1); // one is this thread
                counts += 1;
            }
            STATE.lock().look(last.elapsed(), cores, others as f64 / f64::from(counts.max(1)));
            last = Instant::now();
        }
    }

    /// How many of the machine's threads run or wait for a core.
    fn runnable() -> io::Result<usize> {
        let text = fs::read_to_string("/proc/loadavg")?;
        let count = text.split(' ').nth(3).and_then(|counts| counts.split_once('/')?.0.parse().ok());
        count.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Whether it could be done; not for a thread that has ended.
    fn place(thread: Pid, policy: c_int) -> bool {
        // SAFETY: it reads the parameter, and refuses what is no thread.
        unsafe { sched_setscheduler(thread.as_raw_pid(), policy, &SchedParam { priority: 0 }) == 0 }
    }

    /// How much time of a core the thread had.
    fn ran(thread: Pid) -> io::Result<Duration> {
        let text = fs::read_to_string(format!("/proc/self/task/{}/schedstat", thread.as_raw_pid()))?;
        let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
        nanos.map(Duration::from_nanos).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Whether it runs or waits for a core, and for nothing else.
    fn is_ready(thread: Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", thread.as_raw_pid()));
        stat.is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" R")))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_step_waits_while_others_want_all_cores_and_nothing_is_owed() {
            let id = gettid();
            let waits = Thread { id, does: Does::Waits, ran: ran(id).unwrap() };
            let mut state = State { watched: true, threads: vec![waits], owed: Owed::NOTHING, full: false };
            let cores = Cores { ours: 2, all: 4 };
            let mut look = |ms, others| {
                state.look(Duration::from_millis(ms), cores, others);
                state.full
            };
            assert!(!look(10, 3.9), "one core is free");
            assert!(look(10, 4.0));
            assert!(!look(10, 0.0));
            assert!(look(10, 9.0));
            assert!(!look(2_000, 9.0), "it has waited so long that it is owed its part");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many of 100 ms on two cores.
    fn after(owed: Owed, times: u32, ran_ms: u64, wanted: bool) -> Owed {
        let ran = Duration::from_millis(ran_ms);
        (0..times).fold(owed, |owed, _| owed.after(Duration::from_millis(100), ran, wanted, 2))
    }

    #[test]
    fn merges_that_get_nothing_are_paid_a_tenth() {
        let starved = after(Owed::NOTHING, 2, 0, true);
        assert!(!starved.paid, "a moment is nothing: {starved:?}");
        let starved = after(starved, 1, 0, true);
        assert!(starved.paid, "{starved:?}");
        // A tenth of two cores is 20 ms of each 100: at 50 they have what they are owed after two of these.
        let paid = after(starved, 1, 50, true);
        assert!(paid.paid, "{paid:?}");
        assert_eq!(after(paid, 1, 50, true), Owed::NOTHING);
        // As long as the rest wants everything they have 50 ms of each 100 so often that it is a tenth.
        let (mut owed, mut times) = (Owed::NOTHING, 0);
        for _ in 0..1000 {
            times += u32::from(owed.paid);
            owed = after(owed, 1, if owed.paid { 50 } else { 0 }, true);
        }
        assert!((390..=410).contains(&times), "{times}");
    }

    #[test]
    fn merges_that_have_enough_or_want_nothing_are_owed_nothing() {
        assert_eq!(after(Owed::NOTHING, 100, 20, true), Owed::NOTHING);
        let starved = after(Owed::NOTHING, 100, 0, true);
        assert!(
            starved.paid && starved.time <= Duration::from_millis(200),
            "what was long ago isn't given: {starved:?}"
        );
        assert_eq!(after(starved, 1, 0, false), Owed::NOTHING);
    }
}
