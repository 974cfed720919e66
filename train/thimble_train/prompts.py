"""What people ask a small chatbot: everyday prompts, made from templates, lists of plain words and the dictionaries."""

import collections
import random
import re
from typing import NamedTuple

from thimble_train.sources import rows


class Prompt(NamedTuple):
    text: str
    hint: str  # what only the teacher sees beside the text, or ""
    follow_ups: list  # what to say after the answers, none to two of them


def words(text, separator=","):
    return [" ".join(word.split()) for word in text.split(separator)]


WORDS = {
    "animal": words("""dog, cat, horse, cow, pig, sheep, goat, rabbit, mouse, fox, wolf, bear, lion, tiger, elephant,
        monkey, giraffe, zebra, camel, donkey, deer, squirrel, hedgehog, bat, owl, eagle, crow, robin, parrot,
        penguin, duck, goose, swan, hen, turkey, frog, toad, snake, lizard, turtle, crocodile, fish, shark, whale,
        dolphin, octopus, crab, seal, bee, ant, butterfly, spider, snail, worm, beetle, ladybird, kangaroo, koala,
        panda, kitten, puppy, pony, lamb"""),
    "food": words("""bread, soup, rice, pasta, cheese, honey, butter, toast, porridge, salad, stew, curry, pizza,
        pancakes, apple pie, fried eggs, boiled eggs, an omelette, roast potatoes, mashed potatoes, vegetable soup,
        chicken soup, tomato sauce, fruit salad, chocolate cake, biscuits, scones, jam, lemonade, hot chocolate, tea,
        coffee, popcorn, a sandwich, noodles, beans on toast, tacos, muffins, banana bread, dumplings, ice cream,
        yogurt, a smoothie"""),
    "fruit": words("""apple, banana, orange, lemon, pear, plum, peach, cherry, strawberry, grape, melon, mango,
        tomato, carrot, potato, onion, pumpkin, cabbage, pea, bean, mushroom, nut, coconut, pineapple, cucumber,
        pepper, olive"""),
    "place": words("""beach, forest, park, library, museum, market, school, farm, garden, kitchen, castle, village,
        city, island, mountain, river, lake, desert, zoo, hospital, theatre, bakery, train station, airport, harbour,
        cave, bridge, playground, hotel, restaurant, church, bookshop, post office, swimming pool, lighthouse, field,
        valley, cinema"""),
    "thing": words("""book, chair, table, lamp, clock, mirror, window, door, key, bottle, cup, spoon, knife, plate,
        pencil, pen, letter, box, basket, bag, umbrella, coat, hat, shoe, scarf, blanket, pillow, bed, candle, hammer,
        ladder, rope, bucket, bicycle, car, bus, train, boat, ship, aeroplane, kite, ball, doll, drum, guitar, piano,
        violin, flute, camera, phone, computer, radio, television, map, ring, coin, tent, torch, telescope, fridge,
        oven, kettle, toothbrush, soap, brush"""),
    "nature": words("""rain, snow, wind, fog, thunder, lightning, a rainbow, the sun, the moon, a star, a cloud,
        a tree, a flower, a leaf, grass, a seed, a stone, sand, the sea, a wave, a river, a lake, ice, fire,
        a volcano, a hill, the sky, night, spring, summer, autumn, winter, morning, a storm, a shadow, dew, frost,
        a waterfall, an earthquake, a planet"""),
    "person": words("""teacher, doctor, nurse, farmer, baker, cook, gardener, driver, pilot, sailor, soldier, singer,
        painter, writer, builder, carpenter, plumber, engineer, scientist, dentist, vet, firefighter, police officer,
        judge, tailor, librarian, shopkeeper, waiter, fisherman, musician, dancer, actor, king, queen, prince,
        princess, knight, grandmother, grandfather, neighbour, little girl, little boy, old man, old woman, astronaut,
        clown, wizard, shepherd, giant"""),
    "idea": words("""friendship, love, kindness, courage, honesty, patience, hope, luck, trust, respect, freedom,
        peace, justice, happiness, sadness, anger, fear, jealousy, pride, shame, loneliness, boredom, curiosity,
        memory, imagination, time, money, work, health, sleep, music, art, science, history, language, mathematics,
        religion, democracy, gravity, energy, electricity, light, sound, heat, evolution, the internet,
        a computer program, the weather, the heart, the brain, a vote, a law, a bank, a tax, a friend, a family,
        a habit, a promise, a mistake, a secret, a dream, a joke"""),
    "activity": words("""reading, writing, drawing, painting, singing, dancing, cooking, baking, gardening, swimming,
        running, walking, cycling, camping, fishing, knitting, sewing, sleeping, climbing, sailing, skating, skiing,
        chess, football, tennis, yoga, photography, travelling, shopping, cleaning, studying, playing the piano,
        playing the guitar, learning a language, watching films, listening to music, playing board games,
        bird watching, making friends, helping others, saving money, eating vegetables, drinking water,
        getting up early, taking a nap, telling stories"""),
    "task": words("""make a cup of tea, boil an egg, bake bread, make pancakes, cook rice, make soup, plant a tree,
        grow tomatoes, water plants, wash clothes, iron a shirt, sew a button, clean a window, sweep the floor,
        tidy my room, make my bed, fix a bicycle tyre, ride a bicycle, paint a wall, hang a picture, write a letter,
        write a poem, write a story, learn to swim, learn to draw, learn to sing, learn a new language,
        learn to play chess, remember names, save money, sleep better, wake up early, eat more vegetables,
        drink more water, stay warm in winter, stay cool in summer, make new friends, keep a friend, say sorry,
        say no politely, ask for help, thank a teacher, cheer up a friend, calm down, stop worrying, be more patient,
        be on time, plan my day, study for a test, do my homework, read faster, train a puppy, brush a cat,
        feed birds, take care of a fish, pack a suitcase, read a map, take a good photo, build a sandcastle,
        fly a kite, make a paper boat, light a campfire safely, put up a tent, find my lost keys, choose a present,
        plan a birthday party, give a speech, start a diary, wrap a gift, cut an onion, peel an orange,
        get rid of hiccups, cure a headache, treat a small cut, stop a nosebleed, catch a ball, whistle, tie a knot,
        use less water, use less electricity, recycle paper, make a garden, keep a room clean, wash the dishes"""),
    "feeling": words("""happy, sad, tired, bored, lonely, angry, nervous, excited, worried, proud, calm, hungry,
        thirsty, cold, sleepy, sick, stressed, shy, confused, scared, grateful, hopeful, jealous, homesick, restless,
        lazy, silly, great, a bit down, much better, full of energy, not very well, lost, lucky, curious, left out,
        disappointed, cheerful"""),
    "event": words("""I lost my keys, I passed my exam, I failed my test, my dog is sick, my cat ran away,
        I have a new job, I lost my job, I am moving to a new house, I had a bad dream, I had a lovely day,
        I broke a cup, I missed the bus, my friend is angry with me, I had a fight with my brother,
        my sister is getting married, I have a cold, I cannot sleep, it is raining again, it is very hot today,
        it is snowing, I am going on holiday, I am learning to cook, I burned dinner, I made a cake, I found a coin,
        I met an old friend, I start school tomorrow, I have a test tomorrow, it is my birthday, I forgot my lunch,
        I won a race, I read a good book, I saw a rainbow, I am late for work, my train is late, I have nothing to do,
        I do not know what to cook, I spilled my coffee, my plants are dying, I got a letter today, I am home alone,
        I planted some flowers, I cannot find my phone, I want to learn the piano, I miss my grandmother"""),
    "why": words("""do birds sing, do cats purr, do dogs bark, do bees make honey, do leaves fall in autumn,
        do we sleep, do we dream, do we yawn, do we laugh, do we cry, do we get hungry, do people tell stories,
        do people like music, do people work, do we need water, do we need friends, do children play,
        do plants need light, do fish live in water, do ships float, do birds fly south, do we have seasons,
        do stars shine, do people keep pets, do people travel, do we brush our teeth, do we wear clothes,
        do we say thank you, do people lie, do we forget things, does it rain, does ice melt, does wood burn,
        does the moon change shape, does bread rise, does the sun set, does a mirror show my face, does salt melt ice,
        is the sky blue, is the sea salty, is grass green, is snow white, is honey sweet, is sleep important,
        is fire hot, is it dark at night, is it cold in winter, is kindness important, is it hard to wake up,
        is reading good for us, are some people shy, are flowers colourful, are babies small, are lemons sour,
        are trees important, are books useful, should I exercise, should I be honest, should we save water,
        should I wash my hands, should we vote, should I learn maths"""),
    "good": words("""to eat breakfast, to sleep late, to drink a lot of coffee, to tell the truth, to share,
        to be alone sometimes, to eat sweets every day, to watch a lot of television, to read every day,
        to have a pet, to live in a city, to live in the country, to work at night, to make mistakes, to cry,
        to ask questions, to be curious, to keep secrets, to save money, to walk to work, to drink milk, to eat meat,
        to play games, to use a phone in bed, to plan everything, to help strangers, to argue, to say sorry first,
        to exercise in the morning, to take a nap, to learn by heart, to write by hand, to be quiet, to travel alone,
        to have many friends, to have only one friend, to be different"""),
    "pair": words("""a cat and a dog, a frog and a toad, a lake and a sea, a river and a stream,
        a hill and a mountain, tea and coffee, a lemon and a lime, a bee and a wasp, a crocodile and an alligator,
        a rabbit and a hare, a moth and a butterfly, a star and a planet, the sun and the moon, weather and climate,
        a country and a city, a village and a town, a king and a president, a doctor and a nurse, a poem and a story,
        a fact and an opinion, a noun and a verb, a need and a want, a job and a hobby, love and friendship,
        being alone and being lonely, hearing and listening, a cup and a glass, a boat and a ship, a bus and a train,
        butter and margarine, jam and honey, a fruit and a vegetable, rain and snow, fog and cloud,
        a novel and a short story, a guitar and a violin, a mouse and a rat, a pony and a horse, a lie and a mistake,
        a school and a university, speed and distance, heat and temperature, a plant and an animal,
        a friend and a neighbour, a house and a home, a duck and a goose, an ape and a monkey, salt and sugar"""),
    "small_talk": words("""Hello!; Hi!; Hey there!; Good morning!; Good evening!; How are you?; How are you today?;
        How was your day?; What is new?; Nice to meet you.; Tell me a joke.; Tell me something interesting.;
        Tell me something nice.; I am bored.; Can you help me?; What shall we talk about?; Let us talk.;
        Say something kind.; I need some advice.; Cheer me up.; What makes a good day?; What should I do today?;
        What should I have for dinner?; What should I read?; Good night!; Thank you for your help.; Wish me luck!;
        I like talking to you.; Ask me a question.; Give me a compliment.; What is a good name for a cat?;
        What is a good name for a dog?; What is a good name for a boat?; Sing me a song.; Guess what happened today!;
        Do you have a minute?; It is late.; I just woke up.; I am going to bed.; See you tomorrow!;
        What is the best season?; What is a good hobby?; Can we be friends?; Tell me a riddle.;
        Tell me a secret.""", ";"),
}

# How often, and what; {a name} is a word of WORDS with its article, {name} without, {names} more than one.
TEMPLATES = [
    (2, "What is {a animal}?"), (2, "What is {a thing}?"), (1, "What is {a place}?"), (2, "What is {nature}?"),
    (3, "What is {idea}?"), (1, "What is {a fruit}?"), (1, "Who is {a person}?"), (2, "What does {a person} do?"),
    (1, "What is {a thing} used for?"), (1, "What do {animals} eat?"), (1, "Where do {animals} live?"),
    (1, "What does {a animal} look like?"), (1, "What can I do with {a thing}?"), (1, "What can I see at {a place}?"),
    (3, "Explain {idea} in simple words."), (1, "Explain {nature} to a child."), (1, "Tell me about {nature}."),
    (2, "Tell me about {animals}."), (1, "Tell me about {idea}."), (1, "Tell me a fact about {animals}."),
    (3, "Describe {a animal}."), (3, "Describe {a place}."), (2, "Describe {a thing}."), (2, "Describe {nature}."),
    (1, "Describe {a person}."), (1, "Describe a day at {a place}."), (1, "Describe the taste of {a fruit}."),
    (5, "Tell me a very short story about {a animal} and {a animal}."),
    (5, "Tell me a very short story about {a person} and {a animal}."),
    (4, "Tell me a very short story about {a person} and {a thing}."),
    (3, "Tell me a short story about {a animal} at {a place}."), (2, "Write a short story about {idea}."),
    (2, "Tell me a bedtime story about {a animal}."), (2, "Write a sentence about {a animal} and {a thing}."),
    (2, "Write one sentence about {a place}."), (1, "Write a short letter to {a person}."),
    (2, "Write a short poem about {nature}."), (1, "Write a short poem about {a animal}."),
    (1, "Write a short poem about {idea}."), (2, "Give me three tips for {activity}."),
    (2, "Give me some advice about {activity}."), (1, "Give me a tip for {activity}."),
    (3, "What do you think about {activity}?"), (2, "What do you think about {idea}?"), (2, "Do you like {food}?"),
    (2, "Do you like {animals}?"), (1, "Do you like {activity}?"), (2, "Why do people like {activity}?"),
    (1, "Why do people like {animals}?"), (1, "How do I get better at {activity}?"),
    (1, "Is {activity} good for me?"), (1, "Is {activity} hard?"), (2, "Why is {idea} important?"),
    (6, "How do I {task}?"), (3, "How can I {task}?"), (3, "I want to {task}. Any advice?"),
    (2, "Can you help me {task}?"), (2, "What do I need to {task}?"), (2, "How do I make {food}?"),
    (1, "What goes well with {food}?"), (1, "I am making {food} today."), (1, "What is in {food}?"),
    (1, "Is {food} good for you?"), (1, "I ate {food} for lunch."), (3, "I feel {feeling} today."),
    (2, "I am {feeling}. What should I do?"), (1, "My friend feels {feeling}. How can I help?"),
    (1, "What do you do when you are {feeling}?"), (1, "Why do I feel {feeling}?"),
    (1, "Describe someone who is {feeling}."), (5, "{Event}."), (2, "{Event}. What should I do?"),
    (2, "I am sad because {event}."), (1, "Guess what? {Event}!"), (6, "Why {why}?"), (4, "Is it good {good}?"),
    (2, "Is it bad {good}?"), (4, "What is the difference between {pair}?"),
    (2, "Compare {pair}."), (2, "Which is bigger, {a animal} or {a animal}?"),
    (1, "Name three animals that live near {a place}."), (2, "Would you rather be {a animal} or {a animal}?"),
    (1, "Would you rather live in {a place} or in {a place}?"), (1, "What would {a animal} say if it could talk?"),
    (1, "Imagine you are {a animal}. What do you see?"), (1, "What is a good present for {a person}?"),
    (1, "I saw {a animal} today."), (1, "I want a pet {animal}. Is that a good idea?"),
    (1, "I am going to {a place} tomorrow."), (1, "What should I take to {a place}?"), (1, "My {thing} is broken."),
    (1, "I bought a new {thing}."), (1, "Give me three words that describe {a animal}."),
    (1, "Write a question about {nature} and answer it."), (1, "What colour is {a fruit}?"),
    (1, "How does {a thing} work?"), (1, "What is {a thing} made of?"), (1, "When do people use {a thing}?"),
    (1, "What do {animals} and {animals} have in common?"), (8, "{small_talk}"),
]
FOLLOW_UPS = words("""Tell me more.; Why?; Why is that?; Can you give me an example?; Can you give an example?;
        Thanks!; Thank you!; Thanks! That helps.; Thank you very much.; What else?; Really?;
        Can you say that in simpler words?; Are you sure?; That is interesting. Tell me more.; I did not know that.;
        What happened next?; How do you know?; And then?; Go on.; Can you explain that again?; What do you mean?;
        What should I do first?; I like that.; Nice!; That sounds good. What else?; Is that always true?;
        And what do you think?; What if it does not work?; Okay. Goodbye!; Thanks! Have a nice day.""", ";")
STORY_FOLLOW_UPS = words("""What happened next?; And then?; Tell me another one.; I like that story.; Why?;
        Thank you! I liked that.; How does it end?; What can we learn from it?; Nice! Who is your favourite?;
        Go on.""", ";")
# What only makes sense after what was said before: by the name in the template, words that lean on it ("it", "one").
LEANING = {name: words(text, ";") for name, text in {
    "a animal": "What does it eat?; Where does it live?; Is it dangerous?; Can I keep one at home?; How big is it?",
    "animals": "Where do they live?; What do they eat?; Are they dangerous?; Do they make good pets?; Can they swim?",
    "food": """What do I need for it?; How long does it take?; Is it healthy?; I do not have an oven.;
        Can I make it without milk?; What can I drink with it?; How do I keep it fresh?""",
    "task": """How long does it take?; What do I need for it?; What if it does not work?; Is it hard?; Can a child do it?;
        What is the most important part?; I tried that before. It did not work.""",
    "feeling": """I did not sleep well.; I had a long day at work.; What should I do?; I want to be alone.;
        Thank you, I will try that.; I do not know why.; It started this morning.""",
    "event": """What should I do now?; It happened this morning.; How would you feel?; Thanks, that is kind of you.;
        Nobody can help me.; It is not the first time.; Should I tell my friends?""",
    "activity": """How do I start?; What do I need for it?; Is it expensive?; How often should I do it?; I never tried it.;
        I do not have much time.""",
    "a place": "What can I do there?; Is it nice in winter?; Who works there?; What should I wear there?; Is it free?",
    "a thing": "Where can I buy one?; Is it expensive?; How do I clean it?; Can I make one myself?; Who uses it?",
    "idea": "Can you give me an example?; Why does it matter?; Can it be learnt?; How do I explain it to a child?",
    "nature": "Where can I see it?; Is it dangerous?; What causes it?; What does it look like?; Do you like it?",
    "a person": "Is it a hard job?; What tools do they need?; How do I become one?; Where do they work?",
    "a fruit": "Is it healthy?; What can I cook with it?; Where does it grow?; What does it taste like?",
    "why": "Is that always so?; How do we know that?; Can you say that in simpler words?; Tell me more about that.",
    "good": "How often is too often?; What would you do?; Why do people say so?; My mother says the opposite.",
    "pair": "Which one is bigger?; Which one do you like more?; Which one is more common?; How can I remember that?",
}.items()}
PLURALS = {"mouse": "mice", "wolf": "wolves", "sheep": "sheep", "deer": "deer", "goose": "geese", "fish": "fish",
           "fox": "foxes", "butterfly": "butterflies", "pony": "ponies", "octopus": "octopuses", "puppy": "puppies"}
# In quotes, because no rule says which terms take an article.
TERM_TEMPLATES = ['What is meant by "{0}"?', 'Explain the term "{0}".', 'What does "{0}" mean?',
                  'Can you explain what "{0}" means?']
WORD_TEMPLATES = ['What does "{0}" mean?', 'What does the word "{0}" mean?', 'What is the meaning of "{0}"?',
                  'Explain the word "{0}".']


def article(word):
    """`word` with "a" or "an", unless it has an article."""
    if re.match(r"(an?|the) ", word):
        return word
    return ("an " if re.match(r"(?!one|uni|use|euro)[aeiou]|hour|honest", word) else "a ") + word


def fill(template, rng):
    """`template` with words for its names, no word twice."""
    used = set()

    def word(match):
        name, plural = match["name"].lower(), False
        if name not in WORDS:
            name, plural = name.removesuffix("s"), True
        chosen = rng.choice([word for word in WORDS[name] if word not in used])
        used.add(chosen)
        if plural:
            chosen = PLURALS.get(chosen, chosen + "s")
        chosen = article(chosen) if match["article"] else chosen
        return chosen[0].upper() + chosen[1:] if match["name"][0].isupper() else chosen

    return re.sub(r"\{(?P<article>a )?(?P<name>\w+)\}", word, template)


# Glossaries of everyday subjects, and what a small model should rather not explain.
BOOKS = {"Astronomy 2e", "Physics", "Psychology 2e", "American Government 4e", "Principles of Economics 3e",
         "Introduction to Sociology 3e"}
DELICATE = re.compile(r"sex|genit|vagin|peni[sl]|erotic|drug|suicid|rape|porn|abus|murder|kill|racis|slave|nazi|terror|"
                      r"intercourse|prostitut|abort|offensive|homosex|gender", re.I)


def defined(data):
    """(template, word, definition) of the folder `data`: what glossaries say in few words, and the dictionary's words
    that stories and simple news use often."""
    terms = {}
    for row in rows(data, "openstax-glossary"):
        term, definition = row["term"], row["definition"]
        short = re.fullmatch(r"[a-z]+( [a-z]+)?", term) and len(definition.split()) <= 20 and definition.isascii()
        if row["book"] in BOOKS and short and not DELICATE.search(f"{term} {definition}"):
            terms[term] = definition
    counts = collections.Counter()
    for name in "childrens-stories", "onestopenglish":
        for row in rows(data, name):
            counts.update(re.findall(r"[a-z]+", row["text"]))
    common = []
    for row in rows(data, "wordset"):
        word, meanings = row["word"], row["meanings"]
        if DELICATE.search(f"{word} {meanings[0]['def'] if meanings else ''}"):
            continue
        # The dictionary does not say which of many meanings is the usual one.
        if counts[word] >= 8 and len(word) > 3 and len(meanings) <= 3 and meanings[0]["pos"] in ("noun", "adjective"):
            common.append((word, meanings[0]["def"]))
    return ([(template, *pair) for template in TERM_TEMPLATES for pair in terms.items()],
            [(template, *pair) for template in WORD_TEMPLATES for pair in common])


def what_follows(template, rng):
    """What may be said after the answer to a prompt of `template`: mostly nothing, else one or two things."""
    follow_ups = []
    general = STORY_FOLLOW_UPS if re.search("story|poem|letter|sentence", template) else FOLLOW_UPS
    names = re.findall(r"\{(.+?)\}", template)
    # "It" must be clear: of two animals, neither is.
    leaning = LEANING.get(names[0].lower(), []) if len(names) == 1 and general is FOLLOW_UPS else []
    while len(follow_ups) < 2 and rng.random() < 0.45:
        choice = rng.choice(leaning if leaning and rng.random() < 0.75 else general)
        if choice not in follow_ups:
            follow_ups.append(choice)
    return follow_ups


def prompts(data, seed):
    """Distinct prompts in an order that `seed` alone decides, until the templates have little new to say."""
    rng = random.Random(seed)
    dictionaries = defined(data)
    weights, templates = zip(*TEMPLATES)
    seen, stale = set(), 0
    while stale < 10_000:
        hint, share = "", rng.random()
        if share < 0.15:
            template, word, definition = rng.choice(dictionaries[share < 0.08])
            text = template.format(word)
            hint = f"({word}: {definition.strip().rstrip('.')}.)"
        else:
            template = rng.choices(templates, weights)[0]
            text = fill(template, rng)
        follow_ups = what_follows(template, rng)
        if text in seen:
            stale += 1
            continue
        stale = 0
        seen.add(text)
        yield Prompt(text, hint, follow_ups)
