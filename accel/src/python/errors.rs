//! Errors as the exceptions of `accel/python/accel/errors.py`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::sched::panic_message;

mod exceptions {
    use pyo3::import_exception;

    import_exception!(accel.errors, Damaged);
    import_exception!(accel.errors, Unsupported);
    import_exception!(accel.errors, OutOfMemory);
    import_exception!(accel.errors, TooLong);
    import_exception!(accel.errors, BadRequest);
    import_exception!(accel.errors, Failed);
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Damaged(_) => exceptions::Damaged::new_err(text),
            Error::Unsupported(_) => exceptions::Unsupported::new_err(text),
            Error::OutOfMemory(_) => exceptions::OutOfMemory::new_err(text),
            Error::TooLong { tokens } => exceptions::TooLong::new_err((tokens,)),
            Error::BadRequest(_) => exceptions::BadRequest::new_err(text),
            Error::Failed(_) => exceptions::Failed::new_err(text),
        }
    }
}

/// Does work that needs no Python, with other Python threads running. A panic is `Failed`.
pub fn without_python<T: Send>(python: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    python.detach(|| whole(work)).map_err(PyErr::from)
}

/// Does work that is sooner done than other threads are woken. A panic is `Failed`.
pub fn at_once<T>(work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    whole(work).map_err(PyErr::from)
}

fn whole<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    outcome.unwrap_or_else(|panic| Err(Error::Failed(panic_message(panic.as_ref()))))
}
