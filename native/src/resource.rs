//! What is said once and holds for many spans: resource and scope, and the columns that repeat them.

use crate::attributes::{Attributes, Shared};
use crate::dictionary::Dictionary;
use crate::error::Result;
use crate::text::offset;

/// Attribute of the resource that names the service.
const SERVICE_NAME: &[u8] = b"service.name";

/// The scope that made the spans; its attributes have no column.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Name of the instrumentation.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether its spans are refused for what it holds.
    pub refuse: bool,
}

impl Scope {
    /// Bytes it adds to each span.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.name.len() + self.version.len()
    }
}

/// A resource, as indices into the dictionaries of [`Repeated`].
#[derive(Default)]
pub struct Resource {
    keys: Vec<i32>,
    values: Vec<i32>,
    service: i32,
    /// Bytes it adds to each span when written out.
    pub bytes: usize,
    /// Whether its spans are refused for what it holds.
    pub refuse: bool,
}

/// The columns that have the same value for all spans of a scope, dictionary-encoded, values included: a resource's values
/// repeat by nature, which those of a span's attributes do not.
#[derive(Default)]
pub struct Repeated {
    pub(crate) services: Vec<i32>,
    pub(crate) service_strings: Dictionary,
    pub(crate) lists: Vec<i32>,
    pub(crate) keys: Vec<i32>,
    pub(crate) values: Vec<i32>,
    pub(crate) value_strings: Dictionary,
    pub(crate) scope_names: Vec<i32>,
    pub(crate) scope_name_strings: Dictionary,
    pub(crate) scope_versions: Vec<i32>,
    pub(crate) scope_version_strings: Dictionary,
    /// Bytes of these columns when written out.
    pub(crate) bytes: usize,
}

impl Repeated {
    /// Spans that have their resource.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.services.len()
    }

    /// A resource to repeat; `attributes` holds its one list, closed. The spans that follow are of its service.
    pub fn resource(&mut self, attributes: &Attributes, shared: &mut Shared) -> Result<Resource> {
        let mut resource = Resource::default();
        let mut service = "";
        for (key, value) in attributes.entries() {
            // Cannot fail: the values of a list were UTF-8 when they were written.
            let value = std::str::from_utf8(value).unwrap_or_default();
            resource.keys.push(key);
            resource.values.push(self.value_strings.index(value)?);
            if shared.keys.holds(key, SERVICE_NAME) {
                service = value;
            }
        }
        resource.service = self.service_strings.index(service)?;
        resource.bytes = attributes.bytes() + service.len();
        shared.masker.open_service(service);
        resource.refuse = shared.masker.close_resource();
        Ok(resource)
    }

    /// Gives `spans` more spans this resource and scope.
    pub fn push(&mut self, spans: usize, resource: &Resource, scope: &Scope) -> Result<()> {
        let rows = self.rows() + spans;
        if self.lists.is_empty() {
            self.lists.push(0);
        }
        self.lists.reserve(spans);
        self.keys.reserve(spans * resource.keys.len());
        self.values.reserve(spans * resource.values.len());
        for _ in 0..spans {
            self.keys.extend_from_slice(&resource.keys);
            self.values.extend_from_slice(&resource.values);
            self.lists.push(offset(self.keys.len())?);
        }
        self.services.resize(rows, resource.service);
        self.scope_names.resize(rows, self.scope_name_strings.index(&scope.name)?);
        self.scope_versions.resize(rows, self.scope_version_strings.index(&scope.version)?);
        self.bytes += spans * (resource.bytes + scope.bytes());
        Ok(())
    }
}
