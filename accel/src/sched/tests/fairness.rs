//! Who waits for whom, and for how long.

use std::time::Duration;

use super::{Bench, LONG, PLENTY, job, read, shown, text};
use crate::sched::{Event, Job, Limits, Reason};

#[test]
fn a_long_prompt_does_not_stall_who_speaks() {
    let mut bench = Bench::new(PLENTY, true);
    let speaker = bench.add(Job { speculate: false, ..job("a", text(3, 10), 300) });
    for _ in 0..5 {
        bench.machine.step().unwrap();
    }
    let reader = bench.add(job("b", text(2, 390), 5));
    let mut steps = 0;
    while !matches!(reader.next(Duration::ZERO, Duration::ZERO), Ok(Some(events)) if !shown(&events).is_empty())
    {
        drop(speaker.next(Duration::ZERO, Duration::ZERO));
        bench.machine.step().unwrap();
        let spoken = speaker
            .next(Duration::ZERO, Duration::ZERO)
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
    while !matches!(modest.next(Duration::ZERO, Duration::ZERO), Ok(Some(events)) if !shown(&events).is_empty())
    {
        bench.machine.step().unwrap();
    }
    let ended = greedy.iter().filter(|reader| {
        reader
            .next(Duration::ZERO, Duration::ZERO)
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
    assert_eq!(
        waiter.next(Duration::ZERO, Duration::ZERO),
        Ok(Some(vec![Event::Reading { done: 0, total: 20 }]))
    );
    while bench.watch.now() < Duration::from_secs(1) {
        assert_eq!(waiter.next(Duration::ZERO, Duration::ZERO), Ok(None));
        bench.machine.step().unwrap();
    }
    bench.machine.step().unwrap();
    assert_eq!(
        waiter.next(Duration::ZERO, Duration::ZERO),
        Ok(Some(vec![Event::Reading { done: 0, total: 20 }]))
    );
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
    let events = reader.next(LONG, Duration::ZERO).unwrap().unwrap();
    assert!(matches!(
        events[..],
        [Event::Reading { done: 100, total: 100 }, Event::Piece { .. }, Event::Finished(_)]
    ));
}
