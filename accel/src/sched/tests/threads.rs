//! The scheduler with its thread.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::fake::{CONTEXT, Counting, WORDS, Watch};
use super::{Bench, LONG, PLENTY, job, read, text};
use crate::error::Error;
use crate::sched::{Event, Job, Limits, Scheduler};

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
            match reader.next(LONG, Duration::ZERO) {
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
    // Waiting, running or already at its end: the model of these tests is quicker than a thread is stopped.
    let reader = scheduler.submit(job("a", text(5, 20), 380)).unwrap();
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
