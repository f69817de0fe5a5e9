//! What Python sees: each function here has its typed stub in `_native.pyi` and its twin behind the import door.

mod engine;
mod errors;
mod text;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::events;
use errors::at_once;

/// One server-sent event. Raises `ValueError` when id or kind is not a single line.
#[pyfunction]
fn encode_event<'py>(
    python: Python<'py>,
    event_id: &str,
    kind: &str,
    data: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    at_once(|| Ok(events::frame(event_id, kind, data)))?
        .map(|bytes| PyBytes::new(python, &bytes))
        .ok_or_else(|| PyValueError::new_err("an event's id and kind are single lines"))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<engine::Engine>()?;
    module.add_class::<engine::Generation>()?;
    module.add_class::<text::Tokenizer>()?;
    module.add_function(wrap_pyfunction!(text::render_template, module)?)?;
    module.add_function(wrap_pyfunction!(encode_event, module)?)
}
