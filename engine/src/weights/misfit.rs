//! Why a file and an architecture do not fit: every weight that is missing or left over.

use super::{Dtype, Tensor, Weights};
use crate::Error;
use std::collections::BTreeMap;

/// Missing weights that are looked for, at most.
const MOST: usize = 512;
/// Lines for what is missing, and for what is left over, at most.
const LINES: usize = 16;

/// Goes on after the first missing weight, by standing in for it, to say all that is wrong at once. `fails` says why
/// these weights, if anything, cannot be recorded.
pub fn explain(weights: &Weights, error: Error, fails: impl Fn(Weights) -> Option<Error>) -> Error {
    // Experts of one stack have one format.
    let mut formats = weights
        .tensors
        .values()
        .filter_map(|t| t.dtype.clone().ok());
    let dtype = formats.find(|d| d.is_float()).unwrap_or(Dtype::F32);
    let mut missing = BTreeMap::new();
    let mut next = Some(error.clone());
    let left_over = loop {
        match next {
            Some(Error::MissingWeight { name, shape, .. }) if !missing.contains_key(&name) => {
                let can_be = is_sensible(&shape) && missing.len() < MOST;
                missing.insert(name.clone(), stand_in(name, shape, dtype));
                if !can_be {
                    break Vec::new();
                }
            }
            Some(Error::UnusedWeights { names }) => break names,
            _ => break Vec::new(),
        }
        let mut whole = weights.untaken();
        whole.tensors.extend(missing.clone());
        next = fails(whole);
    };
    if missing.len() < 2 && left_over.is_empty() {
        return error;
    }
    let left_over = left_over.iter().map(|name| &weights.tensors[name]);
    let left_over: Vec<&Tensor> = left_over.collect();
    let missing: Vec<&Tensor> = missing.values().collect();
    Error::Misfit {
        file: weights.file.clone(),
        n_missing: missing.len(),
        n_left_over: left_over.len(),
        table: [lines("missing", &missing), lines("left over", &left_over)]
            .concat()
            .join("\n"),
    }
}

/// What no file can hold may stand in a config.json.
fn is_sensible(shape: &[usize]) -> bool {
    let n = shape.iter().try_fold(1, |n: usize, d| n.checked_mul(*d));
    n.is_some_and(|n| (1..=1 << 31).contains(&n))
}

/// Something of a shape, without bytes.
fn stand_in(name: String, shape: Vec<usize>, dtype: Dtype) -> Tensor {
    Tensor {
        name,
        dtype: Ok(dtype),
        shape,
        file: 0,
        range: 0..0,
    }
}

/// A line for each, or for those whose names differ in numbers only.
fn lines(what: &str, tensors: &[&Tensor]) -> Vec<String> {
    let mut kinds: BTreeMap<(String, &[usize]), usize> = BTreeMap::new();
    for tensor in tensors {
        let numbered = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let parts = tensor.name.split('.');
        let parts: Vec<&str> = parts.map(|p| if numbered(p) { "*" } else { p }).collect();
        *kinds.entry((parts.join("."), &tensor.shape)).or_default() += 1;
    }
    let line = |((name, shape), count): (&(String, &[usize]), &usize)| match count {
        1 => format!("{what}: {name} {shape:?}"),
        n => format!("{what}: {name} {shape:?}, {n} of them"),
    };
    let mut lines: Vec<String> = kinds.iter().take(LINES).map(line).collect();
    if kinds.len() > LINES {
        lines.push(format!("{what}: {} more kinds", kinds.len() - LINES));
    }
    lines
}
