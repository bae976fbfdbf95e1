"""Names that look alike: a name is brought to its skeletons, and names that share one are alike to the eye.

After the skeleton of UTS #39, with a table of its own that holds what matters in names of voices: letters
of Cyrillic, Greek, Armenian and Latin that look like plain Latin ones, digits, Kana that look like Han, and
what cannot be seen at all. Traditional and simplified spellings of a Han name are one name. It flags, it
never forbids: false alarms are possible. Not for what a name may hold (fields.py). Follows specs/trust.md.
"""

import unicodedata
from functools import lru_cache

import opencc

from p2pvoice.protocol.errors import UsageError

TEXT_LIMIT = 200
"""Characters of a name that are compared."""

# Each line: what is shown as, and the characters that pass for it. Compatibility forms (fullwidth, circled,
# mathematical letters) are not listed, because normal form KC has replaced them before the table is asked.
_LOOKS = """
a аɑαạ⍺ꭤ
b ЬƄᏏᖯвʙ
c сϲᴄⅽꮯ
d ԁᏧᑯꓒ
e еҽ℮ꬲ
f ƒꞙẝꬵ
g ɡᶃƍց
h һհᏂнʜ
i іıɩɪӏ˛ιⅰꙇᎥ
j јϳʝ
k κкᴋ
l ӀǀІΙⵏןꓲ1I|ا
n ոռηп
o оοօᴏσⲟჿዐ०০੦૦௦౦೦๐໐ه0〇○ο
p рρϱⲣ
q ԛգզ
r гᴦⲅꭇ
s ѕƽꜱꮪ
t тτᴛ
u υսᴜʋꞟц
v νѵᴠטⱱ
x хχ᙮ⅹ
y уүγʏყỿ
z ᴢꮓ
A АΑᎪᗅꓮ
B ВΒᏴᗷꓐ
C СϹᏟꓚ
D Ꭰᗞꓓᗪ
E ЕΕᎬꓰ
F ϜᖴꓝҒ
G ԌᏀꓖ
H НΗᎻᕼꓧ
J ЈᎫꓙͿ
K КΚᏦꓗ
L ᏞᒪꓡԼ
M МΜᎷꓟϺ
N ΝꓠИ
O ОΟՕꓳ
P РΡᏢᑭꓑ
Q ⵕԚ
R ᎡᖇꓣƦ
S ЅՏᏚꓢ
T ТΤᎢꓔ
U ՍᑌꓴԱ
V ѴᏙꓦ
W ԜᎳꓪ
X ХΧꓫⵝ
Y УΥҮᎩꓬ
Z ΖᏃꓜ
2 ƧϨᒿ
3 ЗӠƷȜз
4 ЧᏎ
5 Ƽ
6 бᏮ
8 ȢȣႢ
9 ႁ
二 ニ
力 カ
口 ロ
夕 タ
工 エ
卜 ト
八 ハ
一 ー―—–
千 チ
才 オ
三 ミ
丿 ノ
入 ㅅ
rn mмᴍ
vv wѡԝш
ss ß
ae æӕ
oe œ
"""

_TABLE = {
    ord(character): target
    for target, characters in (line.split(" ", 1) for line in _LOOKS.strip().splitlines())
    for character in characters
}

# What separates words, or only looks like a mark beside them, does not make another name.
_IGNORED = frozenset("-_.,·・'’`\"*+~•‧ˈˌ")

_SIMPLE = opencc.OpenCC("t2s")


def alike(one: str, other: str) -> bool:
    """Whether two names look alike, or are the same."""
    return not skeletons(one).isdisjoint(skeletons(other))


@lru_cache(maxsize=8192)
def skeletons(name: str) -> frozenset[str]:
    """The forms a name is compared by, none when nothing of it can be seen.

    Two, because case decides what looks alike: ``I`` passes for ``l``, ``i`` does not, and yet ``Ivan`` and
    ``ivan`` are one name. UsageError for a name that is longer than any may be.
    """
    if len(name) > TEXT_LIMIT:
        raise UsageError(f"a name has at most {TEXT_LIMIT} characters")
    return frozenset(form for form in (_skeleton(name), _skeleton(name.casefold())) if form)


def _skeleton(name: str) -> str:
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", name))
    seen = "".join(_seen(character) for character in plain)
    # The table's own targets are looked up once more: m stands for rn, whatever alphabet the m was from.
    folded = "".join(_TABLE.get(ord(character), character) for character in seen.translate(_TABLE).casefold())
    return unicodedata.normalize("NFD", folded)


@lru_cache(maxsize=8192)
def _seen(character: str) -> str:
    """What is seen of one character: nothing, a digit, the simplified form of a Han character, or itself."""
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Cn", "Zs", "Zl", "Zp") or character in _IGNORED or _invisible(character):
        return ""
    if ord(character) in _TABLE:
        return character
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    # One by one, so that the same character is the same whatever stands beside it.
    return str(_SIMPLE.convert(character)) if category == "Lo" else character


def _invisible(character: str) -> bool:
    # Variation selectors and fillers have other categories, and show nothing.
    return (
        "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
        or (character in "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800")
    )
