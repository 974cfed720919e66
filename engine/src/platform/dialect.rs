//! Regular expressions as tokenizers have them, in JavaScript's words.

/// What Unicode calls a word's characters (Unicode Technical Standard 18, annex C), within brackets.
const WORD: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}";

/// A pattern of Rust's `fancy-regex` or of Oniguruma as JavaScript reads it with the flag `u`: `\s`, `\d`, `\w` and `\b` mean
/// Unicode's blanks, digits and words, signs that mean nothing have no backslash, and letters after `(?i:` or
/// `(?i)` are either case of ASCII. What JavaScript cannot say stays as it is, and is its error.
pub(super) fn javascript(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() * 2);
    let mut in_brackets = false;
    // One entry for each open group, and one for the pattern: whether case is ignored there.
    let mut ignores_case = vec![false];
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let outside = !in_brackets;
        let ignored = ignores_case.last().copied().unwrap_or(false);
        let mut taken = c.len_utf8();
        match c {
            '\\' => {
                let escaped = rest[1..].chars().next();
                taken += escaped.map_or(0, char::len_utf8);
                escape(&mut out, escaped, in_brackets);
                if matches!(escaped, Some('p' | 'P')) {
                    let name = rest[taken..].split_inclusive('}').next();
                    let name = name.filter(|name| name.starts_with('{')).unwrap_or("");
                    taken += name.len();
                    // JavaScript wants to know that it is a script.
                    out.push_str(&name.replace("{Han}", "{Script=Han}"));
                }
            }
            '(' if outside && rest.starts_with("(?i)") => {
                if let Some(group) = ignores_case.last_mut() {
                    *group = true;
                }
                taken = 4;
            }
            '(' if outside && rest.starts_with("(?i:") => {
                ignores_case.push(true);
                out.push_str("(?:");
                taken = 4;
            }
            '(' if outside => {
                ignores_case.push(ignored);
                out.push('(');
            }
            ')' if outside => {
                ignores_case.pop();
                out.push(')');
            }
            '[' if outside => {
                in_brackets = true;
                out.push('[');
            }
            ']' => {
                in_brackets = false;
                out.push(']');
            }
            c if ignored && c.is_ascii_alphabetic() => {
                let both = [c.to_ascii_lowercase(), c.to_ascii_uppercase()];
                let both: String = both.into_iter().collect();
                out.push_str(&if in_brackets {
                    both
                } else {
                    format!("[{both}]")
                });
            }
            c => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// Writes what a backslash and a character say.
fn escape(out: &mut String, escaped: Option<char>, in_brackets: bool) {
    match escaped {
        Some('s') => out.push_str(r"\p{White_Space}"),
        Some('S') => out.push_str(r"\P{White_Space}"),
        Some('d') => out.push_str(r"\p{Nd}"),
        Some('D') => out.push_str(r"\P{Nd}"),
        Some('w') if in_brackets => out.push_str(WORD),
        Some('w') => out.push_str(&format!("[{WORD}]")),
        Some('W') if !in_brackets => out.push_str(&format!("[^{WORD}]")),
        Some('b') if !in_brackets => out.push_str(&format!(
            "(?:(?<=[{WORD}])(?![{WORD}])|(?<![{WORD}])(?=[{WORD}]))"
        )),
        Some(c) if !c.is_alphanumeric() && !r"^$\.*+?()[]{}|/-".contains(c) => out.push(c),
        Some('-') if !in_brackets => out.push('-'),
        Some(c) => out.extend(['\\', c]),
        None => out.push('\\'),
    }
}
