"""Korean words whose sound does not follow from their spelling, and the names of Latin letters.

Tables only. A word is spelled as it is said before the rules of korean_sounds are applied, so that its last
consonant still moves (꽃잎이 is 꼰니피). Most are the examples of the Standard Pronunciation. Follows
specs/text.md.
"""

from typing import Final

# By the Standard's articles. 15: a first part that is said as by itself. 20: ㄴ and ㄹ that stay ㄴ. 26: ㄹ
# in Chinese words before ㄷ, ㅅ, ㅈ. 28: compounds with a tense second part. 29: an ㄴ between the parts.
_WORDS: Final = """
맛없=맏업 멋없=먿업 겉옷=걷옫 헛웃음=헏우슴 값어치=갑어치 첫인상=첟인상
의견란=의견난 임진란=임진난 생산량=생산냥 결단력=결딴녁 공권력=공꿘녁 동원령=동원녕 상견례=상견녜
횡단로=횡단노
이원론=이원논 입원료=이붠뇨 구근류=구근뉴 음운론=음운논 판단력=판단녁
갈수록=갈쑤록 갈등=갈뜽 발동=발똥 절도=절또 말살=말쌀 불소=불쏘 일시=일씨 갈증=갈쯩 물질=물찔 발전=발쩐
몰상식=몰쌍식 불세출=불쎄출
결정=결쩡 결석=결썩 열심히=열씸히 열심=열씸 활동=활똥 출발점=출발쩜 발달=발딸 실수=실쑤 설득=설뜩 절대=절때
필수=필쑤
실시=실씨 실제=실쩨 결심=결씸 출신=출씬 팔십=팔씹 칠십=칠씹 일정=일쩡 일종=일쫑 발생=발쌩 달성=달썽
문고리=문꼬리 눈동자=눈똥자 신바람=신빠람 산새=산쌔 손재주=손째주 길가=길까 물동이=물똥이 발바닥=발빠닥
굴속=굴쏙 술잔=술짠
바람결=바람껼 그믐달=그믐딸 아침밥=아침빱 잠자리=잠짜리 강가=강까 초승달=초승딸 등불=등뿔 창살=창쌀
강줄기=강쭐기 물고기=물꼬기
비빔밥=비빔빱 김밥=김빱 눈사람=눈싸람 손가락=손까락 발가락=발까락 용돈=용똔 술집=술찝 빵집=빵찝 인기=인끼
사건=사껀 조건=조껀
솜이불=솜니불 홑이불=홑니불 막일=막닐 삯일=삯닐 맨입=맨닙 꽃잎=꽃닢 내복약=내복냑 색연필=색년필
직행열차=직행녈차
늑막염=늑막념 콩엿=콩녓 담요=담뇨 눈요기=눈뇨기 영업용=영업뇽 식용유=시굥뉴 국민윤리=국민뉸리 밤윷=밤뉻
검열=검녈 금융=금늉
들일=들닐 솔잎=솔닢 설익=설닉 물약=물냑 불여우=불녀우 서울역=서울녁 물엿=물녓 휘발유=휘발뉴 한여름=한녀름
신여성=신녀성
베갯잇=베갠닛 깻잎=깻닢 나뭇잎=나뭇닢 뒷일=뒷닐 서른여섯=서른녀섯 스물여섯=스물녀섯 댓잎=댓닢 꽃일=꽃닐
두통약=두통냑
"""

RESPELLED: Final = {written: spoken for written, spoken in (pair.split("=") for pair in _WORDS.split())}
"""Word to its spelling by sound, of the same number of syllables."""

_NAMES: Final = (
    "에이 비 시 디 이 에프 지 에이치 아이 제이 케이 엘 엠 엔 오 피 큐 아르 에스 티 유 "
    "브이 더블유 엑스 와이 제트"
)
LATIN_LETTERS: Final = dict(zip("abcdefghijklmnopqrstuvwxyz", _NAMES.split(), strict=True))
"""Latin letter, lower case, to its name."""
