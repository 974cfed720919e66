//! Reads how many tests passed and failed from the summaries of the test programs.

use std::ops::AddAssign;

/// How many tests (or checks, such as rustfmt's) passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, timed out or could not start.
    pub failed: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// cargo-nextest: `Summary [ 0.021s] 8 tests run: 5 passed (1 slow), 2 failed, 1 timed out, 0 skipped`.
pub fn nextest(output: &str) -> Option<Counts> {
    let output = plain(output);
    let line = output
        .lines()
        .rfind(|l| l.contains("Summary [") && l.contains(" run: "))?;
    let (_, list) = line.split_once(" run: ")?;
    let mut counts = Counts::default();
    for item in without_brackets(list).split(',') {
        let (n, what) = item.trim().split_once(' ')?;
        let n: usize = n.parse().ok()?;
        match what.trim() {
            "passed" => counts.passed += n,
            "skipped" => {}
            _ => counts.failed += n,
        }
    }
    Some(counts)
}

/// `cargo test` and wasm-bindgen-test: the sum of all `test result: ok. 3 passed; 0 failed; …`.
pub fn libtest(output: &str) -> Option<Counts> {
    let output = plain(output);
    let mut total = None;
    for line in output.lines() {
        let Some((_, list)) = line.split_once("test result: ") else {
            continue;
        };
        let before = |word| {
            let (head, _) = list.split_once(word)?;
            head.rsplit([' ', ';']).next()?.parse::<usize>().ok()
        };
        let counts = Counts {
            passed: before(" passed")?,
            failed: before(" failed")?,
        };
        *total.get_or_insert(Counts::default()) += counts;
    }
    total
}

/// `node --test`: `# pass 3` (TAP) or `ℹ pass 3` (spec), and the same for `fail` and `cancelled`.
pub fn node(output: &str) -> Option<Counts> {
    let output = plain(output);
    let value = |word: &str| {
        output.lines().rev().find_map(|line| {
            let rest = line
                .strip_prefix("# ")
                .or_else(|| line.strip_prefix("ℹ "))?;
            rest.strip_prefix(word)?
                .strip_prefix(' ')?
                .trim()
                .parse::<usize>()
                .ok()
        })
    };
    Some(Counts {
        passed: value("pass")?,
        failed: value("fail")? + value("cancelled")?,
    })
}

/// pytest: `1 failed, 8 passed, 1 error in 3.21s`, between signs of equality or not.
pub fn pytest(output: &str) -> Option<Counts> {
    let output = plain(output);
    let line = output.lines().rfind(|l| l.contains(" in "))?;
    let (list, _) = line.trim_matches(['=', ' ']).split_once(" in ")?;
    let mut counts = Counts::default();
    for item in list.split(", ") {
        let (n, what) = item.split_once(' ')?;
        let n: usize = n.parse().ok()?;
        match what {
            "passed" => counts.passed += n,
            "failed" | "error" | "errors" => counts.failed += n,
            _ => {}
        }
    }
    Some(counts)
}

/// The text without terminal colours (`ESC [ … letter`).
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        rest = after.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        rest = rest.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The text without its `(…)` parts.
fn without_brackets(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|&c| {
            depth += usize::from(c == '(');
            let outside = depth == 0;
            depth = depth.saturating_sub(usize::from(c == ')'));
            outside
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: usize, failed: usize) -> Option<Counts> {
        Some(Counts { passed, failed })
    }

    #[test]
    fn nextest_summary() {
        let all = "    Starting 8 tests across 2 binaries\n\
            ------------\n     Summary [   0.021s] 8 tests run: 8 passed, 0 skipped\n";
        assert_eq!(nextest(all), counts(8, 0));
        let one = "     Summary [   0.004s] 1 test run: 0 passed, 1 failed, 3 skipped\n        FAIL [   0.003s] engine a::b\nerror: test run failed\n";
        assert_eq!(nextest(one), counts(0, 1));
        let mixed = "     Summary [  61.0s] 9 tests run: 5 passed (1 slow, 1 flaky), 2 failed (1 due to being leaky), 1 timed out, 1 exec failed, 2 skipped";
        assert_eq!(nextest(mixed), counts(5, 4));
        assert_eq!(nextest("error: could not compile `engine`"), None);
    }

    #[test]
    fn nextest_summary_in_colour() {
        let text = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.021s] \u{1b}[1m3\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m1\u{1b}[0m \u{1b}[31;1mfailed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m skipped";
        assert_eq!(nextest(text), counts(2, 1));
    }

    #[test]
    fn libtest_results_are_added_up() {
        let text = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.40s\n\
            noise\n    test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 filtered out; finished in 0.05s\n";
        assert_eq!(libtest(text), counts(15, 2));
        assert_eq!(libtest("error[E0432]: unresolved import"), None);
    }

    #[test]
    fn node_summaries() {
        let tap = "ok 1 - a\n# tests 4\n# suites 0\n# pass 2\n# fail 1\n# cancelled 1\n# skipped 0\n# todo 0\n# duration_ms 12.5\n";
        assert_eq!(node(tap), counts(2, 2));
        let spec =
            "✔ a (1ms)\nℹ tests 4\nℹ suites 0\nℹ pass 4\nℹ fail 0\nℹ cancelled 0\nℹ skipped 0\n";
        assert_eq!(node(spec), counts(4, 0));
        assert_eq!(
            node("\u{1b}[34mℹ pass 1\u{1b}[39m\n\u{1b}[34mℹ fail 0\u{1b}[39m\nℹ cancelled 0\n"),
            counts(1, 0)
        );
        assert_eq!(node("Cannot find module 'playwright-core'"), None);
    }

    #[test]
    fn pytest_summary() {
        assert_eq!(pytest("....\n9 passed in 3.21s\n"), counts(9, 0));
        let mixed =
            "FAILED a in b\n=== 1 failed, 8 passed, 2 warnings, 1 error in 61.00s (0:01:01) ===\n";
        assert_eq!(pytest(mixed), counts(8, 2));
        assert_eq!(pytest("No module named pytest"), None);
    }

    #[test]
    fn text_loses_colours_and_brackets_only() {
        assert_eq!(plain("a\u{1b}[1;31mb\u{1b}[0m é"), "ab é");
        assert_eq!(plain("cut off \u{1b}[3"), "cut off ");
        assert_eq!(
            without_brackets("5 passed (1 (slow), 2), 0 failed"),
            "5 passed , 0 failed"
        );
    }
}
