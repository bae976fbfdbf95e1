"""The sentences that the starter is trained on, and those it is judged on.

Three kinds of source: sentences of public-domain books installed on the machine (the Jargon File),
sentences put together by small grammars below, and dictionary words (CMU, jieba) dropped into those
grammars. The held-out sentences are never trained on: whoever builds a corpus drops them by
``is_held_out``. Follows specs/starter.md.
"""

import gzip
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HELD_OUT: Final = {
    "en": (
        "The birch canoe slid on the smooth planks.", "Glue the sheet to the dark blue background.",
        "It's easy to tell the depth of a well.", "These days a chicken leg is a rare dish.",
        "Rice is often served in round bowls.", "The juice of lemons makes fine punch.",
        "The box was thrown beside the parked truck.", "The hogs were fed chopped corn and garbage.",
        "Four hours of steady work faced us.", "A large size in stockings is hard to sell.",
        "The boy was there when the sun rose.", "A rod is used to catch pink salmon.",
        "The source of the huge river is the clear spring.", "Kick the ball straight and follow through.",
        "Help the woman get back to her feet.", "A pot of tea helps to pass the evening.",
        "Smoky fires lack flame and heat.", "The soft cushion broke the man's fall.",
        "The salt breeze came across from the sea.", "The girl at the booth sold fifty bonds.",
    ),
    "zh": (
        "今天天气很好，我们一起去公园吧。", "请问附近有没有超市？", "我昨天晚上看了一部电影。", "他每天早上六点起床跑步。",
        "这本书非常有意思。", "明天下午我们开会讨论这个问题。", "妈妈做的饭最好吃。", "火车站离这里不远。",
        "春天来了，花都开了。", "谢谢你的帮助。",
    ),
    "yue": (
        "今日天氣好好，我哋一齊去公園啦。", "請問附近有冇超級市場？", "我尋晚睇咗一套戲。", "佢每朝六點起身跑步。",
        "呢本書好有意思。", "聽日下晝我哋開會傾呢件事。", "媽咪煮嘅飯最好食。", "火車站離呢度唔遠。",
        "春天嚟咗，啲花都開晒。", "多謝你幫手。",
    ),
}  # fmt: skip
"""English: the first twenty of the Harvard sentences (public domain); Chinese: our own."""

REDUCED: Final = frozenset(
    "the a an of to and in on at for is it was as are be from that with by or but he she his her they we you i".split()
)
"""Words the teacher should not stress, whatever the dictionary says."""

_NOUNS = (
    "man woman boy girl child friend teacher doctor farmer sailor captain king queen neighbor stranger brother sister "
    "mother father uncle cousin dog cat horse cow bird fish mouse sheep goose bear wolf lion garden kitchen window door "
    "house street city village river lake ocean mountain valley forest field bridge road train car boat ship truck "
    "bicycle plane table chair bed lamp clock mirror picture book letter paper pencil story song music voice word "
    "question answer problem idea plan reason number color shape size sound light shadow fire water earth wind rain "
    "snow storm cloud sun moon star sky morning evening night day week month year summer winter spring autumn bread "
    "butter cheese milk coffee tea sugar salt pepper apple orange lemon peach cherry bean rice soup cake egg chicken "
    "beef pork onion potato cup plate bowl spoon knife fork bottle box basket bag coat shirt shoe boot hat glove button "
    "pocket ring chain rope nail hammer wheel engine machine tool metal gold silver iron copper glass stone brick wood "
    "plank board leather cotton wool silk cloth thread needle school church market shop store bank office hospital "
    "station harbor island beach coast hill cave farm barn fence gate wall roof floor stair corner edge center side "
    "heart hand foot head face eye ear nose mouth tooth hair neck shoulder knee finger thumb leg arm back skin bone "
    "blood money price bill coin debt gift prize game ball team race goal kick jump throw catch crowd judge law rule "
    "crime police army war peace power strength health sickness pain joy fear anger hope love trust truth lie secret "
    "dream sleep thought mind memory lesson student class test page chapter paragraph sentence language computer "
    "program screen network message signal camera radio telephone paint brush wax oil gas coal smoke flame heat ice "
    "frost steam dust mud sand grass leaf tree branch root flower rose seed fruit nut corn wheat hay hog lamb calf "
    "chick duck frog snake ant bee fly spider worm shell fin tail wing feather claw beak fur"
).split()
_ADJECTIVES = (
    "old young big small large little tall short long wide narrow deep shallow high low heavy light thick thin hard soft "
    "smooth rough sharp dull bright dark clear cloudy clean dirty wet dry hot cold warm cool fresh stale sweet sour "
    "bitter salty rich poor cheap dear strong weak quick slow fast early late new fine good bad best worst great huge "
    "tiny round square flat steep straight crooked loose tight full empty open shut quiet loud gentle rude kind cruel "
    "happy sad angry calm brave shy wise foolish clever stupid lazy busy tired sick healthy blind deaf strange common "
    "rare plain fancy simple complex easy difficult safe dangerous true false real modern ancient local foreign public "
    "private red green blue yellow brown black white gray pink purple golden silver wooden broken useful useless "
    "beautiful ugly pretty pleasant terrible wonderful careful careless perfect serious famous popular"
).split()
_PAST = (
    "saw found lost bought sold took gave made broke fixed built burned carried caught chased cleaned closed opened "
    "covered crossed cut dropped drew painted ate drank cooked filled followed forgot heard held helped hid hit hurt "
    "kept kicked knew left liked loved hated moved needed paid picked pulled pushed put read wrote reached remembered "
    "sent served shook showed shut stole stopped studied taught threw touched turned used wanted washed watched wore "
    "brought changed chose counted crushed dragged fed fought guarded hung joined lifted mixed noticed packed planted "
    "poured pressed raised received rubbed scared smelled split spread struck swept tasted tied tore trapped traded "
    "visited warned wrapped"
).split()
_PLACES = (
    "in on under over near behind beside across from through toward around beyond against above below inside "
    "outside along past between"
).split()
_ADVERBS = (
    "quickly slowly quietly loudly carefully suddenly always never often seldom sometimes again today yesterday "
    "tomorrow tonight soon later early almost hardly really simply easily together alone twice once early gladly"
).split()
_OPENERS = (
    "yes|no|well|now|then|of course|for example|in the morning|last night|after a while|at first|in fact|as usual|"
    "on the other hand|once again|before long|thank you|good morning|excuse me|please|sorry|all right|at last"
).split("|")
_CLAUSES = (
    "there is|there was|here comes|this is|that was|it is|it was|i see|we have|they need|you can see|she likes|he wants"
).split("|")
_TALK = (
    "how are you today|what time is it now|where did you put the {n}|can you help me with the {n}|i don't know what you "
    "mean|we will see you again next week|she said that the {n} was {a}|do you want some {n} or some {n}|please give me "
    "the {a} {n}|this voice was made by a computer|you can hear the {n} from here|they didn't want to talk about the {n}|"
    "it takes {num} minutes to walk to the {n}|there are {num} {n}s in the {n}|he was born in nineteen {num}|the price "
    "is {num} dollars|what a {a} {n} that was|why is the {n} so {a}|if you {v2} the {n}, the {n} will be {a}|who has seen "
    "my {a} {n}|the more you {v2}, the more you {v2}|i think it will be {a} {t}|we live in a {a} {n} {p} the {n}|let us "
    "{v2} the {n} before it is too late|she is as {a} as a {n}|don't {v2} the {n} in the {n}|the {n} and the {n} are "
    "both {a}|nobody knows where the {n} went|hello and welcome to the {n}|it's {num} o'clock"
).split("|")
_BASE = (
    "see find lose buy sell take give make break fix build burn carry catch clean close open cover cross cut drop draw "
    "paint eat drink cook fill follow forget hear hold help hide keep kick know leave like love move need pay pick pull "
    "push read write reach remember send serve show stop study teach throw touch turn use want wash watch wear bring "
    "change choose count join lift mix press raise smell spread taste tie visit warn wrap glue tell kneel dip hoist "
    "stir wipe slide drive ride fly swim jump run walk talk speak sing laugh"
).split()
_NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty thirty forty fifty sixty seventy eighty ninety"
).split()


def is_held_out(text: str) -> bool:
    """Whether ``text`` is, but for its marks and case, a sentence that judges the voice."""

    def bare(value: str) -> str:
        return re.sub(r"[^\w']", "", value.lower())

    return bare(text) in {bare(sentence) for group in HELD_OUT.values() for sentence in group}


def english_books(folder: Path) -> list[str]:
    """Sentences of the Jargon File under ``folder``, a real root or an unpacked jargon-text package."""
    raw = ""
    jargon = folder / "usr/share/doc/jargon-text/jargon.txt.gz"
    if jargon.exists():
        raw = gzip.decompress(jargon.read_bytes()).decode("utf-8", "replace")
    found = set()
    for paragraph in re.split(r"\n\s*\n", raw):
        for sentence in re.split(r"(?<=[.!?])\s+", re.sub(r"\s+", " ", paragraph).strip()):
            if 18 <= len(sentence) <= 90 and re.fullmatch(r"[A-Z][A-Za-z ,']*[.!?]", sentence):
                found.add(sentence)
    return sorted(found)


def english_grammar(count: int, seed: int, words: list[str]) -> Iterator[str]:
    """``count`` made-up sentences; ``words`` are sprinkled in wherever a noun would stand."""
    rnd = random.Random(seed)

    def noun() -> str:
        return rnd.choice(words) if rnd.random() < 0.4 else rnd.choice(_NOUNS)

    def phrase() -> str:
        start = rnd.choice(
            "the the the the a a my your his her this that our their every some one no".split()
        )
        adjective = f" {rnd.choice(_ADJECTIVES)}" if rnd.random() < 0.55 else ""
        body = f"{adjective} {noun()}"
        if start == "a" and body.strip()[0] in "aeiou":
            start = "an"
        return start + body

    def fill(text: str) -> str:
        for key, pool in (
            ("{a}", _ADJECTIVES),
            ("{v2}", _BASE),
            ("{p}", _PLACES),
            ("{num}", _NUMBERS),
            ("{t}", _ADVERBS),
        ):
            while key in text:
                text = text.replace(key, rnd.choice(pool), 1)
        while "{n}" in text:
            text = text.replace("{n}", noun(), 1)
        return text

    for _ in range(count):
        kind = rnd.random()
        if kind < 0.45:
            text = f"{phrase()} {rnd.choice(_PAST)} {phrase()}"
            if rnd.random() < 0.6:
                text += f" {rnd.choice(_PLACES)} {phrase()}"
            if rnd.random() < 0.25:
                text += f" {rnd.choice(_ADVERBS)}"
        elif kind < 0.6:
            text = f"{rnd.choice(_CLAUSES)} {phrase()} {rnd.choice(_PLACES)} {phrase()}"
        elif kind < 0.7:
            text = f"{rnd.choice(_BASE)} {phrase()} and {rnd.choice(_BASE)} {rnd.choice(_PLACES)} {phrase()}"
        elif kind < 0.85:
            text = fill(rnd.choice(_TALK))
        else:
            text = f"{phrase()} {rnd.choice(['is', 'was', 'will be', 'seems', 'became'])} {rnd.choice(_ADJECTIVES)}"
            text += rnd.choice([" and ", ", but ", ", and "]) + f"{phrase()} {rnd.choice(_PAST)} {phrase()}"
        if rnd.random() < 0.12:
            text = f"{rnd.choice(_OPENERS)}, {text}"
        mark = "?" if text.split()[0] in "how what where can do why who".split() else rnd.choice("......!?")
        yield text[0].upper() + text[1:] + mark


def spoken_words(text: str) -> list[str]:
    """Words and marks of an English sentence, in lower case."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?|[.,?!]", text.lower())


def word_counts(sentences: list[str]) -> Counter[str]:
    """How often each word stands in ``sentences``."""
    return Counter(word for sentence in sentences for word in spoken_words(sentence) if word[0].isalpha())
