"""Korean beyond the golden data: the Standard Pronunciation by its own examples, numbers, letters."""

import pytest

from .extras import needs

needs("ko")

from p2pvoice.sovits.text import korean, phonemize  # noqa: E402 (only where its dictionary is)
from p2pvoice.sovits.text.korean_numbers import LONGEST_NUMBER, native, quantity, sino  # noqa: E402
from p2pvoice.sovits.text.korean_sounds import CODAS, ONSETS, VOWELS, Syllable, cut, pronounce  # noqa: E402
from p2pvoice.sovits.text.korean_words import RESPELLED  # noqa: E402


def together(pieces: list[Syllable | str]) -> str:
    """Letters as syllables again."""
    return "".join(
        piece
        if isinstance(piece, str)
        else chr(
            0xAC00
            + (ONSETS.index(piece.onset) * len(VOWELS) + VOWELS.index(piece.vowel)) * len(CODAS)
            + CODAS.index(piece.coda)
        )
        for piece in pieces
    )


def said(text: str) -> str:
    """How a text is pronounced, in syllables."""
    pieces = korean.sounds(korean.normalize(text))
    pronounce(pieces)
    return together(pieces)


# By the articles of the Standard Pronunciation; most examples are its own.
ARTICLES = {
    "5": "가져=가저 다쳐=다처 희망=히망 무늬=무니 띄어쓰기=띠어쓰기 의사=의사 문의=무늬",
    "8-9": "닦다=닥따 키읔=키윽 옷=옫 웃다=욷따 있다=읻따 젖=젇 빚다=빋따 꽃=꼳 솥=솓 앞=압 덮다=덥따",
    "10": (
        "넋=넉 앉다=안따 여덟=여덜 넓다=널따 외곬=외골 핥다=할따 값=갑 없다=업따 밟다=밥따 밟는=밤는 "
        "넓죽하다=넙쭈카다"
    ),
    "11": "닭=닥 흙과=흑꽈 맑다=막따 늙지=늑찌 삶=삼 젊다=점따 읊고=읍꼬 맑게=말께 묽고=물꼬",
    "12": (
        "놓고=노코 좋던=조턴 쌓지=싸치 많고=만코 않던=안턴 닳지=달치 각하=가카 먹히다=머키다 "
        "밝히다=발키다 맏형=마텽 좁히다=조피다 넓히다=널피다 꽂히다=꼬치다 앉히다=안치다 닿소=다쏘 "
        "많소=만쏘 싫소=실쏘 놓는=논는 쌓네=싼네 않네=안네 뚫네=뚤레 낳은=나은 쌓이다=싸이다 많아=마나 "
        "싫어도=시러도"
    ),
    "13-14": (
        "깎아=까까 옷이=오시 있어=이써 꽃을=꼬츨 밭에=바테 앞으로=아프로 덮이다=더피다 넋이=넉씨 "
        "앉아=안자 닭을=달글 젊어=절머 핥아=할타 읊어=을퍼 값을=갑쓸 없어=업써"
    ),
    "15": "맛없다=마덥따 겉옷=거돋 값어치=가버치",
    "16": (
        "디귿이=디그시 지읒을=지으슬 치읓에=치으세 키읔이=키으기 티읕에=티으세 피읖이=피으비 히읗을=히으슬"
    ),
    "17": (
        "굳이=구지 미닫이=미다지 밭이=바치 벼훑이=벼훌치 굳히다=구치다 닫히다=다치다 묻히다=무치다 "
        "붙여=부처 닫혀=다처"
    ),
    "18": (
        "먹는=멍는 국물=궁물 깎는=깡는 긁는=긍는 흙만=흥만 닫는=단는 짓는=진는 있는=인는 맞는=만는 "
        "꽃망울=꼰망울 붙는=분는 잡는=잠는 앞마당=암마당 밟는=밤는 읊는=음는 없는=엄는"
    ),
    "19": "담력=담녁 침략=침냑 강릉=강능 항로=항노 대통령=대통녕 막론=망논 협력=혐녁 십리=심니",
    "20": (
        "난로=날로 신라=실라 천리=철리 광한루=광할루 칼날=칼랄 물난리=물랄리 닳는=달른 뚫는=뚤른 "
        "핥네=할레 의견란=의견난 생산량=생산냥"
    ),
    "23": (
        "국밥=국빱 깎다=깍따 넋받이=넉빠지 칡범=칙뻠 옷고름=옫꼬름 있던=읻떤 꽂고=꼳꼬 꽃다발=꼳따발 "
        "낯설다=낟썰다 밭갈이=받까리 솥전=솓쩐 곱돌=곱똘 덮개=덥깨 옆집=엽찝 읊조리다=읍쪼리다 "
        "값지다=갑찌다"
    ),
    "24-25": (
        "안고=안꼬 앉고=안꼬 닮고=담꼬 젊지=점찌 핥다=할따 훑소=훌쏘 떫지=떨찌 굶기다=굼기다 옮기다=옴기다"
    ),
    "26": "갈등=갈뜽 발전=발쩐 물질=물찔 몰상식=몰쌍식",
    "27": "할걸=할껄 할게=할께 할지언정=할찌언정 먹을게=머글께",
    "28": "문고리=문꼬리 산새=산쌔 아침밥=아침빱 초승달=초승딸",
    "29": "솜이불=솜니불 꽃잎=꼰닙 꽃잎이=꼰니피 색연필=생년필 담요=담뇨 물약=물략 서울역=서울력 십육=심뉵",
    "30": "콧날=콘날 아랫니=아랜니 깻잎=깬닙 나뭇잎=나문닙",
}


@pytest.mark.parametrize("article", ARTICLES)
def test_the_standard_pronunciation(article: str) -> None:
    pairs = [pair.split("=") for pair in ARTICLES[article].split()]
    assert {written: said(written) for written, _ in pairs} == dict(pairs)


@pytest.mark.parametrize(
    ("text", "pronounced"),
    [
        ("할 것을", "할 꺼슬"),
        ("갈 데가", "갈 떼가"),
        ("만날 사람", "만날 싸람"),
        ("할 일", "할 일"),
        ("옷 한 벌", "오 탄 벌"),
        ("책 넣는다", "챙 넌는다"),
        ("밥 먹는다", "밤 멍는다"),
        ("값 매기다", "감 매기다"),
        ("오늘 날씨", "오늘 랄씨"),
        # The object particle keeps the ㄴ after it; a consonant does not move over a space.
        ("나를 나무라", "나를 나무라"),
        ("옷 안", "옫 안"),
        # A mark ends the phrase.
        ("밥, 먹는다", "밥, 멍는다"),
        # A verb's stem makes an ending tense, a noun of the same letters makes no particle tense.
        ("신을 신고", "시늘 신꼬"),
        ("감을 감고", "가믈 감꼬"),
        ("여덟도", "여덜도"),
        ("삶도", "삼도"),
    ],
)
def test_where_words_meet(text: str, pronounced: str) -> None:
    assert said(text) == pronounced


@pytest.mark.parametrize(
    ("digits", "counter", "words"),
    [
        ("0", "", "영"),
        ("1", "", "일"),
        ("10", "", "십"),
        ("11", "", "십일"),
        ("100", "원", "백"),
        ("1,234,567", "원", "백이십삼만사천오백육십칠"),
        ("10000", "", "만"),
        ("110000", "", "십일만"),
        ("100000000", "", "일억"),
        ("1000010001", "", "십억일만일"),
        ("9" * LONGEST_NUMBER, "", "구천구백구십구조구천구백구십구억구천구백구십구만구천구백구십구"),
        ("9" * (LONGEST_NUMBER + 1), "", "구" * (LONGEST_NUMBER + 1)),
        ("007", "", "공공칠"),
        ("3.14", "", "삼점일사"),
        ("0.05", "", "영점영오"),
        ("1", "개", "한"),
        ("3", "명", "세"),
        ("20", "살", "스무"),
        ("21", "살", "스물한"),
        ("99", "마리", "아흔아홉"),
        ("100", "명", "백"),
        ("105", "개", "백다섯"),
        ("3", "개월", "삼"),
        ("6", "월", "유"),
        ("10", "월", "시"),
        ("12", "시", "열두"),
        ("13", "시", "십삼"),
        ("1", "번째", "첫"),
        ("2", "번째", "두"),
    ],
)
def test_numbers(digits: str, counter: str, words: str) -> None:
    assert quantity(digits, counter) == words


def test_numbers_in_text() -> None:
    assert korean.normalize("3시간 5분, 20명 1번째 3 개") == "세시간 오분, 스무명 첫번째 세 개"
    assert korean.normalize("전화 010-1234-5678") == "전화 공일공-일이삼사-오육칠팔"
    assert korean.normalize("５０% 1,000원 1,00") == "오십퍼센트 천원 일,공공"
    assert korean.normalize("%") == "퍼센트"
    assert (native(0), sino(0)) == ("영", "영")


def test_letters_and_spaces() -> None:
    assert "".join(korean.read("예 왜").phones) == "ㅇㅣㅔ空ㅇㅗㅐ."
    assert korean.read("ㅋㅋㅠ").phones == ["ㅋ", "ㅋ", "ㅣ", "ㅜ", "."]
    assert korean.read("ㄳ!").phones == ["ㄱ", "ㅅ", "!"]
    assert korean.read("漢🎉\ud800\0").phones == ["停"] * 4
    assert korean.read("네  \u3000네").phones.count("空") == 1
    # Letters that are written apart make one syllable.
    assert korean.to_phones(korean.normalize("\u1112\u1161\u11ab")) == ["ㅎ", "ㅏ", "ㄴ", "."]
    assert phonemize("TV를 봐요", "ko").parts[0].language == "en"
    assert "".join(korean.read("TV").phones) == "ㅌㅣㅂㅡㅇㅣ."


def test_every_syllable_survives_being_cut() -> None:
    every = [chr(code) for code in range(0xAC00, 0xD7A4)]
    assert [together([cut(syllable) or ""]) for syllable in every] == every
    assert cut("ㅎ") is None
    assert cut(chr(0xABFF)) is None
    assert cut(chr(0xD7A4)) is None


def test_every_meeting_of_two_syllables_can_be_said() -> None:
    """Whatever meets, what comes out are seven codas and nineteen onsets."""
    for coda in CODAS:
        for onset in ONSETS:
            for between in ([], [" "]):
                pair: list[Syllable | str] = [
                    Syllable("ㄱ", "ㅏ", coda), *between, Syllable(onset, "ㅣ", "")
                ]  # fmt: skip
                pronounce(pair)
                first, last = pair[0], pair[-1]
                assert isinstance(first, Syllable)
                assert isinstance(last, Syllable)
                assert first.coda in ("", *"ㄱㄴㄷㄹㅁㅂㅇ")
                assert last.onset in ONSETS


def test_the_table_of_words_is_sound() -> None:
    for written, spelled in RESPELLED.items():
        assert len(written) == len(spelled), written
        assert said(written) != said(" ".join(written)), written
