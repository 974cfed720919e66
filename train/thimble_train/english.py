"""Small helpers that put words together."""

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen "
        "eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def capital(text):
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def a(word):
    """`word` with its indefinite article."""
    return f"an {word}" if word[0].lower() in "aeiou" and not word.startswith(("uni", "use", "one")) else f"a {word}"


def joined(items):
    """A list in English: "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def pick(texts, draw):
    """One of `texts`, apart by "|"."""
    return draw.choice(texts.split("|"))


def in_words(number):
    """A whole number from 0 to 100 in words."""
    if number < 20:
        return ONES[number]
    if number == 100:
        return "one hundred"
    return TENS[number // 10 - 2] + (f"-{ONES[number % 10]}" if number % 10 else "")
