"""Conversations with the packed model as a visitor has them: by the engine, with its own tokenizer and sampler."""

import re
import subprocess
from pathlib import Path

QUESTIONS = Path(__file__).parent.parent / "data" / "transcript-questions.tsv"
# What `thimble chat` says of an answer, on a line of its own behind it.
FIGURES = re.compile(r"^\[.*tokens/s.*\]$")

# (temperature, top-k, repetition penalty) that the default sampling is chosen among.
SAMPLINGS = [
    (0.0, 0, 1.0), (0.0, 0, 1.15), (0.0, 0, 1.3), (0.2, 40, 1.05), (0.3, 40, 1.05), (0.3, 40, 1.1), (0.3, 40, 1.15),
    (0.55, 20, 1.15), (0.7, 40, 1.1),
]


def converse(thimble, folder, conversations, settings=()):
    """The answers to each turn of each conversation [[question, ..], ..]; `settings` as for `thimble chat`."""
    command = [thimble, "chat", folder, "--backend", "cpu", "--threads", "1", *settings]
    chat = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
    )

    def say(line):
        chat.stdin.write(line + "\n")
        chat.stdin.flush()

    def answer():
        lines = []
        for line in chat.stdout:
            if FIGURES.match(line.strip()):
                return "\n".join(lines).strip()
            lines.append(line.rstrip("\n"))
        raise SystemExit("thimble chat ended: " + "\n".join(lines))

    # What it says of the model; then it listens.
    while " · context " not in (line := chat.stdout.readline()):
        if not line:
            raise SystemExit(f"{thimble} did not open {folder}")
    answers = []
    for number, questions in enumerate(conversations):
        if number:
            say("/new")
            chat.stdout.readline()
        answers.append([])
        for question in questions:
            say(question)
            answers[-1].append(answer())
    chat.stdin.close()
    chat.wait()
    return answers


def questions():
    """The thirty conversations of three turns."""
    return [line.split("\t") for line in QUESTIONS.read_text().splitlines()]


def write_transcripts(thimble, folder, out, settings=()):
    """Writes all thirty to the Markdown file `out`, as they come."""
    lines = ["# Transcripts", "", "Thirty conversations of three turns, one after another, unedited, by the model's own sampling"
             + (" but `" + " ".join(settings) + "`." if settings else ".")]
    asked = questions()
    for number, (said, answers) in enumerate(zip(asked, converse(thimble, folder, asked, settings)), 1):
        lines += ["", f"## {number}"]
        for question, answer in zip(said, answers):
            lines += ["", f"**{question}**", "", *(f"> {line}" for line in answer.splitlines() or [""])]
    Path(out).write_text("\n".join(lines) + "\n")


def measures(answers):
    """(words per answer, share of distinct words, share of answers that say something twice) of [[answer, ..], ..]."""
    flat = [answer for conversation in answers for answer in conversation]
    words = [re.findall(r"[a-z']+", answer.lower()) for answer in flat]
    total = sum(map(len, words))

    def repeats(said):
        grams = [tuple(said[i:i + 4]) for i in range(len(said) - 3)]
        return len(grams) > len(set(grams))

    return total / len(flat), len({w for said in words for w in said}) / total, sum(map(repeats, words)) / len(flat)


def sweep(thimble, folder):
    """Prints what `measures` says of the thirty conversations under each of SAMPLINGS."""
    print("| temperature | top-k | penalty | words per answer | distinct words | answers that repeat |")
    print("| --- " * 6 + "|")
    for temperature, top_k, penalty in SAMPLINGS:
        settings = ["--temperature", temperature, "--top-k", top_k, "--repetition-penalty", penalty, "--seed", 1, "-n", 120]
        words, distinct, repeats = measures(converse(thimble, folder, questions(), map(str, settings)))
        print(f"| {temperature} | {top_k} | {penalty} | {words:.1f} | {distinct:.2f} | {repeats:.0%} |")
