//! How many steps of decoding a submit carries.

/// Steps of a submit at most: more would win nothing, and tokens should come singly to the eye.
pub const MOST_STEPS: usize = 8;

/// What a submit may take: a browser draws its page with the same GPU, 60 times a second.
const BUDGET_MS: f64 = 8.0;

/// As many steps as fit the budget, going by how long the last ones took; or a number that was asked for.
#[derive(Debug)]
pub(super) struct Pace {
    fixed: Option<usize>,
    /// Milliseconds that a step takes: a mean in which the last submits count most.
    step_ms: Option<f64>,
    /// When the last submit came back.
    back_ms: f64,
}

impl Pace {
    pub fn new(fixed: Option<usize>) -> Self {
        if let Some(n) = fixed {
            assert!((1..=MOST_STEPS).contains(&n), "{n} steps in a submit");
        }
        Self {
            fixed,
            step_ms: None,
            back_ms: 0.0,
        }
    }

    /// Steps of the next submit.
    pub fn steps(&self) -> usize {
        let fitting = |ms| ((BUDGET_MS / ms) as usize).clamp(1, MOST_STEPS);
        self.fixed.or(self.step_ms.map(fitting)).unwrap_or(1)
    }

    /// A submit of `n` steps, queued at `queued_ms`, came back at `now_ms`. Submits run one after another, so the
    /// time since the one before is the most that it can have taken, and in the mean what it did take.
    pub fn came_back(&mut self, n: usize, queued_ms: f64, now_ms: f64) {
        let each = (now_ms - queued_ms.max(self.back_ms)) / n as f64;
        let mean = self.step_ms.unwrap_or(each);
        self.step_ms = Some(mean + (each - mean) / 4.0);
        self.back_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of each submit, where a step takes what `step_ms` says; four submits are under way.
    fn submits(pace: &mut Pace, step_ms: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut now = pace.back_ms;
        let steps = |i: usize| {
            let n = pace.steps();
            let queued = now - 3.0;
            now += n as f64 * step_ms(i);
            pace.came_back(n, queued, now);
            n
        };
        (0..40).map(steps).collect()
    }

    #[test]
    fn a_submit_keeps_to_its_budget() {
        for (step_ms, n) in [(0.1, 8), (1.0, 8), (1.5, 5), (3.0, 2), (4.1, 1), (60.0, 1)] {
            let mut pace = Pace::new(None);
            assert_eq!(pace.steps(), 1, "nothing is known yet");
            let steps = submits(&mut pace, |_| step_ms);
            assert!(
                steps[20..].iter().all(|&s| s == n),
                "{step_ms} ms: {steps:?}"
            );
        }
    }

    #[test]
    fn it_follows_what_steps_come_to_take() {
        let mut pace = Pace::new(None);
        assert_eq!(submits(&mut pace, |_| 0.5)[39], 8);
        assert_eq!(submits(&mut pace, |_| 5.0)[39], 1);
        let steps = submits(&mut pace, |i| if i == 20 { 30.0 } else { 0.5 });
        assert_eq!((steps[20], steps[21], steps[39]), (8, 1, 8));
    }

    #[test]
    fn a_number_that_was_asked_for_stays() {
        let mut pace = Pace::new(Some(3));
        assert!(submits(&mut pace, |_| 50.0).iter().all(|&n| n == 3));
    }
}
