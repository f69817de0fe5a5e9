//! Continuous batching: one thread owns the model, and each of its steps carries every answer on by a token while it
//! reads a part of the prompts that wait.
//!
//! `machine` is the whole behaviour as a plain state machine; this module gives it a thread. What a generation says
//! depends on its request alone: neither the batch, nor what was cached, nor what was guessed ahead changes a token.

mod generation;
pub mod limits;
mod lookup;
mod machine;
pub mod outbox;
mod pace;
mod plan;
mod prefixes;
mod speculation;
pub mod voice;

// A test says what is wrong by panicking.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::decoder::Decoder;
use crate::error::{Error, Result};

pub use limits::Limits;
use machine::Machine;
pub use outbox::{Event, Finished, Reader, Reason};
use outbox::{Writer, outbox};
pub use voice::{Likely, Next, Record, Voice};

/// What to say, and how.
pub struct Job {
    /// Whose it is: the cache of one owner's prompts is never of use to another, so that nobody can find out by the
    /// clock what others asked. `None` shares with nobody and keeps nothing.
    pub owner: Option<String>,
    pub prompt: Vec<u32>,
    /// How many tokens of the context the prompt must leave for the answer.
    pub room: usize,
    /// The most tokens of the answer.
    pub most_tokens: usize,
    pub voice: Box<dyn Voice>,
    /// Whether to guess ahead from the text so far; changes how soon tokens come, never which.
    pub speculate: bool,
}

/// The thread that owns a model. Dropping it ends every generation and waits for the thread.
pub struct Scheduler {
    jobs: Mutex<Option<Sender<(Job, Writer)>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    context: usize,
    vocabulary: usize,
}

impl Scheduler {
    /// Starts the thread.
    ///
    /// # Errors
    /// `OutOfMemory` when the cache may not even hold one short answer; `Failed` when there is no thread to be had.
    pub fn start(decoder: impl Decoder + 'static, limits: Limits) -> Result<Self> {
        let vocabulary = decoder.vocabulary();
        let machine = Machine::new(decoder, limits)?;
        let context = machine.context();
        let (jobs, received) = channel();
        let thread = std::thread::Builder::new()
            .name("scheduler".into())
            .spawn(move || work(machine, &received))
            .map_err(|error| Error::Failed(error.to_string()))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)), context, vocabulary })
    }

    /// The most tokens of prompt and answer together: the model's own limit, or as many as the cache may hold.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// Queues a job and returns where its events come out.
    ///
    /// # Errors
    /// `TooLong` when the prompt does not leave its room, `BadRequest` when it is empty or has tokens that are none, `Failed` when the thread is
    /// gone.
    pub fn submit(&self, job: Job) -> Result<Reader> {
        if job.prompt.is_empty() {
            return Err(Error::BadRequest("the prompt is empty".into()));
        }
        if let Some(token) = job.prompt.iter().find(|&&token| token as usize >= self.vocabulary) {
            return Err(Error::BadRequest(format!("there is no token {token}")));
        }
        if job.prompt.len() + job.room.max(1) > self.context {
            return Err(Error::TooLong { tokens: job.prompt.len() });
        }
        let (writer, reader) = outbox();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = jobs.as_ref().is_some_and(|jobs| jobs.send((job, writer)).is_ok());
        if sent { Ok(reader) } else { Err(Error::Failed("its thread has ended".into())) }
    }

    /// Ends every generation as stopped, gives the model back and waits until that is done.
    pub fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic was caught inside; there is nothing left to hear of it here.
            let _ = thread.join();
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.close();
    }
}

/// Steps while there is work. Whatever ends this thread, every open generation hears of it.
fn work<D: Decoder>(mut machine: Machine<D>, jobs: &Receiver<(Job, Writer)>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| serve(&mut machine, jobs)));
    let error = match outcome {
        Ok(Ok(())) => return machine.close(),
        Ok(Err(error)) => error,
        Err(panic) => Error::Failed(panic_message(panic.as_ref())),
    };
    machine.fail(&error);
    // A model that has panicked may panic again on its way out.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(machine)));
}

fn serve<D: Decoder>(machine: &mut Machine<D>, jobs: &Receiver<(Job, Writer)>) -> Result<()> {
    loop {
        if machine.is_idle() {
            let Ok((job, writer)) = jobs.recv() else { return Ok(()) };
            machine.add(job, writer);
        }
        loop {
            match jobs.try_recv() {
                Ok((job, writer)) => machine.add(job, writer),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        machine.step()?;
    }
}

/// What a panic said.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}
