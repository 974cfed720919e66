//! The interpreter: one op after another, but neighbours that multiply the same activation at once.

use super::{
    Cache, CpuBackend, Packed, activate, add, attention, blend, combine, conv, embed,
    expert_linear, fourier, gate, last, layer_norm,
    linear::{self, Matrix},
    map, path_weights, rms_norm, rope, route, scale, store,
};
use crate::{
    op::{Act, Op, Step, Weight},
    program::Program,
};
use std::ops::Range;

impl CpuBackend {
    /// These ops.
    pub(super) fn run_all(&mut self, ops: Range<usize>, step: Step, tokens: &[u32]) {
        let mut rest = ops;
        while !rest.is_empty() {
            let first = rest.start;
            match factor(&self.program.ops[first]) {
                Some(x) => {
                    let at_once = self.at_once(rest.clone(), x);
                    self.multiply(first..first + at_once, x, step);
                    rest.start += at_once;
                }
                None => {
                    self.run(first, step, tokens);
                    rest.start += 1;
                }
            }
        }
    }

    /// How many ops from the first on multiply `x`, each into a slot of its own: what nobody reads has none.
    fn at_once(&self, ops: Range<usize>, x: Act) -> usize {
        let ops = &self.program.ops[ops];
        let slot = |op: &Op| op.writes().map(|y| self.program.slot(y));
        let mut n = 1;
        while n < ops.len()
            && factor(&ops[n]) == Some(x)
            && !ops[..n].iter().any(|op| slot(op) == slot(&ops[n]))
        {
            n += 1;
        }
        n
    }

    /// Products of one activation. As in [`CpuBackend::run`], what they write leaves its place meanwhile.
    fn multiply(&mut self, ops: Range<usize>, x: Act, step: Step) {
        let (program, weights) = (&self.program, &self.weights);
        let ops = &program.ops[ops];
        let slot = |op: &Op| op.writes().map_or(0, |y| program.slot(y));
        let take = |op: &Op| std::mem::take(&mut self.slots[slot(op)]);
        let mut ys: Vec<_> = ops.iter().map(take).collect();
        let act = |act: Act| act_in(program, &self.slots, act, step);
        let mut jobs = Vec::with_capacity(ops.len());
        for (y, op) in ops.iter().enumerate() {
            match *op {
                Op::Linear { w, .. } => {
                    jobs.push(linear::job(
                        matrix_in(weights, w),
                        rows_of(program, x, step),
                        y,
                    ));
                }
                Op::ExpertLinear {
                    w,
                    routing,
                    n_experts,
                    ..
                } => {
                    let (w, routing) = (matrix_in(weights, w), (act(routing), routing.width / 2));
                    jobs.extend(expert_linear::jobs(act(x), w, routing, n_experts, y));
                }
                _ => unreachable!("no product"),
            }
        }
        self.multiplier.multiply(act(x), &jobs, &mut ys);
        for (op, mut y) in ops.iter().zip(ys) {
            if let Op::Linear {
                bias: Some(bias), ..
            } = op
            {
                let n = rows_of(program, x, step) * bias.cols;
                linear::add_bias(&weights[bias.id], &mut y[..n]);
            }
            self.slots[slot(op)] = y;
        }
    }

    /// One op. The slot that it writes leaves its place meanwhile: an op never reads what it writes.
    fn run(&mut self, op: usize, step: Step, tokens: &[u32]) {
        let op = &self.program.ops[op];
        let n = step.n as usize;
        let mut out = Vec::new();
        if let Some(y) = op.writes() {
            out = std::mem::take(&mut self.slots[self.program.slot(y)]);
        }
        let y = op
            .writes()
            .map_or(0, |y| rows_of(&self.program, y, step) * y.width);
        let y = &mut out[..y];
        let x = |act: Act| act_in(&self.program, &self.slots, act, step);
        let w = |weight: Weight| &self.weights[weight.id];
        match op {
            Op::Embed { w: table, .. } => embed::run(w(*table), tokens, y),
            Op::RmsNorm {
                x: input,
                w: scale,
                eps,
                ..
            } => rms_norm::run(x(*input), scale.map(w), input.width, *eps, y),
            Op::LayerNorm {
                x: input,
                w: scale,
                bias,
                eps,
                ..
            } => layer_norm::run(x(*input), w(*scale), bias.map(w), *eps, y),
            Op::Rope {
                x: input,
                rotary,
                phases,
                ..
            } => {
                let phases = phases.map(x);
                rope::run(x(*input), rotary, phases, input.width, step.pos, y);
            }
            Op::Fourier { frequencies, .. } => fourier::run(frequencies, step.pos, y),
            Op::Conv {
                x: cache,
                w: taps,
                bias,
                ..
            } => {
                let (taps, bias) = (w(*taps).floats(), bias.map(|bias| w(bias).floats()));
                let cached = self.caches[cache.id].floats();
                conv::run(cached, &taps, bias.as_deref(), cache.width, step.pos, y);
            }
            Op::Scale {
                x: input, factors, ..
            } => scale::run(x(*input), &map::values(*factors, &w), input.width, y),
            Op::Gate {
                x: input,
                gates,
                range,
                ..
            } => gate::run(x(*input), x(*gates), input.width / gates.width, *range, y),
            Op::PathWeights {
                logits,
                bias,
                temperature,
                top_k,
                ..
            } => {
                let bias = bias.map(|bias| w(bias).floats());
                let (logits, n_paths) = (x(*logits), logits.width);
                path_weights::run(logits, n_paths, bias.as_deref(), *temperature, *top_k, y);
            }
            Op::Blend {
                sum,
                x: input,
                weights,
                path,
                ..
            } => {
                let place = (*path, weights.width);
                blend::run(sum.map(x), x(*input), x(*weights), place, y);
            }
            Op::Store { x: input, cache } => {
                let x = act_in(&self.program, &self.slots, *input, step);
                store::run(x, input.width, step.pos, &mut self.caches[cache.id]);
            }
            Op::Attention {
                q,
                k,
                v,
                heads,
                metric,
                ..
            } => {
                let scorer = &attention::Scorer::new(*metric, heads.n_heads, w);
                let (q, heads, pos) = (x(*q), *heads, step.pos);
                match (&self.caches[k.id], &self.caches[v.id]) {
                    (Cache::Words(k), Cache::Words(v)) => {
                        self.level.run(attention::words::Attention {
                            q,
                            k,
                            v,
                            heads,
                            scorer,
                            pos,
                            y,
                        });
                    }
                    (k, v) => self.level.run(attention::Attention {
                        q,
                        k: k.floats(),
                        v: v.floats(),
                        heads,
                        scorer,
                        pos,
                        y,
                    }),
                }
            }
            Op::Activate {
                x: input,
                up,
                function,
                ..
            } => self.level.run(activate::Activation {
                x: x(*input),
                up: up.map(x),
                function: *function,
                y,
            }),
            Op::Route {
                logits,
                bias,
                router,
                ..
            } => {
                let bias = bias.map(|bias| w(bias).floats());
                route::run(x(*logits), logits.width, bias.as_deref(), *router, y);
            }
            Op::Combine {
                x: input,
                routing,
                y: out,
            } => combine::run(x(*input), x(*routing), routing.width / 2, out.width, y),
            Op::Add { a, b, .. } => add::run(x(*a), x(*b), y),
            Op::Last { x: input, .. } => last::run(&x(*input)[..n * input.width], y),
            Op::Linear { .. } | Op::ExpertLinear { .. } => unreachable!("multiplied at once"),
        }
        if let Some(y) = op.writes() {
            let slot = self.program.slot(y);
            self.slots[slot] = out;
        }
    }
}

/// What an op multiplies with a matrix.
fn factor(op: &Op) -> Option<Act> {
    match *op {
        Op::Linear { x, .. } | Op::ExpertLinear { x, .. } => Some(x),
        _ => None,
    }
}

/// The rows of an activation in this step.
fn rows_of(program: &Program, act: Act, step: Step) -> usize {
    if program.slots[program.slot(act)].single_row {
        1
    } else {
        step.n as usize
    }
}

/// An activation, `[rows, width]`.
fn act_in<'s>(program: &Program, slots: &'s [Vec<f32>], act: Act, step: Step) -> &'s [f32] {
    &slots[program.slot(act)][..rows_of(program, act, step) * act.width]
}

fn matrix_in(weights: &[Packed], weight: Weight) -> Matrix<'_> {
    Matrix {
        id: weight.id,
        w: &weights[weight.id],
    }
}
