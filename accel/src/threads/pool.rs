//! Threads that call one closure together.

use std::any::Any;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long a worker looks for the next phase before it sleeps: longer than sampling takes between two steps, and short
/// enough that an engine with nothing to do is asleep.
const PATIENCE: Duration = Duration::from_micros(200);
/// Turns of a waiting loop between two looks at the clock, some microseconds apart.
const TURNS: u32 = 64;

// A phase's number, whether it can still be entered, and how many workers are inside, in one word.
const INSIDE: u64 = (1 << 16) - 1;
const OPEN: u64 = 1 << 16;
const NUMBER: u64 = 1 << 17;

/// What threads do together; it is told the number of the thread, from 0 on.
pub type Work<'a> = &'a (dyn Fn(usize) -> Result<()> + Sync);

/// The calling thread and its workers.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    stalled: Duration,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU64,
    /// The closure of the phase; its lifetime ends with the phase.
    work: AtomicPtr<Work<'static>>,
    /// How many workers may enter; the others sleep.
    invited: AtomicUsize,
    /// Which workers sleep, or are about to.
    asleep: Vec<AtomicBool>,
    closing: AtomicBool,
    /// What went wrong first, on a worker.
    fault: Mutex<Option<Error>>,
}

impl Pool {
    /// Starts `threads - 1` workers; the thread that calls `run` is the first.
    ///
    /// # Errors
    /// `OutOfMemory` when the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self> {
        let count = threads.clamp(1, 1 << 15) - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            work: AtomicPtr::new(ptr::null_mut()),
            invited: AtomicUsize::new(count),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
            closing: AtomicBool::new(false),
            fault: Mutex::new(None),
        });
        let mut pool = Self { shared, workers: Vec::with_capacity(count), stalled: Duration::ZERO };
        for index in 0..count {
            let shared = Arc::clone(&pool.shared);
            let worker = thread::Builder::new()
                .name(format!("accel {}", index + 1))
                .spawn(move || shared.serve(index))
                .map_err(|error| Error::OutOfMemory(format!("for another thread: {error}")))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// How many threads there are, the caller among them.
    #[must_use]
    pub fn size(&self) -> usize {
        self.workers.len() + 1
    }

    /// How many threads may take part.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.shared.invited.load(Ordering::Relaxed) + 1
    }

    /// Lets only `threads` threads take part from now on.
    pub fn set_threads(&mut self, threads: usize) {
        self.shared.invited.store(threads.clamp(1, self.size()) - 1, Ordering::Relaxed);
    }

    /// How long the caller has waited for workers in the middle of a piece since it last asked.
    pub fn take_stalled(&mut self) -> Duration {
        std::mem::take(&mut self.stalled)
    }

    /// Calls `work` on every thread that comes in time, and returns when all who came are done.
    ///
    /// One call must be enough to do everything: `work` takes pieces until none is left.
    ///
    /// # Errors
    /// What `work` returned on any thread, or `Failed` where it panicked.
    pub fn run(&mut self, work: Work<'_>) -> Result<()> {
        let invited = self.threads() - 1;
        if invited == 0 {
            return Self::run_as(0, work);
        }
        self.open(ptr::from_ref(&work), invited);
        let own = Self::run_as(0, work);
        self.stalled += self.shared.close();
        let fault = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        own.and(fault.map_or(Ok(()), Err))
    }

    /// Calls `work` on this thread only: what is too little to be shared.
    ///
    /// # Errors
    /// As `run`.
    pub fn run_alone(work: Work<'_>) -> Result<()> {
        Self::run_as(0, work)
    }

    fn run_as(number: usize, work: Work<'_>) -> Result<()> {
        catch_unwind(AssertUnwindSafe(|| work(number)))
            .unwrap_or_else(|panic| Err(Error::Failed(message_of(&*panic))))
    }

    /// Opens the next phase and wakes who sleeps.
    fn open(&self, work: *const Work<'_>, invited: usize) {
        let shared = &*self.shared;
        shared.work.store(work.cast_mut().cast(), Ordering::Relaxed);
        let number = shared.state.load(Ordering::Relaxed) / NUMBER + 1;
        shared.state.store((number * NUMBER) | OPEN, Ordering::Release);
        // With the one in `sleep`: either we see that a worker is going to sleep, or it sees the phase.
        fence(Ordering::SeqCst);
        for (worker, asleep) in self.workers.iter().zip(&shared.asleep).take(invited) {
            if asleep.load(Ordering::Relaxed) {
                asleep.store(false, Ordering::Relaxed);
                worker.thread().unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // Its panics were reported by the `run` in which they happened.
            _ = worker.join();
        }
    }
}

impl Shared {
    /// What a worker does all its life.
    fn serve(&self, index: usize) {
        let mut served = 0;
        while self.wait_for_phase(index, served) {
            let state = self.state.load(Ordering::Relaxed);
            // Fails when the phase was closed or someone else has come or gone meanwhile; then we look again.
            let entered = state & OPEN != 0
                && state / NUMBER != served
                && self
                    .state
                    .compare_exchange(state, state + 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok();
            if !entered {
                continue;
            }
            served = state / NUMBER;
            // SAFETY: we are counted inside an open phase. `run` stored this pointer before it opened the phase, and
            // keeps what it points to alive until `close` has seen us go.
            #[allow(unsafe_code)]
            let work = unsafe { *self.work.load(Ordering::Relaxed) };
            if let Err(error) = Pool::run_as(index + 1, work) {
                self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until there is a phase to enter that is not `served`; `false` when the pool closes.
    fn wait_for_phase(&self, index: usize, served: u64) -> bool {
        let mut since = None;
        loop {
            for _ in 0..TURNS {
                if self.closing.load(Ordering::Acquire) {
                    return false;
                }
                if self.has_phase(index, served) {
                    return true;
                }
                spin_loop();
            }
            let invited = index < self.invited.load(Ordering::Relaxed);
            if !invited || since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                self.sleep(index, served);
                since = None;
            }
        }
    }

    fn has_phase(&self, index: usize, served: u64) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        state & OPEN != 0 && state / NUMBER != served && index < self.invited.load(Ordering::Relaxed)
    }

    fn sleep(&self, index: usize, served: u64) {
        let asleep = &self.asleep[index];
        asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !self.has_phase(index, served) && !self.closing.load(Ordering::Acquire) {
            thread::park();
        }
        asleep.store(false, Ordering::Relaxed);
    }

    /// Lets nobody else in, waits until all are out, and returns how long that took.
    fn close(&self) -> Duration {
        if self.state.fetch_and(!OPEN, Ordering::AcqRel) & INSIDE == 0 {
            return Duration::ZERO;
        }
        let since = Instant::now();
        loop {
            for _ in 0..TURNS {
                if self.state.load(Ordering::Acquire) & INSIDE == 0 {
                    return since.elapsed();
                }
                spin_loop();
            }
            // Perhaps the system took the core from the one we wait for, and can give it ours.
            thread::yield_now();
        }
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().copied();
    message.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic").to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// Takes numbers below `count`, and adds up those taken.
    fn sum_of(pool: &mut Pool, count: usize) -> usize {
        let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
        pool.run(&|_| {
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= count {
                    break;
                }
                sum.fetch_add(piece, Ordering::Relaxed);
            }
            Ok(())
        })
        .expect("no panic");
        sum.into_inner()
    }

    /// Returns only if all threads of the barrier take part.
    fn meet(pool: &mut Pool, all: &Barrier) {
        let wait = |_: usize| {
            all.wait();
            Ok(())
        };
        pool.run(&wait).expect("no panic");
    }

    #[test]
    fn every_piece_is_done_before_run_returns() {
        for threads in [1, 2, 5] {
            let mut pool = Pool::new(threads).expect("threads");
            for round in 0..5_000 {
                let count = round % 40;
                assert_eq!(sum_of(&mut pool, count), count * count.saturating_sub(1) / 2);
            }
        }
    }

    #[test]
    fn all_threads_take_part() {
        let mut pool = Pool::new(4).expect("threads");
        let (all, seen) = (Barrier::new(4), Mutex::new(HashSet::new()));
        pool.run(&|_| {
            all.wait();
            seen.lock().expect("whole").insert(thread::current().id());
            Ok(())
        })
        .expect("no panic");
        assert_eq!(seen.into_inner().expect("whole").len(), 4);
    }

    #[test]
    fn only_the_invited_take_part() {
        let mut pool = Pool::new(3).expect("threads");
        pool.set_threads(2);
        for _ in 0..2_000 {
            let calls = AtomicU32::new(0);
            let count = |_: usize| {
                calls.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            pool.run(&count).expect("no panic");
            assert!(calls.into_inner() <= 2);
        }
        pool.set_threads(3);
        let all = Barrier::new(3);
        meet(&mut pool, &all);
    }

    #[test]
    fn a_panic_anywhere_is_an_error_and_the_pool_goes_on() {
        let mut pool = Pool::new(2).expect("threads");
        let own = thread::current().id();
        for panics_here in [true, false] {
            let both = Barrier::new(2);
            let outcome = pool.run(&|_| {
                both.wait();
                assert!((thread::current().id() == own) != panics_here, "on purpose");
                Ok(())
            });
            assert_eq!(outcome, Err(Error::Failed("on purpose".into())));
            assert_eq!(sum_of(&mut pool, 10), 45);
        }
    }

    #[test]
    fn sleepers_wake() {
        let mut pool = Pool::new(2).expect("threads");
        for _ in 0..3 {
            while !pool.shared.asleep[0].load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let both = Barrier::new(2);
            meet(&mut pool, &both);
        }
    }
}
