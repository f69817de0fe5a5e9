//! The scheduler over a model that counts: whatever else goes on, each answer is the one it would be alone.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use proptest::prelude::*;

use super::fake::{CONTEXT, Counting, PAGE_BYTES, Plain, WORDS, Watch};
use super::machine::Machine;
use super::outbox::{Event, Finished, Reader, Reason, outbox};
use super::{Job, Limits, Next, Scheduler, Voice};
use crate::decoder::Decoder;
use crate::error::{Error, Result};

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
        match reader.next(LONG).unwrap() {
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

#[test]
fn an_answer_ends_by_its_end_token_or_its_most_tokens() {
    let mut bench = Bench::new(PLENTY, false);
    let mut reasons = Vec::new();
    for seed in 0..20 {
        let (text, finished) = bench.answer(job("a", text(seed, 20), 60));
        let words = text.split_whitespace().filter(|word| *word != ".").count();
        match finished.reason {
            Reason::End => assert_eq!(words + 1, finished.completion_tokens),
            Reason::Length => assert_eq!((words, finished.completion_tokens), (60, 60)),
            Reason::Stopped => panic!("nobody stopped it"),
        }
        // What was held back is shown when no further token comes.
        assert_eq!(text.ends_with('.'), finished.reason == Reason::Length);
        reasons.push(finished.reason);
    }
    assert!(reasons.contains(&Reason::End) && reasons.contains(&Reason::Length));
}

#[test]
fn an_answer_ends_where_the_context_does() {
    let mut bench = Bench::new(PLENTY, true);
    let context = bench.machine.context();
    assert_eq!(context, CONTEXT);
    let (_, finished) = bench.answer(job("a", text(5, context - 7), 1000));
    assert_eq!((finished.reason, finished.completion_tokens), (Reason::Length, 7));
}

#[test]
fn the_next_turn_begins_where_the_last_one_ended() {
    let mut bench = Bench::new(PLENTY, false);
    let first = text(1, 200);
    let mut second = first.clone();
    let (answer, finished) = bench.answer(job("a", first, 20));
    second.extend(answer.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    second.extend(text(2, 10));
    let mut cached = 0;
    let read = bench.tokens(|bench| cached = bench.answer(job("a", second.clone(), 1)).1.cached_tokens);
    assert_eq!(cached, 200 + finished.completion_tokens - 1);
    assert_eq!(read, second.len() - cached);
}

#[test]
fn the_same_prompt_is_not_read_again() {
    let mut bench = Bench::new(PLENTY, false);
    let first = bench.answer(job("a", text(1, 100), 30)).0;
    let again = bench.answer(job("a", text(1, 100), 30));
    assert_eq!((again.0, again.1.cached_tokens), (first, 99));
}

#[test]
fn a_running_answer_lends_its_prompt() {
    let mut bench = Bench::new(PLENTY, false);
    let one = bench.add(job("a", text(1, 100), 40));
    for _ in 0..6 {
        bench.machine.step().unwrap();
    }
    let two = bench.add(job("a", text(1, 100), 40));
    bench.run();
    assert_eq!(read(&two).1.cached_tokens, 99);
    drop(one);
}

#[test]
fn owners_share_nothing() {
    let mut bench = Bench::new(PLENTY, false);
    let first = bench.answer(job("a", text(1, 100), 5)).0;
    let other = bench.answer(job("b", text(1, 100), 5));
    assert_eq!((other.0, other.1.cached_tokens), (first.clone(), 0));
    for _ in 0..2 {
        let nobody = bench.answer(Job { owner: None, ..job("a", text(1, 100), 5) });
        assert_eq!((nobody.0, nobody.1.cached_tokens), (first.clone(), 0));
    }
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    // Room for two prompts of 100 tokens, and for one that runs and grows.
    let mut bench = Bench::new(Limits { cache_bytes: 50 * PAGE_BYTES, generations: 1 }, false);
    for seed in [1, 2, 1, 3, 4] {
        bench.answer(job("a", text(seed, 100), 2));
    }
    assert_eq!(bench.answer(job("a", text(1, 100), 2)).1.cached_tokens, 99);
    assert_eq!(bench.answer(job("a", text(2, 100), 2)).1.cached_tokens, 0);
}

#[test]
fn a_long_prompt_does_not_stall_who_speaks() {
    let mut bench = Bench::new(PLENTY, true);
    let speaker = bench.add(Job { speculate: false, ..job("a", text(3, 10), 300) });
    for _ in 0..5 {
        bench.machine.step().unwrap();
    }
    let reader = bench.add(job("b", text(2, 390), 5));
    let mut steps = 0;
    while !matches!(reader.next(Duration::ZERO), Ok(Some(events)) if !shown(&events).is_empty()) {
        drop(speaker.next(Duration::ZERO));
        bench.machine.step().unwrap();
        let spoken = speaker
            .next(Duration::ZERO)
            .unwrap()
            .map_or(0, |events| shown(&events).split_whitespace().count());
        assert_eq!(spoken, 1, "each step carries it on");
        steps += 1;
    }
    assert!(steps >= 390 / 48, "the prompt was read in {steps} steps");
}

#[test]
fn a_short_prompt_does_not_wait_for_a_long_one() {
    let mut bench = Bench::new(PLENTY, false);
    let long = bench.add(job("a", text(1, 390), 5));
    let short = bench.add(job("b", text(2, 20), 1));
    for _ in 0..2 {
        bench.machine.step().unwrap();
    }
    assert_eq!(read(&short).1.completion_tokens, 1);
    drop(long);
}

#[test]
fn owners_take_turns() {
    let mut bench = Bench::new(Limits { generations: 2, ..PLENTY }, false);
    let greedy: Vec<_> = (0..10).map(|seed| bench.add(job("a", text(seed, 10), 20))).collect();
    let modest = bench.add(job("b", text(20, 10), 20));
    while !matches!(modest.next(Duration::ZERO), Ok(Some(events)) if !shown(&events).is_empty()) {
        bench.machine.step().unwrap();
    }
    let ended = greedy.iter().filter(|reader| {
        reader
            .next(Duration::ZERO)
            .unwrap()
            .is_some_and(|events| matches!(events.last(), Some(Event::Finished(_))))
    });
    assert!(ended.count() <= 2);
}

#[test]
fn who_waits_hears_that_others_get_on() {
    let mut bench = Bench::new(Limits { generations: 1, ..PLENTY }, true);
    let speaker = bench.add(Job { speculate: false, ..job("a", text(5, 20), 350) });
    let waiter = bench.add(job("a", text(4, 20), 5));
    assert_eq!(waiter.next(Duration::ZERO), Ok(Some(vec![Event::Reading { done: 0, total: 20 }])));
    while bench.watch.now() < Duration::from_secs(1) {
        assert_eq!(waiter.next(Duration::ZERO), Ok(None));
        bench.machine.step().unwrap();
    }
    bench.machine.step().unwrap();
    assert_eq!(waiter.next(Duration::ZERO), Ok(Some(vec![Event::Reading { done: 0, total: 20 }])));
    drop(speaker);
}

#[test]
fn a_stop_is_seen_at_the_next_step() {
    let mut bench = Bench::new(PLENTY, true);
    let readers: Vec<_> = (0..3).map(|seed| bench.add(job("a", text(seed, 300), 50))).collect();
    bench.machine.step().unwrap();
    readers[1].stop();
    bench.machine.step().unwrap();
    let (text, finished) = read(&readers[1]);
    assert_eq!((text.as_str(), finished.reason, finished.completion_tokens), (".", Reason::Stopped, 0));
    let mut readers = readers;
    readers.clear();
    bench.machine.step().unwrap();
    assert!(bench.machine.is_idle(), "nobody listens any more");
}

#[test]
fn a_stalled_reader_costs_two_events() {
    let mut bench = Bench::new(PLENTY, true);
    let reader = bench.add(job("a", text(3, 100), 200));
    bench.run();
    let events = reader.next(LONG).unwrap().unwrap();
    assert!(matches!(
        events[..],
        [Event::Reading { done: 100, total: 100 }, Event::Piece { .. }, Event::Finished(_)]
    ));
}

#[test]
fn copying_takes_fewer_steps() {
    let steps = |speculate| {
        let mut bench = Bench::new(PLENTY, true);
        let (text, finished) = bench.answer(Job { speculate, ..job("a", text(3, 30), 300) });
        (text, finished.reason, bench.watch.now())
    };
    let (with, without) = (steps(true), steps(false));
    assert_eq!((with.0, with.1), (without.0, without.1));
    assert!(with.2.mul_f64(1.4) < without.2, "{:?} against {:?}", with.2, without.2);
}

#[test]
fn guessing_wrong_costs_little() {
    let took = |speculate| {
        let mut bench = Bench::new(PLENTY, false);
        let mut all = Vec::new();
        for seed in 0..20 {
            // A seeded voice says what was never there before, though three tokens in a row often were.
            let voice = Box::new(Plain::new(seed + 1));
            let prompt = text(1, 12).repeat(4);
            all.push(bench.answer(Job { voice, speculate, ..job("a", prompt, 300) }).0);
        }
        (all, bench.watch.now())
    };
    let (with, without) = (took(true), took(false));
    assert_eq!(with.0, without.0);
    assert!(with.1.mul_f64(0.98) < without.1, "{:?} against {:?}", with.1, without.1);
}

/// Says what it is told to.
struct Told(Vec<u32>);

impl Voice for Told {
    fn next(&mut self, _: &mut [f32]) -> Result<Next> {
        let token = self.0.remove(0);
        Ok(Next { token, text: String::new(), ends: self.0.is_empty(), record: None })
    }

    fn rest(&mut self) -> String {
        String::new()
    }

    fn foresee(&self, most: usize) -> &[u32] {
        &self.0[..most.min(self.0.len())]
    }
}

#[test]
fn what_is_foreseen_is_done_at_once() {
    let mut bench = Bench::new(PLENTY, false);
    let voice = Box::new(Told(text(4, 90)));
    let tokens = bench.tokens(|bench| {
        let finished = bench.answer(Job { owner: None, voice, ..job("", vec![1], 1000) }).1;
        assert_eq!((finished.reason, finished.completion_tokens), (Reason::End, 90));
    });
    assert_eq!(tokens, 90, "each went through the model once");
    assert!(bench.watch.steps.load(Relaxed) <= 11);
}

/// Fails with its third token.
struct Failing(usize);

impl Voice for Failing {
    fn next(&mut self, _: &mut [f32]) -> Result<Next> {
        self.0 += 1;
        if self.0 == 3 {
            return Err(Error::BadRequest("no token fits".into()));
        }
        Ok(Next { token: 7, text: "x".into(), ends: false, record: None })
    }

    fn rest(&mut self) -> String {
        String::new()
    }
}

#[test]
fn one_that_fails_fails_alone_after_what_it_said() {
    let mut bench = Bench::new(PLENTY, false);
    let failing = bench.add(Job { voice: Box::new(Failing(0)), ..job("a", text(1, 10), 50) });
    let other = bench.add(job("a", text(2, 10), 50));
    bench.run();
    assert_eq!(shown(&failing.next(LONG).unwrap().unwrap()), "xx");
    assert_eq!(failing.next(LONG), Err(Error::BadRequest("no token fits".into())));
    read(&other);
}

#[test]
fn a_system_out_of_memory_puts_back_who_came_last() {
    let alone = Bench::new(PLENTY, false).answer(job("a", text(2, 60), 40));
    let mut bench = Bench::new(PLENTY, false);
    bench.watch.out_of_memory_at.store(5, Relaxed);
    let first = bench.add(job("a", text(1, 60), 40));
    let second = bench.add(job("b", text(2, 60), 40));
    bench.run();
    read(&first);
    assert_eq!(read(&second).0, alone.0);
}

#[test]
fn alone_and_out_of_memory_it_fails_by_name() {
    let mut bench = Bench::new(PLENTY, false);
    bench.watch.out_of_memory_at.store(2, Relaxed);
    let reader = bench.add(job("a", text(1, 60), 40));
    bench.run();
    reader.next(LONG).unwrap();
    assert_eq!(reader.next(LONG), Err(Error::OutOfMemory("asked to".into())));
    bench.answer(job("a", text(1, 60), 40));
}

#[test]
fn the_bound_shortens_the_context() {
    let decoder = Counting::new(&Arc::default(), false);
    let bound = decoder.cache_bytes_for(100) + decoder.cache_bytes_for(1);
    let mut bench = Bench::new(Limits { cache_bytes: bound, generations: 4 }, true);
    let context = bench.machine.context();
    assert!((100..CONTEXT).contains(&context));
    let (_, finished) = bench.answer(job("a", text(5, 20), 1000));
    assert_eq!((finished.reason, finished.completion_tokens), (Reason::Length, context - 20));
    assert!(bench.watch.most_bytes.load(Relaxed) <= bound);
    let nothing = Machine::new(decoder, Limits { cache_bytes: PAGE_BYTES, generations: 4 });
    assert!(matches!(nothing, Err(Error::OutOfMemory(_))));
}

// With its thread.

#[test]
fn a_prompt_without_room_is_refused_at_once() {
    let watch = Arc::new(Watch::default());
    let scheduler = Scheduler::start(Counting::new(&watch, false), PLENTY).unwrap();
    let refused = |job| scheduler.submit(job).err();
    assert_eq!(refused(job("a", text(1, CONTEXT), 5)), Some(Error::TooLong { tokens: CONTEXT }));
    assert_eq!(
        refused(Job { room: CONTEXT - 9, ..job("a", text(1, 10), 5) }),
        Some(Error::TooLong { tokens: 10 })
    );
    for wrong in [vec![], vec![1, WORDS]] {
        assert!(matches!(refused(job("a", wrong, 5)), Some(Error::BadRequest(_))));
    }
    assert_eq!(watch.steps.load(Relaxed), 0);
    read(&scheduler.submit(Job { room: CONTEXT - 10, ..job("a", text(1, 10), 5) }).unwrap());
}

#[test]
fn a_panic_is_heard_by_every_open_answer_and_the_engine_is_dead() {
    let watch = Arc::new(Watch::default());
    watch.panic_at.store(9, Relaxed);
    let scheduler =
        Scheduler::start(Counting::new(&watch, true), Limits { generations: 2, ..PLENTY }).unwrap();
    let readers: Vec<_> =
        (0..5).filter_map(|seed| scheduler.submit(job("a", text(seed, 300), 350)).ok()).collect();
    for reader in &readers {
        let error = loop {
            match reader.next(LONG) {
                Ok(Some(events)) => assert!(!events.iter().any(|event| matches!(event, Event::Finished(_)))),
                Ok(None) => panic!("nothing came"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Failed(_)));
    }
    scheduler.close();
    assert!(matches!(scheduler.submit(job("a", text(1, 10), 5)), Err(Error::Failed(_))));
}

#[test]
fn closing_stops_what_runs() {
    let scheduler = Scheduler::start(Counting::new(&Arc::default(), true), PLENTY).unwrap();
    let reader = scheduler.submit(job("a", text(5, 20), 380)).unwrap();
    reader.next(LONG).unwrap();
    scheduler.close();
    read(&reader);
}

#[test]
fn many_threads_ask_at_once() {
    let scheduler = Scheduler::start(Counting::new(&Arc::default(), true), PLENTY).unwrap();
    std::thread::scope(|threads| {
        for seed in 0..8 {
            let scheduler = &scheduler;
            threads.spawn(move || {
                for turn in 0..5 {
                    let prompt = text(seed * 5 + turn, 30);
                    let alone = Bench::new(PLENTY, true).answer(job("a", prompt.clone(), 50)).0;
                    assert_eq!(read(&scheduler.submit(job("a", prompt, 50)).unwrap()).0, alone);
                }
            });
        }
    });
}

// Whatever happens in whatever order.

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
            self.events.extend(reader.next(Duration::ZERO).unwrap().unwrap_or_default());
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
            prop_assert_eq!(reader.next(Duration::ZERO), Ok(Some(Vec::new())));
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
