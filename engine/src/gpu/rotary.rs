//! Rotations by position: alone, and on the way into the caches.

use super::call::{Call, Kernel, kernel, read, write};
use super::kernels::{Emitter, WG, part_bindings};
use super::plan::Buf;
use crate::op::{Act, Cache, Pairing, Rotary, Weight};

impl Emitter<'_> {
    pub(super) fn rope(&self, x: Act, rotary: &Rotary, phases: Option<Act>, y: Act) -> Call {
        let mut constants = rotary_constants(rotary);
        constants.extend([("WG", WG as f64), ("WIDTH", x.width as f64)]);
        let shift = if phases.is_some() {
            "phases/given"
        } else {
            "phases/none"
        };
        let kernel = kernel(&["step", shift, "rotary", "rope"], constants);
        let reads = [self.slot(x), self.turns(&rotary.frequencies)];
        let mut call = self.per_element(kernel, x.width, &reads, &[self.slot(y)]);
        call.bindings
            .extend(phases.map(|phases| read(4, self.slot(phases))));
        call
    }

    /// Queries, keys and values side by side in `x`.
    pub(super) fn rope_store(
        &self,
        x: Act,
        rotary: &Rotary,
        q: Act,
        (k, v): (Cache, Cache),
    ) -> Call {
        let mut constants = rotary_constants(rotary);
        constants.push(("WG", WG as f64));
        constants.extend(widths(q, k, v));
        constants.extend(self.place(k));
        let mut files = vec!["step", "phases/none", "rotary"];
        files.extend(self.kept(k));
        files.push("fused/rope_store");
        let reads = [self.slot(x), self.turns(&rotary.frequencies)];
        let kernel = kernel(&files, constants);
        let mut call = self.per_element(kernel, x.width / 2, &reads, &[self.slot(q)]);
        call.bindings
            .extend([write(6, Buf::Cache(k.id)), write(7, Buf::Cache(v.id))]);
        call
    }

    /// The matrices of queries, keys and values, and what becomes of each.
    pub(super) fn attention_input(
        &self,
        x: Act,
        weights: &[Weight],
        rotary: &Rotary,
        q: Act,
        (k, v): (Cache, Cache),
    ) -> Call {
        let index = self.plan.pieces[weights[0].id][0].part;
        let part = &self.plan.parts[index];
        let (mut files, mut constants) = self.matrix(part, part.rows);
        constants.extend(rotary_constants(rotary));
        constants.extend(widths(q, k, v));
        let norm = self.norm_role(x);
        files.extend(norm.files);
        constants.extend(norm.constants);
        constants.extend(self.place(k));
        files.extend(self.kept(k));
        files.push("fused/attention_input");
        let mut bindings = part_bindings(index, part);
        bindings.extend([
            read(3, self.slot(x)),
            write(4, self.slot(q)),
            read(5, self.turns(&rotary.frequencies)),
            write(6, Buf::Cache(k.id)),
            write(7, Buf::Cache(v.id)),
        ]);
        Call {
            kernel: Kernel { files, constants },
            bindings,
            groups: self.row_groups(part, part.rows),
            blocks: None,
        }
    }

    /// How two neighbours become keys or values, and where.
    fn kept(&self, cache: Cache) -> [&'static str; 2] {
        let kept = if self.plan.halves[cache.id] {
            "kept/halves"
        } else {
            "kept/floats"
        };
        ["place", kept]
    }

    /// The table of cosines and sines.
    pub(super) fn turns(&self, frequencies: &[f32]) -> Buf {
        let found = self.plan.frequencies.iter().position(|f| f == frequencies);
        Buf::Turns(found.expect("every table is in the plan"))
    }
}

fn widths(q: Act, k: Cache, v: Cache) -> [(&'static str, f64); 3] {
    [
        ("Q_WIDTH", q.width as f64),
        ("K_WIDTH", k.width as f64),
        ("V_WIDTH", v.width as f64),
    ]
}

fn rotary_constants(rotary: &Rotary) -> Vec<(&'static str, f64)> {
    let interleaved = rotary.pairing == Pairing::Interleaved;
    vec![
        ("HEAD_DIM", rotary.head_dim as f64),
        ("PAIRS", rotary.frequencies.len() as f64),
        ("INTERLEAVED", f64::from(u8::from(interleaved))),
    ]
}
