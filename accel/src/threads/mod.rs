//! The engine's own threads.
//!
//! A step of the model is some hundred phases, each a few microseconds long, so threads meet by spinning. A phase is a
//! closure that every thread calls and that takes pieces of the work until none is left. Nobody waits for a thread that
//! has not come: one that the system runs late, or not at all because another program has its core, finds the phase
//! over and goes on to the next. Only who is in the middle of a piece is waited for; `Governor` watches how long.

mod governor;
mod load;
mod pool;

pub use governor::{Governor, Step};
pub use load::Meter;
pub use pool::{Pool, Work};
