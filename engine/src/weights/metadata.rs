//! A GGUF file's settings, by key.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// u8, u16, u32, u64.
    Uint(u64),
    /// i8, i16, i32, i64.
    Int(i64),
    /// f32, f64.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// A text.
    Str(String),
    /// An array of texts.
    Strings(Vec<String>),
    /// An array of numbers of two bytes and more, or of i8.
    Ints(Vec<i64>),
    /// An array of u8 or bool.
    Bytes(Vec<u8>),
    /// An array of f32 or f64.
    Floats(Vec<f32>),
}

impl Value {
    /// What it is, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Value::Uint(_) | Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "a bool",
            Value::Str(_) => "a text",
            Value::Strings(_) => "an array of texts",
            Value::Ints(_) | Value::Bytes(_) | Value::Floats(_) => "an array of numbers",
        }
    }
}

/// Settings in the order of their keys. Getters fail with a sentence that names the key; for a setting that
/// may be absent: `metadata.optional(key, Metadata::usize)?`.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    file: String,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    /// No settings yet; `file` is named in messages.
    pub fn new(file: &str) -> Metadata {
        Metadata {
            file: file.to_string(),
            values: BTreeMap::new(),
        }
    }

    /// Adds a setting; gives the one that had this key before.
    pub fn insert(&mut self, key: String, value: Value) -> Option<Value> {
        self.values.insert(key, value)
    }

    /// All settings.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The file that they are from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// A setting of any type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// What `read` gives for a key that may be absent.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the key is there with another type.
    pub fn optional<'a, T>(
        &'a self,
        key: &str,
        read: fn(&'a Self, &str) -> Result<T>,
    ) -> Result<Option<T>> {
        self.get(key).map(|_| read(self, key)).transpose()
    }

    /// A text.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the key is missing or of another type; so for all getters.
    pub fn str(&self, key: &str) -> Result<&str> {
        match self.present(key)? {
            Value::Str(text) => Ok(text),
            other => self.wrong(key, "a text", other),
        }
    }

    /// A whole number from 0 on.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn usize(&self, key: &str) -> Result<usize> {
        let value = self.present(key)?;
        let n = match value {
            Value::Uint(n) => usize::try_from(*n).ok(),
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => return self.wrong(key, "a whole number", value),
        };
        n.ok_or_else(|| self.bad(format!("'{key}' is {value:?}, which is out of range")))
    }

    /// A whole number of 32 bits.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn u32(&self, key: &str) -> Result<u32> {
        let n = self.usize(key)?;
        u32::try_from(n).map_err(|_| self.bad(format!("'{key}' is {n}, which is out of range")))
    }

    /// A number.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn f32(&self, key: &str) -> Result<f32> {
        match self.present(key)? {
            Value::Float(x) => Ok(*x as f32),
            Value::Uint(n) => Ok(*n as f32),
            Value::Int(n) => Ok(*n as f32),
            other => self.wrong(key, "a number", other),
        }
    }

    /// A bool.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn bool(&self, key: &str) -> Result<bool> {
        match self.present(key)? {
            Value::Bool(b) => Ok(*b),
            other => self.wrong(key, "a bool", other),
        }
    }

    /// An array of texts.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn strings(&self, key: &str) -> Result<&[String]> {
        match self.present(key)? {
            Value::Strings(strings) => Ok(strings),
            other => self.wrong(key, "an array of texts", other),
        }
    }

    /// An array of whole numbers.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn ints(&self, key: &str) -> Result<&[i64]> {
        match self.present(key)? {
            Value::Ints(ints) => Ok(ints),
            other => self.wrong(key, "an array of whole numbers", other),
        }
    }

    /// An array of numbers.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn floats(&self, key: &str) -> Result<&[f32]> {
        match self.present(key)? {
            Value::Floats(floats) => Ok(floats),
            other => self.wrong(key, "an array of numbers with fractions", other),
        }
    }

    fn present(&self, key: &str) -> Result<&Value> {
        self.get(key)
            .ok_or_else(|| self.bad(format!("'{key}' is missing")))
    }

    fn wrong<T>(&self, key: &str, expected: &str, got: &Value) -> Result<T> {
        Err(self.bad(format!("'{key}' must be {expected} and is {}", got.kind())))
    }

    fn bad(&self, problem: String) -> Error {
        Error::BadConfig {
            file: self.file.clone(),
            problem,
        }
    }
}
