//! What the author of a derivation said, whether in the environment or in structured attributes.

use std::collections::BTreeMap;
use std::str;

use serde_json::value::RawValue;

use crate::{BasicDerivation, Bytes, Derivation, SortedMap};

/// The variable that holds structured attributes: a JSON object.
pub(crate) const STRUCTURED: &[u8] = b"__json";

/// The attributes of a derivation with structured attributes (`__structuredAttrs = true` in the expression).
///
/// Values are kept as the text they have in the file: a number keeps all its digits, an object its order.
///
/// ```
/// use derivation::{Derivation, StoreDir};
///
/// let text = br#"Derive([("out","","","")],[],[],"x86_64-linux","/bin/sh",[],[("__json","{\"big\":12345678901234567890123,\"names\":[\"a\",\"b\"]}")])"#;
/// let derivation = Derivation::parse(&StoreDir::NIX, text)?;
/// let attributes = derivation.structured_attributes()?.expect("there are some");
/// assert_eq!(attributes.get("big").map(|value| value.get()), Some("12345678901234567890123"));
/// assert_eq!(attributes.strings("names")?, Some(vec!["a".to_owned(), "b".to_owned()]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct StructuredAttributes<'a> {
    text: &'a str,
    values: BTreeMap<String, &'a RawValue>,
}

/// Why an attribute cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {attribute}")]
pub struct AttributeError {
    /// What is wrong.
    pub kind: AttributeErrorKind,
    /// The attribute's name.
    pub attribute: String,
}

/// What can be wrong with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeErrorKind {
    /// It is not UTF-8.
    #[error("attribute is not UTF-8")]
    NotUtf8,
    /// It should be a JSON object and is not.
    #[error("attribute is not a JSON object (line {line}, column {column})")]
    NotObject {
        /// Counted from 1.
        line: usize,
        /// Counted from 0.
        column: usize,
    },
    /// It should be a string and is not.
    #[error("attribute is not a string")]
    NotString,
    /// It should be a list of strings and is not.
    #[error("attribute is not a list of strings")]
    NotStrings,
    /// It should be true or false and is not.
    #[error("attribute is not a boolean")]
    NotBoolean,
}

impl AttributeError {
    fn new(attribute: &str, kind: AttributeErrorKind) -> Self {
        Self {
            attribute: attribute.to_owned(),
            kind,
        }
    }
}

impl<'a> StructuredAttributes<'a> {
    fn parse(json: &'a [u8]) -> Result<Self, AttributeError> {
        let fail = |kind| AttributeError::new("__json", kind);
        let text = str::from_utf8(json).map_err(|_| fail(AttributeErrorKind::NotUtf8))?;
        let values = serde_json::from_str(text).map_err(|error| {
            fail(AttributeErrorKind::NotObject {
                line: error.line(),
                column: error.column(),
            })
        })?;
        Ok(Self { text, values })
    }

    /// The whole object, as it stands in the file.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// One attribute, as it stands in the file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.values.get(name).copied()
    }

    /// All attributes by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
    }

    /// An attribute that is a string.
    ///
    /// # Errors
    /// [`AttributeError`] if it is there and something else.
    pub fn string(&self, name: &str) -> Result<Option<String>, AttributeError> {
        self.read(name, AttributeErrorKind::NotString)
    }

    /// An attribute that is a list of strings.
    ///
    /// # Errors
    /// [`AttributeError`] if it is there and something else.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, AttributeError> {
        self.read(name, AttributeErrorKind::NotStrings)
    }

    /// An attribute that is true or false.
    ///
    /// # Errors
    /// [`AttributeError`] if it is there and something else.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, AttributeError> {
        self.read(name, AttributeErrorKind::NotBoolean)
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        otherwise: AttributeErrorKind,
    ) -> Result<Option<T>, AttributeError> {
        self.get(name)
            .map(|value| serde_json::from_str(value.get()))
            .transpose()
            .map_err(|_| AttributeError::new(name, otherwise))
    }
}

/// What the author said, wherever it stands: structured attributes if there are any, else the environment.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    environment: &'a SortedMap<Bytes<'a>, Bytes<'a>>,
    structured: Option<StructuredAttributes<'a>>,
}

impl<'a> Attributes<'a> {
    fn new(environment: &'a SortedMap<Bytes<'a>, Bytes<'a>>) -> Result<Self, AttributeError> {
        let structured = environment
            .get(STRUCTURED)
            .map(|json| StructuredAttributes::parse(json))
            .transpose()?;
        Ok(Self {
            environment,
            structured,
        })
    }

    /// The structured attributes, if that is where they stand.
    #[must_use]
    pub fn structured(&self) -> Option<&StructuredAttributes<'a>> {
        self.structured.as_ref()
    }

    /// A string.
    ///
    /// # Errors
    /// [`AttributeError`] if a structured attribute is something else, or a variable is not UTF-8.
    pub fn string(&self, name: &str) -> Result<Option<String>, AttributeError> {
        match &self.structured {
            Some(structured) => structured.string(name),
            None => Ok(self.variable(name)?.map(str::to_owned)),
        }
    }

    /// A list of strings; in a variable they are separated by spaces, tabs and line ends.
    ///
    /// # Errors
    /// [`AttributeError`] if a structured attribute is something else, or a variable is not UTF-8.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, AttributeError> {
        match &self.structured {
            Some(structured) => structured.strings(name),
            None => Ok(self.variable(name)?.map(words)),
        }
    }

    /// True or false; a variable is true if it is `1`.
    ///
    /// # Errors
    /// [`AttributeError`] if a structured attribute is something else, or a variable is not UTF-8.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, AttributeError> {
        match &self.structured {
            Some(structured) => structured.boolean(name),
            None => Ok(self.variable(name)?.map(|value| value == "1")),
        }
    }

    /// A variable of the environment, structured attributes or not.
    pub(crate) fn variable(&self, name: &str) -> Result<Option<&'a str>, AttributeError> {
        let value = self
            .environment
            .get(name.as_bytes())
            .map(|value| str::from_utf8(value));
        value
            .transpose()
            .map_err(|_| AttributeError::new(name, AttributeErrorKind::NotUtf8))
    }
}

/// What a space, tab, newline or return separates.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split([' ', '\t', '\n', '\r'])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

impl Derivation<'_> {
    /// The structured attributes, if the environment has `__json`.
    ///
    /// # Errors
    /// [`AttributeError`] if that variable is not a JSON object.
    pub fn structured_attributes(
        &self,
    ) -> Result<Option<StructuredAttributes<'_>>, AttributeError> {
        Ok(self.attributes()?.structured)
    }

    /// What the author said, wherever it stands.
    ///
    /// # Errors
    /// [`AttributeError`] if there is `__json` and it is not a JSON object.
    pub fn attributes(&self) -> Result<Attributes<'_>, AttributeError> {
        Attributes::new(&self.environment)
    }
}

impl BasicDerivation<'_> {
    /// What the author said, wherever it stands.
    ///
    /// # Errors
    /// [`AttributeError`] if there is `__json` and it is not a JSON object.
    pub fn attributes(&self) -> Result<Attributes<'_>, AttributeError> {
        Attributes::new(&self.environment)
    }
}
