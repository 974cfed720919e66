//! Repeats and medians, by a clock that tests can set.

use crate::Result;

/// Runs of which the median is taken.
const REPEATS: usize = 5;
/// A batch of short runs is at least as long, so that a browser's clock, which is coarse, can time it.
const BATCH_MS: f64 = 20.0;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The median.
    pub value: f64,
    /// Of how many runs.
    pub n_runs: usize,
}

/// Times what it is given.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Milliseconds since some fixed moment.
    pub now_ms: fn() -> f64,
    /// After so long nothing is repeated any more.
    pub patience_ms: f64,
}

impl Clock {
    /// The median of what `run` returns. The first run warms up and counts only where the patience is over with it.
    ///
    /// # Errors
    /// What `run` fails with.
    pub async fn median(&self, mut run: impl AsyncFnMut() -> Result<f64>) -> Result<Measured> {
        let start = (self.now_ms)();
        let mut values = vec![run().await?];
        let mut warm = false;
        while values.len() < REPEATS && (self.now_ms)() - start < self.patience_ms {
            let value = run().await?;
            if !warm {
                warm = true;
                values.clear();
            }
            values.push(value);
        }
        Ok(Measured {
            n_runs: values.len(),
            value: median(values),
        })
    }

    /// Milliseconds that one of many runs takes: `batch(times)` does so many and waits for their end. One goes before the
    /// clock starts: some drivers compile a kernel when it first runs, which may take longer than the patience.
    ///
    /// # Errors
    /// What `batch` fails with.
    pub async fn each(&self, mut batch: impl AsyncFnMut(u32) -> Result<()>) -> Result<Measured> {
        batch(1).await?;
        let mut times = 1;
        let timed = async || {
            let mut start = (self.now_ms)();
            batch(times).await?;
            let mut ms = (self.now_ms)() - start;
            while ms < BATCH_MS && times < 1 << 16 {
                let wanted = BATCH_MS * 1.5 / ms.max(0.1) * f64::from(times);
                times = (wanted as u32).clamp(times * 2, times * 16);
                start = (self.now_ms)();
                batch(times).await?;
                ms = (self.now_ms)() - start;
            }
            Ok(ms / f64::from(times))
        };
        self.median(timed).await
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! { static NOW_MS: Cell<f64> = const { Cell::new(0.0) }; }

    fn pass(ms: f64) {
        NOW_MS.set(NOW_MS.get() + ms);
    }

    const CLOCK: Clock = Clock {
        now_ms: || NOW_MS.get(),
        patience_ms: 1000.0,
    };

    #[test]
    fn the_median_leaves_the_first_run_out() {
        let mut takes = [900.0, 3.0, 1.0, 50.0, 2.0, 4.0].into_iter();
        let run = async || {
            let ms = takes.next().unwrap();
            pass(ms);
            Ok(ms)
        };
        let measured = pollster::block_on(CLOCK.median(run)).unwrap();
        assert_eq!((measured.value, measured.n_runs), (3.0, 5));
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }

    #[test]
    fn what_takes_long_is_measured_once() {
        let run = async || {
            pass(5000.0);
            Ok(5000.0)
        };
        let measured = pollster::block_on(CLOCK.median(run)).unwrap();
        assert_eq!((measured.value, measured.n_runs), (5000.0, 1));
    }

    #[test]
    fn what_is_compiled_at_first_is_no_part_of_an_op() {
        let mut takes = [9000.0].into_iter();
        let batch = async |_| {
            pass(takes.next().unwrap_or(2000.0));
            Ok(())
        };
        let each = pollster::block_on(CLOCK.each(batch)).unwrap();
        assert_eq!((each.value, each.n_runs), (2000.0, 1));
    }

    #[test]
    fn short_runs_are_timed_in_batches() {
        let mut batches = Vec::new();
        let batch = async |times: u32| {
            batches.push(times);
            pass(0.25 * f64::from(times));
            Ok(())
        };
        let each = pollster::block_on(CLOCK.each(batch)).unwrap();
        assert_eq!((each.value, each.n_runs), (0.25, 5));
        assert!(batches.iter().max().unwrap() * 25 >= 2000, "{batches:?}");
        assert!(batches.iter().sum::<u32>() < 2000, "{batches:?}");
    }
}
