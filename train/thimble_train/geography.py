"""Lessons about countries: capitals, places, languages, neighbours; with follow-ups about the same or another."""

from .english import joined, pick
from .sources import countries

AGAIN = {"capital": "What is its capital?|And what is the capital?", "place": "Where is it?|Where is that?",
         "language": "What do people speak there?|What language do they speak there?",
         "neighbours": "What are its neighbors?|Which countries are next to it?"}


class Geography:
    """The lesson takes a source of chance and returns turns."""

    def __init__(self, data, tables):
        self.languages = dict(tables["languages"])
        self.countries = list(countries(data))
        # A small model cannot learn all of them, so those of which more can be said come up more often.
        self.often = [land for land in self.countries if land["name"] in self.languages] or self.countries

    def country(self, draw):
        """One or two facts, the second about the same country ("its") or the same about another ("And Spain?")."""
        land = draw.choice(self.often if draw.random() < 0.75 else self.countries)
        known = self.facts(land)
        kind = draw.choice(list(known) + ["capital"] * 2)
        questions, answers = known[kind]
        turns = [pick(questions, draw), pick(answers, draw)]
        chance = draw.random()
        if chance < 0.35:
            other = draw.choice([other for other in self.often if other is not land] or [land])
            if kind in self.facts(other):
                name = other["name"]
                turns += [pick(f"And {name}?|What about {name}?|And for {name}?", draw),
                          pick(self.facts(other)[kind][1], draw)]
        elif chance < 0.6:
            kind = draw.choice([other for other in known if other != kind])
            turns += [pick(AGAIN[kind], draw), pick(known[kind][1], draw)]
        return turns

    def facts(self, land):
        """What can be asked and answered about `land`: {kind: (questions, answers)}."""
        name, borders, language = land["name"], land["neighbours"], self.languages.get(land["name"])
        found = {
            "capital": (f"What is the capital of {name}?|Which city is the capital of {name}?|Tell me the capital of "
                        f"{name}.|"
                        f"Capital of {name}?|Do you know the capital of {name}?",
                        f"The capital of {name} is {land['capital']}.|{land['capital']} is the capital of {name}."),
            "place": (f"Where is {name}?|Where can I find {name}?|In which part of the world is {name}?",
                      f"{name} is in {land['continent']}."),
        }
        if language:
            found["language"] = (
                f"What language do people speak in {name}?|What do people speak in {name}?|Which languages are spoken "
                f"in {name}?",
                f"In {name}, most people speak {language}.|People in {name} speak {language}.")
        if borders:
            answer = f"The only neighbor of {name} is {borders[0]}." if len(borders) == 1 else \
                f"{name} has borders with {joined(borders)}." if len(borders) < 5 else \
                f"Some neighbors of {name} are {joined(borders[:4])}."
            found["neighbours"] = (f"Which countries are next to {name}?|What are the neighbors of {name}?|"
                                   f"Which countries have a border with {name}?", answer)
        return found
