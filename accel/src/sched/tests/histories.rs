//! Whatever happens in whatever order.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use proptest::prelude::*;

use super::fake::{PAGE_BYTES, Plain};
use super::{Bench, shown, text};
use crate::sched::{Event, Job, Limits, Reader, Reason};

#[derive(Debug, Clone)]
struct Ask {
    owner: usize,
    /// Prompts of the same root begin alike.
    root: u32,
    length: usize,
    branch: u32,
    most_tokens: usize,
    seed: u32,
    speculate: bool,
}

impl Ask {
    fn job(&self) -> Job {
        let mut prompt = text(self.root, self.length);
        prompt.extend(text(self.branch + 10, 5));
        let voice = Box::new(Plain::new(self.seed));
        let owner = ["a", "b", ""][self.owner];
        let owner = (!owner.is_empty()).then(|| owner.to_owned());
        Job { owner, prompt, room: 1, most_tokens: self.most_tokens, voice, speculate: self.speculate }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Ask(Ask),
    Stop(usize),
    Leave(usize),
    Read(usize),
    Step(usize),
}

fn asks() -> impl Strategy<Value = Ask> {
    let places = (0..3_usize, 0..3_u32, 1..120_usize, 0..2_u32);
    (places, 1..80_usize, 0..3_u32, any::<bool>()).prop_map(
        |((owner, root, length, branch), most_tokens, seed, speculate)| Ask {
            owner,
            root,
            length,
            branch,
            most_tokens,
            seed,
            speculate,
        },
    )
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => asks().prop_map(Act::Ask),
        1 => (0..20_usize).prop_map(Act::Stop),
        1 => (0..20_usize).prop_map(Act::Leave),
        2 => (0..20_usize).prop_map(Act::Read),
        6 => (1..12_usize).prop_map(Act::Step),
    ];
    prop::collection::vec(act, 1..40)
}

struct Asked {
    ask: Ask,
    reader: Option<Reader>,
    events: Vec<Event>,
    is_stopped: bool,
}

impl Asked {
    fn read(&mut self) {
        if let Some(reader) = &self.reader {
            self.events.extend(reader.next(Duration::ZERO, Duration::ZERO).unwrap().unwrap_or_default());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_says_what_it_would_alone(acts in acts(), pages in 40..160_usize, generations in 1..9_usize, repeats: bool) {
        let limits = Limits { cache_bytes: pages * PAGE_BYTES, generations };
        let mut bench = Bench::new(limits, repeats);
        let mut all: Vec<Asked> = Vec::new();
        for act in acts {
            let count = all.len().max(1);
            match act {
                Act::Ask(ask) => {
                    let reader = Some(bench.add(ask.job()));
                    all.push(Asked { ask, reader, events: Vec::new(), is_stopped: false });
                }
                Act::Stop(which) => if let Some(asked) = all.get_mut(which % count) {
                    asked.is_stopped = true;
                    asked.reader.as_ref().map(Reader::stop);
                },
                Act::Leave(which) => if let Some(asked) = all.get_mut(which % count) { asked.reader = None },
                Act::Read(which) => if let Some(asked) = all.get_mut(which % count) { asked.read() },
                Act::Step(steps) => for _ in 0..steps { bench.machine.step().unwrap() },
            }
        }
        bench.run();
        prop_assert!(bench.watch.most_bytes.load(Relaxed) <= limits.cache_bytes);
        for asked in &mut all {
            asked.read();
            let Some(reader) = &asked.reader else { continue };
            prop_assert_eq!(reader.next(Duration::ZERO, Duration::ZERO), Ok(Some(Vec::new())));
            let ends = asked.events.iter().filter(|event| matches!(event, Event::Finished(_))).count();
            prop_assert_eq!(ends, 1);
            let Some(&Event::Finished(finished)) = asked.events.last() else { panic!("it did not end last") };
            let job = Job { owner: None, speculate: false, ..asked.ask.job() };
            let context = bench.machine.context();
            let (alone, expected) = Bench::new(limits, repeats).answer(Job { most_tokens: job.most_tokens.min(context), ..job });
            if finished.reason == Reason::Stopped {
                prop_assert!(asked.is_stopped);
                let shown = shown(&asked.events);
                prop_assert!(alone.starts_with(shown.trim_end_matches('.')));
            } else {
                prop_assert_eq!(shown(&asked.events), alone);
                prop_assert_eq!((finished.reason, finished.completion_tokens), (expected.reason, expected.completion_tokens));
            }
        }
        // Only prompts that are kept are left, and they go when the memory is wanted.
        prop_assert!(bench.watch.open.load(Relaxed) <= all.len());
    }
}
