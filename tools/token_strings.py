"""2,000 strings that try a tokenizer: code, emoji, accents, scripts, blanks, newlines, special tokens, …"""

import random
import unicodedata

WORDS = (
    "the of and to in is that it was for on are as with his they be at one have this from or had by "
    "hot word but what some we can out other were all there when up use your how said an each she which "
    "don't we'll I'm they've it's you'd can't he's WE'RE I'LL don’t "
    "internationalization antidisestablishmentarianism Donaudampfschifffahrtsgesellschaft "
    "tokenizer WebGPU SmolLM2 README.md camelCaseName snake_case_name kebab-case-name HTTPServer x86_64 "
    "naïve café résumé coöperate façade Ångström jalapeño Übergröße œuvre smørrebrød żółć İstanbul ﬁne ½ x² "
    "Москва привет Ελλάδα καλημέρα"
).split()
SCRIPTS = [
    "你好，世界！今天天气很好。我们去公园散步吧，然后喝一杯茶。",
    "日本語のテキストです。ひらがなとカタカナ、漢字が混ざっています。１２３",
    "안녕하세요 세계! 한국어 문장을 토큰으로 나눕니다.",
    "مرحبا بالعالم، هذا نص عربي مع أرقام ١٢٣٤ وتشكيل: كِتَابٌ",
    "שלום עולם, זהו טקסט בעברית עם נִקּוּד.",
    "नमस्ते दुनिया! यह हिन्दी का एक वाक्य है। १२३",
    "สวัสดีชาวโลก นี่คือข้อความภาษาไทย",
    "Привет, мир! Съешь ещё этих мягких французских булок, да выпей чаю.",
    "Καλημέρα κόσμε! Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "Xin chào thế giới! Đây là một câu tiếng Việt có dấu.",
    "Բարեւ աշխարհ", "გამარჯობა მსოფლიო", "வணக்கம் உலகம்", "ሰላም ልዑል", "བོད་ཡིག", "ᚠᛇᚻ᛫ᛒᛦᚦ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 𝓈𝒸𝓇𝒾𝓅𝓉",
]
EMOJI = [
    "😀", "😂", "🤔", "👍", "👍🏽", "🙏🏿", "❤️", "❤", "☀️", "🔥", "💯", "🎉", "✅", "⚠️", "🇩🇪", "🇯🇵", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "#️⃣",
    "👨‍👩‍👧‍👦", "👩🏽‍💻", "🧑‍🚀", "🏳️‍🌈", "👩‍❤️‍💋‍👨", "🤷‍♂️", "🦀", "🕸️", "🫠", "🧑🏻‍🤝‍🧑🏿",
]
CODE = [
    "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n",
    "for (let i = 0; i < xs.length; i++) {\n\tconsole.log(`${i}: ${xs[i]}`);\n}",
    "fn main() -> Result<(), Box<dyn Error>> {\n    println!(\"{:?}\", env::args());\n    Ok(())\n}",
    "#include <stdio.h>\nint main(void) { printf(\"%08x\\n\", 0xDEADBEEF & ~0u >> 3); return 0; }",
    "SELECT name, COUNT(*) FROM users WHERE age >= 21 GROUP BY name HAVING COUNT(*) > 1;",
    "<div class=\"row\" id='x'><a href=\"/a?b=c&d=%20e#f\">link</a><!-- note --></div>",
    "{\"key\": [1, 2.5e-3, -0, null, true], \"nested\": {\"a\\\"b\": \"\\u00e9\\n\"}}",
    "$ git log --oneline | grep -v '^#' | awk '{print $1}' > out.txt 2>&1",
    "@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;",
    "x = {**a, 'k': [i**2 for i in range(10) if i % 2 == 0]}  # squares\n\n\nclass A:\n    pass\n",
    "\\frac{\\partial L}{\\partial w} = \\sum_{i=1}^{n} (y_i - \\hat{y}_i) x_i",
    "| a | b |\n|---|:-:|\n| 1 | `x` |\n\n- [ ] **todo** _x_ ~~y~~\n",
    "https://example.org:8080/path/to/file_v1.2.3.tar.gz?x=1&y=%E2%82%AC#frag",
    "regex: ^(?:[a-z0-9!#$%&'*+/=?^_`{|}~-]+)@(?!x)\\S{2,}$",
]
BLANKS = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n ", "\t\t", "\r", "\u00a0", "\u3000", "\u2003", "\u200b", "\u2028", "\x0b", "\x0c", "\x85"]
MARKS = [chr(c) for c in (0x300, 0x301, 0x302, 0x303, 0x308, 0x30A, 0x327, 0x323, 0x331, 0x20D7, 0x20E3, 0xFE0F)]
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~…—–«»“”‘’¿¡§¶†•°±×÷€£¥₿™©®→⇒≤≠∞∑√"
# Fixed for ever as not letters, numbers or blanks, whichever version of Unicode a tokenizer was built with.
NONCHARACTERS = ["\ufffe", "\uffff", "\U0010ffff", "\ufdd0", "\ue000", "\U000f0000", "\ufeff", "\ufffd"]
# Assigned characters only: whether an unassigned one is a letter depends on the version of Unicode.
ASSIGNED = [
    chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")
]


def words(r, n):
    return " ".join(r.choice(WORDS) for _ in range(n))


def sentence(r):
    text = words(r, r.randint(2, 12))
    if r.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text + r.choice([".", "!", "?", "...", "", ",", ";", ":", " -"])


def long_word(r):
    return "".join(r.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ") for _ in range(r.randint(20, 90)))


def digits(r):
    number = "".join(r.choice("0123456789") for _ in range(r.randint(1, 24)))
    form = r.choice(["{}", " {}", "{}.5", "-{}", "v{}", "{}%", "${},00", "1e{}", "0x{}", "{}٣٤", "²{}½Ⅷ", "{} {}", "a{}b", "{}\n"])
    return form.replace("{}", number)


def code(r):
    text = r.choice(CODE)
    start = r.randrange(max(1, len(text) // 2))
    text = text[start : start + r.randint(10, 120)]
    return text.replace("\n", "\r\n") if r.random() < 0.2 else text


def script(r):
    text = r.choice(SCRIPTS)
    start = r.randrange(len(text))
    return text[start : start + r.randint(1, 24)]


def emoji(r):
    return r.choice(["", " ", "hi "]) + "".join(r.choice(EMOJI) + r.choice(["", "", " "]) for _ in range(r.randint(1, 5)))


def accents(r):
    letters = "".join(r.choice("aeiounAEIOUcszyœ") + r.choice(MARKS + [""]) * r.randint(0, 2) for _ in range(r.randint(2, 12)))
    return unicodedata.normalize(r.choice(["NFC", "NFD", "NFKC", "NFKD"]), letters + " " + r.choice(WORDS))


def blanks(r):
    run = "".join(r.choice(BLANKS) * r.randint(1, 4) for _ in range(r.randint(1, 5)))
    return r.choice([run, "a" + run + "b", run + "x", "x" + run, words(r, 2) + run + words(r, 2) + run])


def blank_run(r):
    return r.choice(["", "x", "if"]) + r.choice([" ", "\t", "\n"]) * r.randint(1, 130) + r.choice(["", "y", "9", "😀"])


def punctuation(r):
    return "".join(r.choice(PUNCTUATION) * r.choice([1, 1, 1, 2, 5]) for _ in range(r.randint(1, 16)))


def unicode(r):
    return "".join(r.choice(ASSIGNED) if r.random() < 0.97 else r.choice(NONCHARACTERS) for _ in range(r.randint(1, 10)))


def controls(r):
    return "".join(chr(r.randrange(0x100)) for _ in range(r.randint(1, 20)))


def special(r, special_tokens):
    token = r.choice(special_tokens)
    return r.choice([
        token, token * 2, " " + token, token + " ", token + "\n", "a" + token + "b", words(r, 2) + token + words(r, 2),
        token[:-1], token[1:], token.upper(), "<" + token, token[:3] + " " + token[3:],
        "<|im_start|>user\n" + words(r, 3) + "<|im_end|>\n<|im_start|>assistant\n",
    ])


def mixture(r, special_tokens):
    return "".join(make(r) for make in r.choices(PLAIN, k=r.randint(2, 3)))[:100] + r.choice(["", special(r, special_tokens)])


PLAIN = [sentence, long_word, digits, code, script, emoji, accents, blanks, blank_run, punctuation, unicode, controls]


def strings(special_tokens, count=2000, seed=20):
    """`count` different strings: the fixed ones first, then the generators in turn."""
    r = random.Random(seed)
    found = dict.fromkeys(
        ["", " ", "a", "é", "e\u0301", "\u0000", "\n", "\r\n", "'s", " 's", "'S", "''", "0", "٣"]
        + WORDS + SCRIPTS + EMOJI + CODE + BLANKS + MARKS + list(PUNCTUATION) + NONCHARACTERS + list(special_tokens)
    )
    makers = PLAIN + [lambda r: special(r, special_tokens), lambda r: mixture(r, special_tokens)]
    turn = 0
    while len(found) < count:
        found.setdefault(makers[turn % len(makers)](r))
        turn += 1
    return list(found)[:count]
