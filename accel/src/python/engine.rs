//! The engine for Python. What takes time lets other Python threads run meanwhile.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::errors::{at_once, without_python};
use crate::engine;
use crate::error::{Error, Result};
use crate::request::read;
use crate::sched::Reader;

/// One loaded model.
#[pyclass(frozen, module = "accel._native")]
pub struct Engine(Mutex<Option<Arc<engine::Engine>>>);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (path, options, progress))]
    #[allow(clippy::needless_pass_by_value)] // PyO3 gives arguments by value.
    fn new(python: Python<'_>, path: &str, options: &[u8], progress: Option<Py<PyAny>>) -> PyResult<Self> {
        let mut raised = None;
        let mut report = |done: u64, total: u64| {
            let Some(progress) = &progress else { return true };
            let called = Python::attach(|python| progress.call1(python, (done, total)).map(drop));
            raised = called.err();
            raised.is_none()
        };
        let loaded =
            without_python(python, || engine::Engine::load(Path::new(path), &read(options)?, &mut report));
        match raised {
            Some(error) => Err(error),
            None => Ok(Self(Mutex::new(Some(Arc::new(loaded?))))),
        }
    }

    #[getter]
    fn description<'py>(&self, python: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let engine = self.open()?;
        let json = without_python(python, || to_json(engine.description()))?;
        Ok(PyBytes::new(python, &json))
    }

    fn start(&self, python: Python<'_>, request: &[u8]) -> PyResult<Generation> {
        let engine = self.open()?;
        without_python(python, || engine.start(read(request)?)).map(Generation)
    }

    fn prompt(&self, python: Python<'_>, request: &[u8]) -> PyResult<Vec<u32>> {
        let engine = self.open()?;
        without_python(python, || engine.prompt(&read(request)?))
    }

    #[pyo3(signature = (text, *, parse_special = false))]
    fn tokenize(&self, python: Python<'_>, text: &str, parse_special: bool) -> PyResult<Vec<u32>> {
        let engine = self.open()?;
        without_python(python, || Ok(engine.tokenize(text, parse_special)))
    }

    fn score(&self, python: Python<'_>, tokens: Vec<u32>) -> PyResult<Vec<f32>> {
        let engine = self.open()?;
        without_python(python, || engine.score(tokens))
    }

    fn embed(&self, python: Python<'_>, text: &str) -> PyResult<(Vec<f32>, usize)> {
        let engine = self.open()?;
        without_python(python, || engine.embed(text))
    }

    fn close(&self, python: Python<'_>) -> PyResult<()> {
        let engine = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        without_python(python, || {
            if let Some(engine) = engine {
                engine.close();
            }
            Ok(())
        })
    }
}

impl Engine {
    fn open(&self) -> Result<Arc<engine::Engine>> {
        let engine = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        engine.ok_or_else(|| Error::Failed("it is closed".into()))
    }
}

/// How far apart text comes unless it is said: as often as a screen is drawn. Token by token, each woke three threads on
/// its way to a browser, which on two cores took a tenth of the engine's speed.
const APART_S: f64 = 1.0 / 60.0;

/// One answer as it is made.
#[pyclass(frozen, module = "accel._native")]
pub struct Generation(Reader);

#[pymethods]
impl Generation {
    #[pyo3(signature = (timeout_s, apart_s = APART_S))]
    fn next<'py>(
        &self,
        python: Python<'py>,
        timeout_s: f64,
        apart_s: f64,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let [timeout, apart] = [timeout_s, apart_s].map(seconds);
        let json = without_python(python, || {
            self.0.next(timeout, apart)?.map(|events| to_json(&events)).transpose()
        })?;
        Ok(json.map(|json| PyBytes::new(python, &json)))
    }

    fn stop(&self) -> PyResult<()> {
        at_once(|| {
            self.0.stop();
            Ok(())
        })
    }
}

fn seconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count).unwrap_or(Duration::MAX)
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Failed(error.to_string()))
}
