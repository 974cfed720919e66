"""Little stories from a grammar of characters, places, troubles and endings, and the chats in which they are told."""

import re

HE, SHE = ("he", "him", "his"), ("she", "her", "her")
NAMES = [(name, HE) for name in "Tom Ben Sam Max Leo Finn Toby Jack Otto Hugo Nico Bruno Felix Oscar".split()] + \
        [(name, SHE) for name in "Mia Lily Anna Rosie Ella Ruby Nina Daisy Luna Molly Poppy Clara Wendy Bella".split()]
KINDS = {
    "rabbit": "in a cozy hole under a hill", "mouse": "in a tiny house behind the wall", "bear": "in a warm cave",
    "fox": "at the edge of the forest", "frog": "by a green pond", "duck": "near a quiet lake",
    "cat": "in a house with a red roof",
    "dog": "on a small farm", "owl": "in a tall old tree", "squirrel": "in a big oak tree", "turtle": "near the beach",
    "elephant": "in a wide green valley", "hedgehog": "under a pile of leaves", "penguin": "on a white island of ice",
    "bird": "in a nest high above the ground", "monkey": "in a tree full of fruit",
    "dragon": "on top of a foggy mountain",
    "robot": "in a workshop full of tools", "girl": "in a village by the sea", "boy": "in a small town near the hills",
}
THINGS = ("red hat|blue scarf|little bell|wooden boat|yellow ball|favorite book|silver key|warm blanket|small drum|"
          "green kite").split("|")
SPOTS = ("under an old boat|behind a big stone|in the tall grass|on top of a bush|inside an old boot|"
         "under the bridge|in the garden").split("|")
FEARS = "the dark|thunder|deep water|high places|loud noises|the wind at night".split("|")
SKILLS = "swim|whistle|dance|climb|sing|paint|bake bread|ride a bike|jump over the stream|play the flute".split("|")
FOODS = ("a big red apple|a basket of berries|a sweet cake|a jar of honey|a round melon|a loaf of warm bread|"
         "a pot of soup").split("|")
GIFTS = "gave a little dance|hugged {friend}|sang a happy song|baked a cake for {friend}|jumped three times".split("|")

OPENINGS = [
    "[Once upon a time|Long ago|Once], there was a little {kind} named {name}. {He} lived {home}.",
    "[There once was|Once there was] a [young|small|kind] {kind} called {name}, who lived {home}.",
    "{name} was a [small|little|cheerful] {kind}. {He} lived {home}.",
]
PLOTS = [
    ["[One day|One morning|One sunny day], {name} could not find {his} {thing}. {He} looked [under the bed|behind the "
     "door|in every corner], "
     "but it was not there. {name} was very sad.",
     '[Then|Soon] {friend} the {other} came by. "What is wrong?" asked {friend}. "I have lost my {thing}," said '
     '{name}.',
     "{friend} [wanted to help|did not think twice], so they looked together. They looked here and they looked there. "
     "At last they found it {spot}!",
     "{name} was so happy that {he} {gift}. [From that day on, they were good friends.|It is good to have a friend "
     "who helps.]"],
    ["{name} had one [problem|secret]: {he} was afraid of {fear}. [Every time|Whenever] {he} thought of {fear}, {he} "
     "hid under a blanket.",
     '[One evening|One day], {friend} the {other} said, "I was afraid too, once. Come, hold my hand." {name} took a '
     'deep breath and went along.',
     "{His} legs shook, but {he} did not run away. Step by step, it got easier.",
     "[Soon|After a while] {name} began to smile. \"It is not so bad when you are with me,\" {he} said. "
     "[That night {name} slept very well.|After that, {name} was brave.|To be brave, you only need a first step.]"],
    ["More than anything, {name} wanted to learn to {skill}. {He} tried [once|on Monday], but it did not work. "
     "{He} tried [again|on Tuesday], and it still did not work.",
     '"I will never learn it," {he} said. But {friend} the {other} said, "Try a little every day."',
     "So {name} did. [Every morning|Each day after breakfast], {he} tried for a short time. Some days were good and "
     "some were bad.",
     "Then one [fine|bright] day, {name} could {skill}! All the others clapped. "
     "[{name} was very proud.|\"You see,\" said {friend}, \"small steps go a long way.\"]"],
    ["[One day|One afternoon], {name} found {food}. \"This is all for me!\" {he} said, and {he} sat down to eat.",
     "Then {he} saw {friend} the {other}, who looked [tired and hungry|thin and sad]. {name} thought about it for a "
     "moment.",
     '"Come and sit with me," said {name}. "There is enough for two." They shared the food, and they told each other '
     'funny stories.',
     "[It tasted better than ever before.|{name} was not full, but {he} was happy.] [Things are sweeter when you "
     "share them.|And so {name} found a friend.]"],
    ["[One day|One cold day], {name} went for a long walk. {He} followed a [butterfly|small path|funny sound] and did "
     "not look where {he} was going. "
     "Soon {he} was lost.",
     '"How will I get home?" cried {name}. Then {friend} the {other} came along. "Do not worry," said {friend}. "I '
     'know the way."',
     "They walked over the bridge and around the hill. [The stars came out.|The sun went down.] At last, {name} saw a "
     "light. It was home!",
     '"Thank you!" said {name}. [They drank hot cocoa together.|{He} gave {friend} a warm supper.] [After that, '
     '{name} always looked at the path.|It was good to be home.]'],
    ["{name} had just moved there, and {he} did not know anybody. All day {he} played alone. {He} felt [lonely|sad].",
     "[One day|One morning], {he} saw {friend} the {other} behind a tree. {friend} was shy and did not say a word.",
     '"Hello," said {name}. "Would you like to play?" {friend} looked up and smiled. "Yes, I would!"',
     "They played with the {thing} until the evening. [Now {name} was not lonely any more.|\"See you tomorrow!\" said "
     "{friend}.] "
     "[A small hello can change a whole day.|It only takes one word to find a friend.]"],
    ["[One night|One day], a storm broke the bridge. Nobody could cross the river. {friend} the {other} was on the "
     "other side and could not come home.",
     '"I am too small to build a bridge," said {name}. But then {he} had an idea. {He} called all the others.',
     "One brought wood, one brought rope, and one brought nails. {name} told everyone what to do. They worked all day.",
     "In the evening the bridge was done, and {friend} ran across it. \"Thank you, {name}!\" [Many small hands can do "
     "big things.|Everyone cheered, and {name} was proud.]"],
    ["[One night|One evening], {name} saw a little star fall into the grass. It was [cold and afraid|small and weak]. "
     "\"I want to go home,\" said the star.",
     '{name} put the star in {his} {thing} to keep it warm. Then {he} asked {friend} the {other} for help.',
     "Together they climbed the highest hill. {name} held the star up high. The wind took it and carried it back into "
     "the sky.",
     "Now, every night, one star shines a little brighter. [{name} looks up and waves.|That is the star saying thank "
     "you.]"],
]
ABOUT = {"girl", "boy"}

ASK = ["Tell me a story", "Tell me a story.", "Can you tell me a story?", "Please tell me a story.",
       "Tell me a short story.", "Tell a bedtime story",
       "I want to hear a story.", "Do you know a story?", "Write a short story.", "Write me a little story.",
       "Can you write a story for me?",
       "A story please!", "Make up a story."]
ASK_ABOUT = ["Tell me a story about {a} {kind}.", "Can you tell me a story about {a} {kind}?",
             "Write a story about {a} {kind}.",
             "A story about {a} {kind}, please.", "Write a short story about {a} {kind} named {name}.",
             "Tell me a story about {a} {kind} called {name}.", "Please tell me a bedtime story about {a} {kind}.",
             "Make up a story about {a} {kind}."]
AGAIN = ["Another one!", "Tell me another one.", "Another story, please.", "One more story!",
         "Can you tell me one more?"]
LIKED = [("That was a nice story.", "I am glad that you liked it!"), ("I like that story!", "Thank you! I am happy "
                                                                                            "that you like it."),
         ("Thank you for the story.", "You are welcome! Sleep well, if it is late."),
         ("That was sweet.", "Thank you! I like happy endings."),
         ("Good story!", "Thank you! Shall I tell you another one?")]


def pick(text, draw):
    """`text` with one of each [a|b|c] chosen."""
    return re.sub(r"\[([^\[\]]*)\]", lambda m: draw.choice(m[1].split("|")), text)


def story(draw, kind=None):
    """A story, and what its slots hold: (text, {slot: words}). About a `kind` of `KINDS`, any when None."""
    kind = kind or draw.choice(list(KINDS))
    names = [pair for pair in NAMES if kind not in ABOUT or pair[1] == (HE if kind == "boy" else SHE)]
    name, (he, him, his) = draw.choice(names)
    friend = draw.choice([other for other, _ in NAMES if other != name])
    other = draw.choice([other for other in KINDS if other != kind and other not in ABOUT])
    slots = {"kind": kind, "home": KINDS[kind], "name": name, "he": he, "him": him, "his": his, "He": he.capitalize(),
             "His": his.capitalize(),
             "friend": friend, "other": other, "a": "an" if kind[0] in "aeiou" else "a"}
    for slot, words in (("thing", THINGS), ("spot", SPOTS), ("fear", FEARS), ("skill", SKILLS), ("food", FOODS),
                        ("gift", GIFTS)):
        slots[slot] = draw.choice(words).format(**slots)
    parts = [draw.choice(OPENINGS)] + draw.choice(PLOTS)
    return " ".join(pick(part, draw).format(**slots) for part in parts), slots


def tale(draw):
    """The turns of a chat in which a story is asked for, told, and perhaps talked about."""
    asked = draw.random() < 0.6
    text, slots = story(draw)
    turns = [draw.choice(ASK_ABOUT if asked else ASK).format(**slots), text]
    chance = draw.random()
    if chance < 0.25:
        turns += questions(draw, slots)
    elif chance < 0.35:
        turns += draw.choice(LIKED)
    elif chance < 0.45:
        turns += [draw.choice(AGAIN), story(draw)[0]]
    return turns


def questions(draw, slots):
    """One or two exchanges about the story that was just told."""
    found = [
        (["What was the name of the {kind}?", "What is the {kind} called?", "Who is the story about?"],
         ["The {kind} was called {name}.", "The name of the {kind} was {name}.",
          "It is about {name}, a little {kind}."]),
        (["Where did {name} live?", "Where does {name} live?"], ["{name} lived {home}.", "{He} lived {home}."]),
        (["Who is {friend}?", "Who was {friend}?"], ["{friend} is the {other} in the story.",
                                                     "{friend} is a {other} and a friend of {name}."]),
        (["Who helped {name}?", "Who was the friend of {name}?"], ["It was {friend} the {other}.",
                                                                   "{friend} the {other}."]),
    ]
    turns = []
    for asked, answers in draw.sample(found, draw.choice((1, 1, 2))):
        turns += [draw.choice(asked).format(**slots), re.sub(r"\ba (?=[aeiou])", "an ",
                                                             draw.choice(answers).format(**slots))]
    return turns
