//! Registers what the node may call. Each module has a typed stub and a Python twin.

mod events;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(events::encode_event, module)?)
}
