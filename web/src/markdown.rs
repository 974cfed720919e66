//! The part of Markdown that small models write: paragraphs, headings, lists, fenced code, and within
//! a line code, bold and italics. Everything else is text as it stands. Any text is valid, also one
//! that stops in the middle, so that an answer can be drawn while it streams.

/// A piece of a message that stands on its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Block {
    /// Lines of text; their breaks are kept.
    Paragraph(Vec<Span>),
    /// `#` to `######`, drawn alike.
    Heading(Vec<Span>),
    /// A list, numbered from `start` if there is one.
    List {
        /// Number of the first item; `None` for bullets.
        start: Option<u32>,
        /// Depth and text of each item; a depth of 0 is the outermost.
        items: Vec<(u8, Vec<Span>)>,
    },
    /// Between fences, as it stands.
    Code {
        /// The word after the fence.
        language: String,
        /// Without the fences.
        text: String,
    },
}

/// A run of text within a block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Span {
    /// As it stands.
    Text(String),
    /// `**so**`.
    Strong(String),
    /// `*so*`.
    Emphasis(String),
    /// In backticks.
    Code(String),
}

/// The blocks of a message. While it is `growing`, a mark at its end that may become a list, a heading
/// or a fence is left out, so that it does not flash up as text.
pub fn parse(text: &str, growing: bool) -> Vec<Block> {
    let text = if growing {
        without_half_mark(text)
    } else {
        text
    };
    let mut blocks = Vec::new();
    let mut paragraph = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(fence) = fence(line) {
            flush(&mut paragraph, &mut blocks);
            let inside: Vec<&str> = lines.by_ref().take_while(|l| !closes(l, fence)).collect();
            let language = line
                .trim_start()
                .trim_start_matches(['`', '~'])
                .trim()
                .to_owned();
            blocks.push(Block::Code {
                language,
                text: inside.join("\n"),
            });
        } else if let Some(heading) = heading(line) {
            flush(&mut paragraph, &mut blocks);
            blocks.push(Block::Heading(spans(heading)));
        } else if let Some(item) = Item::of(line) {
            flush(&mut paragraph, &mut blocks);
            add_item(item, &mut blocks);
        } else if line.trim().is_empty() {
            flush(&mut paragraph, &mut blocks);
        } else if !(paragraph.is_empty() && continues_item(line, &mut blocks)) {
            if !paragraph.is_empty() {
                paragraph.push('\n');
            }
            paragraph.push_str(line.trim_end());
        }
    }
    flush(&mut paragraph, &mut blocks);
    blocks
}

fn without_half_mark(text: &str) -> &str {
    let at = text.rfind('\n').map_or(0, |at| at + 1);
    let line = text[at..].trim_start();
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = rest.len() < line.len() && matches!(rest, "" | "." | ")" | ". " | ") ");
    let mark = !line.is_empty() && line.trim_end().chars().all(|c| "-*+#`~".contains(c));
    if number || (mark && !line.starts_with("```")) {
        &text[..at]
    } else {
        text
    }
}

fn flush(paragraph: &mut String, blocks: &mut Vec<Block>) {
    if !paragraph.is_empty() {
        blocks.push(Block::Paragraph(spans(paragraph)));
        paragraph.clear();
    }
}

/// The fence that a line opens: three or more backticks or tildes.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim_start();
    ["```", "~~~"].into_iter().find(|f| line.starts_with(f))
}

fn closes(line: &str, fence: &str) -> bool {
    let line = line.trim();
    line.starts_with(fence) && line.chars().all(|c| fence.starts_with(c))
}

fn heading(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    (1..=6)
        .contains(&level)
        .then(|| rest.strip_prefix(' '))
        .flatten()
        .map(str::trim)
}

/// A line that begins with a bullet or a number.
struct Item<'a> {
    depth: u8,
    number: Option<u32>,
    text: &'a str,
}

impl<'a> Item<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let inner = line.trim_start();
        let indent = line[..line.len() - inner.len()]
            .chars()
            .map(|c| if c == '\t' { 4 } else { 1 })
            .sum::<usize>();
        let depth = (indent / 2).min(4) as u8;
        if let Some(text) = ["- ", "* ", "+ ", "• "]
            .iter()
            .find_map(|b| inner.strip_prefix(b))
        {
            return Some(Self {
                depth,
                number: None,
                text: text.trim(),
            });
        }
        let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
        let number = inner[..digits].parse().ok().filter(|_| digits <= 4)?;
        let rest = inner[digits..].strip_prefix(['.', ')'])?;
        let text = rest.strip_prefix(' ')?;
        Some(Self {
            depth,
            number: Some(number),
            text: text.trim(),
        })
    }
}

/// Joins the list before it, if that one continues; an inner item always does.
fn add_item(item: Item, blocks: &mut Vec<Block>) {
    let spans = spans(item.text);
    if let Some(Block::List { start, items }) = blocks.last_mut()
        && (item.depth > 0 || start.is_some() == item.number.is_some())
    {
        items.push((item.depth, spans));
    } else {
        blocks.push(Block::List {
            start: item.number,
            items: vec![(0, spans)],
        });
    }
}

/// An indented line after an item belongs to it.
fn continues_item(line: &str, blocks: &mut [Block]) -> bool {
    let Some(Block::List { items, .. }) = blocks.last_mut() else {
        return false;
    };
    let Some((_, item)) = items.last_mut().filter(|_| line.starts_with("  ")) else {
        return false;
    };
    item.push(Span::Text("\n".to_owned()));
    item.extend(spans(line.trim()));
    true
}

/// Code, bold and italics within a text. A mark without its partner is text.
fn spans(text: &str) -> Vec<Span> {
    let mut out = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*']) {
        plain += &rest[..at];
        rest = &rest[at..];
        let before = plain.chars().next_back();
        let Some((span, after)) = marked(rest, before) else {
            let run = rest.len() - rest.trim_start_matches(&rest[..1]).len();
            plain += &rest[..run];
            rest = &rest[run..];
            continue;
        };
        if !plain.is_empty() {
            out.push(Span::Text(std::mem::take(&mut plain)));
        }
        out.push(span);
        rest = after;
    }
    plain += rest;
    if !plain.is_empty() {
        out.push(Span::Text(plain));
    }
    out
}

/// The marked text that `rest` begins with, and what follows it.
fn marked(rest: &str, before: Option<char>) -> Option<(Span, &str)> {
    let run = rest.len() - rest.trim_start_matches(&rest[..1]).len();
    let (mark, body) = rest.split_at(run);
    let end = body.find(mark)?;
    let (inner, after) = (&body[..end], &body[end + run..]);
    if mark.starts_with('`') {
        return Some((Span::Code(inner.trim().to_owned()), after)).filter(|_| !inner.is_empty());
    }
    // `2 * 3 * 4` and `a*b*c` are arithmetic, not italics.
    let tight = !inner.is_empty()
        && !inner.starts_with(char::is_whitespace)
        && !inner.ends_with(char::is_whitespace);
    let at_word =
        before.is_some_and(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric);
    match run {
        1 if tight && !at_word => Some((Span::Emphasis(inner.to_owned()), after)),
        2 | 3 if tight => Some((Span::Strong(inner.to_owned()), after)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Span {
        Span::Text(s.to_owned())
    }

    #[test]
    fn paragraphs_keep_their_line_breaks() {
        assert_eq!(
            parse("one\ntwo\n\nthree", false),
            [
                Block::Paragraph(vec![text("one\ntwo")]),
                Block::Paragraph(vec![text("three")])
            ]
        );
        assert_eq!(parse("", false), []);
    }

    #[test]
    fn a_fence_keeps_what_is_inside_even_before_it_closes() {
        let code = |language: &str, text: &str| Block::Code {
            language: language.into(),
            text: text.into(),
        };
        assert_eq!(
            parse("```rust\n# not a heading\n\n  x\n```\nend", false),
            [
                code("rust", "# not a heading\n\n  x"),
                Block::Paragraph(vec![text("end")])
            ]
        );
        assert_eq!(parse("```\nhalf", false), [code("", "half")]);
        assert_eq!(parse("```py", false), [code("py", "")]);
    }

    #[test]
    fn lists_count_nest_and_end() {
        let blocks = parse(
            "Steps:\n1. one\n2. **two**\n   more\n   - inner\n\n3. three\nafter",
            false,
        );
        assert_eq!(blocks.len(), 3);
        let Block::List {
            start: Some(1),
            items,
        } = &blocks[1]
        else {
            panic!("{blocks:?}")
        };
        assert_eq!(items.iter().map(|i| i.0).collect::<Vec<_>>(), [0, 0, 1, 0]);
        assert_eq!(
            items[1].1,
            [Span::Strong("two".into()), text("\n"), text("more")]
        );
        assert_eq!(parse("- a\n1. b", false).len(), 2);
        assert_eq!(
            parse("3.14 is pi", false),
            [Block::Paragraph(vec![text("3.14 is pi")])]
        );
    }

    #[test]
    fn headings() {
        assert_eq!(
            parse("## Title", false),
            [Block::Heading(vec![text("Title")])]
        );
        assert_eq!(
            parse("#hashtag", false),
            [Block::Paragraph(vec![text("#hashtag")])]
        );
    }

    #[test]
    fn marks_within_a_line() {
        assert_eq!(
            spans("a **b** *c* `d*e`"),
            [
                text("a "),
                Span::Strong("b".into()),
                text(" "),
                Span::Emphasis("c".into()),
                text(" "),
                Span::Code("d*e".into())
            ]
        );
    }

    #[test]
    fn marks_without_a_partner_are_text() {
        for line in [
            "2 * 3 * 4",
            "a*b*c",
            "**open",
            "`open",
            "*",
            "a ** b",
            "``",
            "é*ü",
        ] {
            assert_eq!(spans(line), [text(line)], "{line}");
        }
    }

    #[test]
    fn a_mark_that_is_not_whole_yet_is_left_out() {
        for growing in [
            "1. a\n2",
            "1. a\n2.",
            "1. a\n  - ",
            "1. a\n*",
            "1. a\n``",
            "1. a\n#",
        ] {
            assert_eq!(parse(growing, true), parse("1. a", false), "{growing}");
        }
        assert_eq!(parse("42", false), [Block::Paragraph(vec![text("42")])]);
        assert_eq!(parse("a 2", true), parse("a 2", false));
        assert_eq!(parse("```", true), parse("```", false));
    }

    #[test]
    fn every_prefix_can_be_drawn() {
        let whole = "# T\n\n1. *a*\n   ```x\n- `é**ü` **b\n~~~\ncode";
        for (end, _) in whole.char_indices() {
            parse(&whole[..end], false);
            parse(&whole[..end], true);
        }
    }
}
