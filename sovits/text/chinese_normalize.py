"""Chinese text to words: dates, times, units, arithmetic, telephone numbers, quantities, Greek letters.

Used for Mandarin and for Cantonese alike, both written in simplified characters afterwards. The rules and
their order are those of the published front end, because every published voice was trained on its
output. With ``upstream`` its slips are kept, too: "1,234" is two numbers, the scale of a temperature is lost,
"6300公里" is read digit by digit. Follows specs/text.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

import re
from collections.abc import Callable
from functools import cache
from typing import Final

from .chinese_numbers import digit_by_digit, number, quantity
from .tables import load_json

_DROPPED = re.compile(r"[—《》【】<>{}()（）#&@“”^_|\\]")
_SENTENCE_END = re.compile(r"(?<=[：、，；。？！,;?!])(?![”’])|(?<=[：、，；。？！,;?!][”’])|\n+")

_UNITS: Final = {
    "cm2": "平方厘米", "cm²": "平方厘米", "cm3": "立方厘米", "cm³": "立方厘米", "cm": "厘米", "db": "分贝",
    "ds": "毫秒", "kg": "千克", "km": "千米", "m2": "平方米", "m²": "平方米", "m³": "立方米", "m3": "立方米",
    "ml": "毫升", "m": "米", "mm": "毫米", "s": "秒",
}  # fmt: skip
_OPERATORS: Final = {"+": "加", "-": "减", "×": "乘", "÷": "除", "=": "等于"}
_POWERS: Final = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹ˣʸⁿ", "0123456789xyn", strict=True))
_LAST_WORDS: Final = str.maketrans(
    {"/": "每", "+": "加", "-": "减", "×": "乘", "÷": "除", "=": "等"}
    | dict(zip("①②③④⑤⑥⑦⑧⑨⑩", "一二三四五六七八九十", strict=True))
    | {"α": "阿尔法", "β": "贝塔", "γ": "伽玛", "Γ": "伽玛", "δ": "德尔塔", "Δ": "德尔塔", "ε": "艾普西龙"}
    | {"ζ": "捷塔", "η": "依塔", "θ": "西塔", "Θ": "西塔", "ι": "艾欧塔", "κ": "喀帕", "λ": "拉姆达"}
    | {"Λ": "拉姆达", "μ": "缪", "ν": "拗", "ξ": "克西", "Ξ": "克西", "ο": "欧米克伦", "π": "派", "Π": "派"}
    | {"ρ": "肉", "ς": "西格玛", "σ": "西格玛", "Σ": "西格玛", "τ": "套", "υ": "宇普西龙", "φ": "服艾"}
    | {"Φ": "服艾", "χ": "器", "ψ": "普赛", "Ψ": "普赛", "ω": "欧米伽", "Ω": "欧米伽"}
)
_HALF_WIDTH: Final = str.maketrans(
    {chr(code + 0xFEE0): chr(code) for code in range(0x30, 0x7B) if chr(code).isalnum()} | {"\u3000": " "}
)
# Words that count things: "2" before one of them is 两, and a number before one is always a quantity.
_COUNTERS: Final = "|".join(
    (
        "小时 分米 厘米 毫米 微米 千米 千克 毫克 微克 公分 美元 "
        + " ".join(
            f"{power}{unit}" for unit in ("元", "吨", "块") for power in "亿 千万 百万 万 千 百".split()
        )
        + " 十吨 吨 亿 千万 百万 万 千 百 "
        + " ".join(
            "处台架枚趟幅平方堵间床株批项例列篇栋注亩封艘把目套段人所朵匹张座回场尾条个首阙阵网炮顶丘棵只支袭辆"
            "挑担颗壳窠曲墙群腔砣客贯扎捆刀令打手罗坡山岭江溪钟队单双对出口头脚板跳枝件贴针线管名位身堂课本页家户"
            "层丝毫厘分钱两斤铢石钧锱忽寸尺丈里寻常铺程米撮勺合升斗盘碗碟叠桶笼盆盒杯斛锅簋篮罐瓶壶卮盏箩箱煲啖袋"
            "钵年月日季刻时周天秒旬纪岁世更夜春夏秋冬代伏辈丸泡粒幢堆根道面片块元角毛"
        )
    ).split()
)

# What counts things as well, and the published list lacks.
_MORE_COUNTERS: Final = "|".join(
    (
        "平方公里 平方千米 平方英里 立方米 公里 公尺 公斤 公升 公顷 海里 英里 英尺 英寸 英亩 毫升 升 克 磅 "
        "千瓦时 千瓦 兆瓦 瓦 伏 毫安 赫兹 分贝 欧元 英镑 日元 港元 港币 澳元 加元 韩元 卢布 美金 人民币 "
        "倍 次 步 票"
    ).split()
)
_MEASURED_NEXT = re.compile(r"%|°|℃|℉|度|摄氏度|华氏度|[-~/+×÷=⁰¹²³⁴⁵⁶⁷⁸⁹]")
_GROUPED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9]|,[0-9])")

_TIME = r"([0-1]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?"
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_SUPER = r"[⁰¹²³⁴⁵⁶⁷⁸⁹ˣʸⁿ]*"
_TERM = rf"(?:-?{_NUMBER}{_SUPER}|\.[0-9]+{_SUPER}|[A-Za-z]{_SUPER})"
_MEASURED = rf"(?:{_NUMBER}|\.[0-9]+)(?:%|°C|℃|度|摄氏度|" + "|".join(_UNITS) + ")"

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def _sign(sign: str | None, word: str = "负") -> str:
    return word if sign else ""


def _date(match: re.Match[str]) -> str:
    year, month, day, day_word = match.groups()
    words = digit_by_digit(year) + "年"
    words += f"{quantity(month)}月" if month else ""
    return words + (quantity(day) + day_word if day else "")


def _two_digits(digits: str) -> str:
    return ("零" if digits.startswith("0") else "") + number(digits.lstrip("0"))


def _clock(hour: str, minute: str, second: str | None, half: bool) -> str:
    words = f"{number(hour)}点"
    if minute != "00":
        words += "半" if half else f"{_two_digits(minute)}分"
    return words + (f"{_two_digits(second)}秒" if second and second != "00" else "")


def _time(match: re.Match[str]) -> str:
    return _clock(match[1], match[2], match[3], match[2] == "30")


def _time_range(match: re.Match[str]) -> str:
    start = _clock(*match.group(1, 2, 3), half=match[2] == "30")
    return f"{start}至{_clock(*match.group(4, 5, 6), half=match[5] == '30')}"


def _published_time_range(match: re.Match[str]) -> str:
    # Whether the end reads 半 hangs on the minutes of the start.
    half = match[2] == "30"
    return f"{_clock(*match.group(1, 2, 3), half)}至{_clock(*match.group(4, 5, 6), half)}"


def _temperature(match: re.Match[str]) -> str:
    scale = {"度": "度", "°F": "华氏度", "℉": "华氏度", "华氏度": "华氏度"}.get(match[3], "摄氏度")
    return f"{_sign(match[1], '零下')}{number(match[2])}{scale}"


def _published_temperature(match: re.Match[str]) -> str:
    # The scale is left unsaid, whatever way it is written.
    return f"{_sign(match[1], '零下')}{number(match[2])}度"


def _grouped(match: re.Match[str]) -> str:
    # A rule further on says how a number before a sign is read; alone, a grouped number is a quantity.
    digits = match[0].replace(",", "")
    before = match.string[match.start() - 1 : match.start()]
    plain = before in ("-", "+", "±") or _MEASURED_NEXT.match(match.string, match.end())
    return digits if plain else number(digits)


def _telephone(match: re.Match[str]) -> str:
    return "，".join(digit_by_digit(part, telephone=True) for part in re.findall("[0-9]+", match[0]))


def _signed(match: re.Match[str]) -> str:
    return _sign(match[1]) + number(match[2])


def _range(match: re.Match[str]) -> str:
    first, second = (re.sub(rf"(-?)({_NUMBER})", _signed, part) for part in match.groups())
    return f"{first}到{second}"


def _counted(match: re.Match[str]) -> str:
    words = number(match[1])
    more = "多" if match[2] == "+" else match[2] or ""
    # The second of something, and a day or month of the calendar, are 二.
    ordinal = match.string[match.start() - 1 : match.start()] == "第" or match[3] in ("月", "日", "号")
    return f"{'两' if words == '二' and not ordinal else words}{more}{match[3]}"


def _published_counted(match: re.Match[str]) -> str:
    words = number(match[1])
    more = "多" if match[2] == "+" else match[2] or ""
    return f"{'两' if words == '二' else words}{more}{match[3]}"


def _version(match: re.Match[str]) -> str:
    return "".join("点" if character == "." else number(character) for character in match[0])


_BEFORE_UNITS: Final[tuple[Rule, ...]] = (
    (
        re.compile(r"([0-9]{4}|[0-9]{2})年(?:(0?[1-9]|1[0-2])月)?(?:(0?[1-9]|[12][0-9]|30|31)([日号]))?"),
        _date,
    ),
    (
        re.compile(r"([0-9]{4})([- /.])(0[1-9]|1[012])\2(0[1-9]|[12][0-9]|3[01])"),
        lambda m: f"{digit_by_digit(m[1])}年{quantity(m[3])}月{quantity(m[4])}日",
    ),
    (re.compile(f"{_TIME}[~-]{_TIME}"), _published_time_range),
    (re.compile(_TIME), _time),
    (re.compile(f"(?:-?{_MEASURED})~-?{_MEASURED}"), lambda m: m[0].replace("~", "至")),
    (re.compile(rf"(-?)({_NUMBER})(?:°C|℃|度|摄氏度)"), _published_temperature),
)
_AFTER_UNITS: Final[tuple[Rule, ...]] = (
    (re.compile(rf"({_TERM})([+\-×÷=])(?={_TERM})"), lambda m: m[1] + _OPERATORS[m[2]]),
    (re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹ˣʸⁿ]+"), lambda m: f"的{''.join(_POWERS[c] for c in m[0])}次方"),
    (re.compile("(-?)([0-9]+)/([0-9]+)"), lambda m: f"{_sign(m[1])}{number(m[3])}分之{number(m[2])}"),
    (re.compile(rf"(-?)({_NUMBER})%"), lambda m: f"{_sign(m[1])}百分之{number(m[2])}"),
    (
        re.compile(r"(?<!\d)(?:\+?86 ?)?1(?:[38][0-9]|5[0-35-9]|7[678]|9[89])[0-9]{8}(?!\d)"),
        _telephone,
    ),
    (re.compile(r"(?<!\d)(?:0(?:10|2[1-3]|[3-9][0-9]{2})-?)?[1-9][0-9]{6,7}(?!\d)"), _telephone),
    (re.compile("400-?[0-9]{3}-?[0-9]{4}"), _telephone),
    (re.compile(rf"(?<![\d+\-×÷=])(-?{_NUMBER})[-~](-?{_NUMBER})(?![\d+\-×÷=])"), _range),
    (re.compile("(-)([0-9]+)"), _signed),
    (re.compile(r"[0-9]+\.[0-9]+(?:\.[0-9]+)+"), _version),
    (re.compile(r"(-?)([0-9]+\.[0-9]+|\.[0-9]+)"), _signed),
    (re.compile(rf"([0-9]+)([多余几+])?({_COUNTERS})"), _published_counted),
    (re.compile("[0-9]{3,}"), lambda m: digit_by_digit(m[0], telephone=True)),
    (re.compile(rf"(-?)({_NUMBER}|\.[0-9]+)"), _signed),
)
# The rules that are read right, by those of the published front end in whose place they stand.
_RIGHT: Final[dict[Callable[[re.Match[str]], str], Rule]] = {
    _published_time_range: (re.compile(f"{_TIME}[~-]{_TIME}"), _time_range),
    _published_temperature: (
        re.compile(rf"(-?)({_NUMBER})(°C|℃|°F|℉|摄氏度|华氏度|度)"),
        _temperature,
    ),
    _published_counted: (re.compile(rf"([0-9]+)([多余几+])?({_MORE_COUNTERS}|{_COUNTERS})"), _counted),
}


def _rules(published: tuple[Rule, ...], upstream: bool) -> tuple[Rule, ...]:
    return published if upstream else tuple(_RIGHT.get(rule[1], rule) for rule in published)


_STEPS: Final = {
    upstream: (_rules(_BEFORE_UNITS, upstream), _rules(_AFTER_UNITS, upstream)) for upstream in (True, False)
}


@cache
def _simplified() -> dict[int, int]:
    table = load_json("mandarin.json")
    # The round zero of years has no reading of its own in the tables.
    return str.maketrans(table["traditional"] + "〇", table["simplified"] + "零")


def to_simplified(text: str) -> str:
    """Traditional characters replaced one by one, and 〇 by 零."""
    return text.translate(_simplified())


def _normalize_sentence(sentence: str, upstream: bool) -> str:
    before, after = _STEPS[upstream]
    sentence = to_simplified(sentence).translate(_HALF_WIDTH)
    for pattern, spoken in before:
        sentence = pattern.sub(spoken, sentence)
    for unit, words in _UNITS.items():
        sentence = sentence.replace(unit, words)
    for pattern, spoken in after:
        sentence = pattern.sub(spoken, sentence)
    return _DROPPED.sub("", sentence.translate(_LAST_WORDS))


def normalize(text: str, *, upstream: bool = False) -> str:
    """Chinese words and marks; what remains of other scripts is dropped by the caller."""
    text = _DROPPED.sub("", text.replace(" ", "")).strip()
    if not upstream:
        text = _GROUPED.sub(_grouped, text)
    return "".join(
        _normalize_sentence(sentence.strip(), upstream) for sentence in _SENTENCE_END.split(text) if sentence
    )
