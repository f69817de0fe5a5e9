//! The scheduler over a model that counts: whatever else goes on, each answer is the one it would be alone.

mod answers;
mod fairness;
mod fake;
mod histories;
mod prefixes;
mod speculation;
mod threads;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::machine::Machine;
use super::outbox::outbox;
use super::{Event, Finished, Job, Limits, Reader};
use fake::{Counting, Plain, WORDS, Watch};

const PLENTY: Limits = Limits { cache_bytes: 1_000_000, generations: 8 };
const LONG: Duration = Duration::from_secs(60);

struct Bench {
    machine: Machine<Counting>,
    watch: Arc<Watch>,
}

impl Bench {
    fn new(limits: Limits, repeats: bool) -> Self {
        let watch = Arc::new(Watch::default());
        let clock = Arc::clone(&watch);
        let machine =
            Machine::with_clock(Counting::new(&watch, repeats), limits, Box::new(move || clock.now()));
        Self { machine: machine.unwrap(), watch }
    }

    fn add(&mut self, job: Job) -> Reader {
        let (writer, reader) = outbox();
        self.machine.add(job, writer);
        reader
    }

    /// Steps until nothing is left to do.
    fn run(&mut self) {
        for _ in 0..100_000 {
            if self.machine.is_idle() {
                return;
            }
            self.machine.step().unwrap();
        }
        panic!("it does not come to an end");
    }

    fn answer(&mut self, job: Job) -> (String, Finished) {
        let reader = self.add(job);
        self.run();
        read(&reader)
    }

    /// How many tokens went through the model meanwhile.
    fn tokens(&mut self, act: impl FnOnce(&mut Self)) -> usize {
        let before = self.watch.tokens.load(Relaxed);
        act(self);
        self.watch.tokens.load(Relaxed) - before
    }
}

fn job(owner: &str, prompt: Vec<u32>, most_tokens: usize) -> Job {
    let voice = Box::new(Plain::new(0));
    Job { owner: Some(owner.into()), prompt, room: 1, most_tokens, voice, speculate: true }
}

fn text(seed: u32, length: usize) -> Vec<u32> {
    (0..length).map(|index| (seed * 31 + u32::try_from(index * index).unwrap()) % (WORDS - 1) + 1).collect()
}

fn shown(events: &[Event]) -> String {
    let pieces = events
        .iter()
        .filter_map(|event| if let Event::Piece { text, .. } = event { Some(text) } else { None });
    pieces.map(String::as_str).collect()
}

/// Reads to the end: the text and how it ended.
fn read(reader: &Reader) -> (String, Finished) {
    let mut events = Vec::new();
    loop {
        match reader.next(LONG, Duration::ZERO).unwrap() {
            Some(more) if more.is_empty() => break,
            Some(more) => events.extend(more),
            None => panic!("nothing came"),
        }
    }
    let ends = events.iter().filter(|event| matches!(event, Event::Finished(_))).count();
    assert_eq!(ends, 1);
    match events.last() {
        Some(&Event::Finished(finished)) => (shown(&events), finished),
        other => panic!("{other:?} came last"),
    }
}
