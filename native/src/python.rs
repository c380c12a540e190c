//! `verdigris._native`: the decoder as a Python module. Translates arguments, results and errors, and decides nothing.

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, to_ffi};
use arrow_array::{Array, RecordBatch, StructArray};
use pyo3::buffer::PyBuffer;
use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyDict};

use crate::tally::Tally;
use crate::{Encoding, Format};

create_exception!(
    verdigris._native,
    DecodeError,
    PyValueError,
    "The body cannot be decoded. Safe: nothing of it was kept.\n\n`kind: str` is stable; `offset: int` counts bytes of the decompressed body."
);

/// Bounds on what one body may hold; see `_native.pyi`.
#[pyclass(frozen, eq, hash, from_py_object, module = "verdigris._native")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Limits(crate::Limits);

/// Writes the constructor, the getters and `repr` from the one list of fields.
macro_rules! limits_methods {
    ($($field:ident),*) => {
        #[pymethods]
        impl Limits {
            #[new]
            #[pyo3(signature = (*, $($field = crate::Limits::default().$field),*))]
            #[allow(clippy::too_many_arguments)]
            fn new($($field: usize),*) -> PyResult<Self> {
                let limits = crate::Limits { $($field),* };
                limits.check().map_err(PyValueError::new_err)?;
                Ok(Self(limits))
            }

            $(#[getter]
            fn $field(&self) -> usize {
                self.0.$field
            })*

            fn __repr__(&self) -> String {
                let fields = [$(format!("{}={}", stringify!($field), self.0.$field)),*];
                format!("Limits({})", fields.join(", "))
            }
        }
    };
}

limits_methods!(body_bytes, decoded_bytes, table_bytes, depth, spans, attributes, events, links, value_bytes);

/// One decoded body; an Arrow array by the Arrow `PyCapsule` interface.
#[pyclass(frozen, module = "verdigris._native")]
struct Decoded {
    batch: RecordBatch,
    tally: Tally,
}

#[pymethods]
impl Decoded {
    /// Rows.
    #[getter]
    fn spans(&self) -> usize {
        self.batch.num_rows()
    }

    /// Spans refused, by reason.
    #[getter]
    fn refused<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (why, count) in self.tally.refused() {
            counts.set_item(why.name(), count)?;
        }
        Ok(counts)
    }

    #[getter]
    fn ends_before_start(&self) -> u64 {
        self.tally.ends_before_start
    }

    #[getter]
    fn truncated_values(&self) -> u64 {
        self.tally.truncated_values
    }

    #[getter]
    fn dropped_attributes(&self) -> u64 {
        self.tally.dropped_attributes
    }

    #[getter]
    fn dropped_events(&self) -> u64 {
        self.tally.dropped_events
    }

    #[getter]
    fn dropped_links(&self) -> u64 {
        self.tally.dropped_links
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.batch.schema().as_ref()).map_err(internal)?;
        schema_capsule(py, schema)
    }

    /// The schema is always ours: the interface lets a producer ignore the one requested.
    #[pyo3(signature = (requested_schema = None))]
    #[allow(unused_variables, clippy::needless_pass_by_value)]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let (array, schema) = to_ffi(&StructArray::from(self.batch.clone()).to_data()).map_err(internal)?;
        Ok((schema_capsule(py, schema)?, array_capsule(py, array)?))
    }

    fn __repr__(&self) -> String {
        format!("Decoded(spans={}, refused={})", self.batch.num_rows(), self.tally.refused_spans())
    }
}

/// The capsule owns the struct, whose drop releases it unless a consumer has taken it over.
fn schema_capsule(py: Python<'_>, schema: FFI_ArrowSchema) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, schema, c"arrow_schema")
}

/// As [`schema_capsule`].
fn array_capsule(py: Python<'_>, array: FFI_ArrowArray) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, array, c"arrow_array")
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn internal(error: arrow_schema::ArrowError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Decodes one OTLP trace body; see `_native.pyi`.
#[pyfunction]
#[pyo3(signature = (body, *, format, encoding = "identity", limits = None))]
fn decode(
    py: Python<'_>,
    body: &Bound<'_, PyAny>,
    format: &str,
    encoding: &str,
    limits: Option<&Limits>,
) -> PyResult<Decoded> {
    let format = match format {
        "protobuf" => Format::Protobuf,
        "json" => Format::Json,
        _ => return Err(PyValueError::new_err("format must be \"protobuf\" or \"json\"")),
    };
    let encoding = match encoding {
        "identity" => Encoding::Identity,
        "gzip" => Encoding::Gzip,
        "zstd" => Encoding::Zstd,
        _ => return Err(PyValueError::new_err("encoding must be \"identity\", \"gzip\" or \"zstd\"")),
    };
    let limits = limits.map_or_else(crate::Limits::default, |limits| limits.0);
    let decoded = if let Ok(bytes) = body.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        py.detach(|| crate::decode(bytes, format, encoding, &limits))
    } else {
        // Another thread may write to any other buffer while we read it without the GIL, so it is copied first.
        let bytes = PyBuffer::<u8>::get(body)?.to_vec(py)?;
        py.detach(|| crate::decode(&bytes, format, encoding, &limits))
    };
    match decoded {
        Ok(crate::Decoded { batch, tally }) => Ok(Decoded { batch, tally }),
        Err(error) => {
            let raised = DecodeError::new_err(error.to_string());
            let value = raised.value(py);
            value.setattr("kind", error.kind().name())?;
            value.setattr("offset", error.offset())?;
            Err(raised)
        }
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("DecodeError", module.py().get_type::<DecodeError>())?;
    module.add_class::<Limits>()?;
    module.add_class::<Decoded>()?;
    module.add_function(wrap_pyfunction!(decode, module)?)
}
