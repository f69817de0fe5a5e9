//! Guessing ahead changes how soon tokens come, never which.

use std::sync::atomic::Ordering::Relaxed;

use super::fake::Plain;
use super::{Bench, PLENTY, job, text};
use crate::error::Result;
use crate::sched::{Job, Next, Reason, Voice};

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
