//! `verdigris._native`: the decoder as a Python module. Translates arguments, results and errors, and decides nothing.

use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, to_ffi};
use arrow_array::{Array, RecordBatch, StructArray};
use pyo3::buffer::PyBuffer;
use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyDict, PyString};

use crate::sensitive;
use crate::tally::Tally;
use crate::{Encoding, Findings, Format};

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

/// What is looked for and what is done with it; see `_native.pyi`.
#[pyclass(frozen, module = "verdigris._native")]
struct Masking(Arc<sensitive::Masking>);

#[pymethods]
impl Masking {
    #[new]
    #[pyo3(signature = (definition = "{}"))]
    fn new(definition: &str) -> PyResult<Self> {
        let read = sensitive::Masking::read(definition);
        read.map(Self).map_err(|bad| PyValueError::new_err(bad.to_string()))
    }

    #[staticmethod]
    fn off() -> Self {
        Self(sensitive::Masking::off())
    }

    #[getter]
    fn is_off(&self) -> bool {
        self.0.is_off()
    }

    /// Texts that stand alone, each as the value of an attribute `key`; `None` for one in which nothing is found.
    #[pyo3(signature = (texts, *, key = ""))]
    fn treat(&self, texts: &Bound<'_, PyAny>, key: &str) -> PyResult<Vec<Option<Treated>>> {
        let mut masker = sensitive::Masker::new(Arc::clone(&self.0));
        let place = sensitive::Place {
            position: sensitive::Position::SpanAttribute,
            key: key.as_bytes(),
            class: masker.classify(key),
        };
        let mut all = Vec::with_capacity(texts.len().unwrap_or_default());
        for text in texts.try_iter()? {
            let text = text?;
            let text = text.cast::<PyString>()?.to_str()?;
            let treated = masker.treat(text, text.len(), place);
            let detectors = masker.take_detectors();
            all.push(treated.map(|text| Treated { text, detectors, masking: Arc::clone(&self.0) }));
        }
        Ok(all)
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// What is left of a text in which something was found; see `_native.pyi`.
#[pyclass(frozen, module = "verdigris._native")]
struct Treated {
    #[pyo3(get)]
    text: String,
    detectors: Vec<sensitive::Detector>,
    masking: Arc<sensitive::Masking>,
}

#[pymethods]
impl Treated {
    #[getter]
    fn detectors(&self) -> Vec<&str> {
        self.detectors.iter().map(|&detector| self.masking.name(detector)).collect()
    }

    fn __repr__(&self) -> String {
        format!("Treated({:?}, {:?})", self.text, self.detectors())
    }
}

/// How often one detector found something in one position of one operation; see `_native.pyi`.
#[pyclass(frozen, get_all, module = "verdigris._native")]
struct Finding {
    detector: String,
    position: &'static str,
    service: String,
    operation: String,
    treatment: &'static str,
    count: u64,
    sample: String,
}

#[pymethods]
impl Finding {
    fn __repr__(&self) -> String {
        let Self { detector, position, service, operation, treatment, count, sample } = self;
        format!("Finding({count} x {detector} in {position} of {service:?} {operation:?}, {treatment}: {sample:?})")
    }
}

/// One decoded body; an Arrow array by the Arrow `PyCapsule` interface.
#[pyclass(frozen, module = "verdigris._native")]
struct Decoded {
    batch: RecordBatch,
    tally: Tally,
    findings: Findings,
    masking: Arc<sensitive::Masking>,
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

    /// What was sensitive, in the order in which it was met first.
    #[getter]
    fn findings(&self) -> Vec<Finding> {
        let shown = |finding: &sensitive::Finding| Finding {
            detector: self.masking.name(finding.detector).to_owned(),
            position: finding.position.name(),
            service: finding.service.clone(),
            operation: finding.operation.clone(),
            treatment: if finding.allowed { "allow" } else { self.masking.treatment(finding.detector).name() },
            count: finding.count,
            sample: finding.sample.clone(),
        };
        self.findings.list().iter().map(shown).collect()
    }

    #[getter]
    fn findings_uncounted(&self) -> u64 {
        self.findings.uncounted()
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
#[pyo3(signature = (body, *, format, encoding = "identity", limits = None, masking = None))]
fn decode(
    py: Python<'_>,
    body: &Bound<'_, PyAny>,
    format: &str,
    encoding: &str,
    limits: Option<&Limits>,
    masking: Option<&Masking>,
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
    let masking = masking.map_or_else(sensitive::Masking::strict, |masking| Arc::clone(&masking.0));
    let shared = Arc::clone(&masking);
    let decoded = if let Ok(bytes) = body.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        py.detach(|| crate::decode_masked(bytes, format, encoding, &limits, shared))
    } else {
        // Another thread may write to any other buffer while we read it without the GIL, so it is copied first.
        let bytes = PyBuffer::<u8>::get(body)?.to_vec(py)?;
        py.detach(|| crate::decode_masked(&bytes, format, encoding, &limits, shared))
    };
    match decoded {
        Ok(crate::Decoded { batch, tally, findings }) => Ok(Decoded { batch, tally, findings, masking }),
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
    module.add_class::<Masking>()?;
    module.add_class::<Finding>()?;
    module.add_class::<Treated>()?;
    module.add_class::<Decoded>()?;
    module.add_function(wrap_pyfunction!(decode, module)?)
}
