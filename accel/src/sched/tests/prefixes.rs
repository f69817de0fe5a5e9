//! What is kept of prompts and answers, and for whom.

use super::fake::PAGE_BYTES;
use super::{Bench, PLENTY, job, read, text};
use crate::sched::{Job, Limits};

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
