//! How answers end, well or badly.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use super::fake::{CONTEXT, Counting, PAGE_BYTES};
use super::{Bench, LONG, PLENTY, job, read, shown, text};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::sched::machine::Machine;
use crate::sched::outbox::outbox;
use crate::sched::{Event, Job, Limits, Next, Reason, Voice};

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
    assert_eq!(shown(&failing.next(LONG, Duration::ZERO).unwrap().unwrap()), "xx");
    assert_eq!(failing.next(LONG, Duration::ZERO), Err(Error::BadRequest("no token fits".into())));
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
    reader.next(LONG, Duration::ZERO).unwrap();
    assert_eq!(reader.next(LONG, Duration::ZERO), Err(Error::OutOfMemory("asked to".into())));
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

#[test]
fn text_comes_apart_and_the_end_does_not_wait() {
    let (writer, reader) = outbox();
    let piece = |text: &str, count| Event::Piece { text: text.into(), count, tokens: Vec::new() };
    writer.reading(3, 3);
    assert_eq!(reader.next(LONG, LONG), Ok(Some(vec![Event::Reading { done: 3, total: 3 }])));
    writer.piece("a".into(), 1, None);
    assert_eq!(reader.next(LONG, LONG), Ok(Some(vec![piece("a", 1)])), "nothing was said before it");
    writer.piece("b".into(), 1, None);
    assert_eq!(reader.next(Duration::ZERO, LONG), Ok(None), "too soon");
    writer.piece("c".into(), 1, None);
    assert_eq!(reader.next(LONG, Duration::ZERO), Ok(Some(vec![piece("bc", 2)])));
    let resting = thread::spawn(move || (reader.next(LONG, LONG), reader.next(LONG, LONG)));
    writer.piece("d".into(), 1, None);
    writer.fail(Error::Failed("asked to".into()));
    let (last, end) = resting.join().expect("no panic");
    assert_eq!(last, Ok(Some(vec![piece("d", 1)])));
    assert_eq!(end, Err(Error::Failed("asked to".into())));
}
