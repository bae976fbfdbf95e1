"""Mandarin and Cantonese training sentences: small grammars over the words of jieba's dictionary (MIT)
and our own.

The sentences need not be wise; they must hold every syllable in every tone, beside many others. Follows
specs/starter.md.
"""

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from .texts_everyday import everyday

_COMMON: Final = 2500
"""Most frequent words of a kind that are used."""

_OWN_ZH: Final = (
    "你好，很高兴认识你|我想喝一杯热茶|他们正在学校里学习中文|你喜欢吃苹果还是香蕉|图书馆里很安静|这个城市有很多高楼|下雨了，别忘了带雨伞|"
    "老师说明天有考试|我的朋友住在北京|爸爸在公司工作|姐姐会弹钢琴，弟弟会唱歌|请把窗户打开|现在几点了|我们坐飞机去上海旅行|医生让他多休息|"
    "商店晚上九点关门|这条河很长，水也很清|他买了一双新鞋子|电脑坏了，需要修理|孩子们在草地上踢足球|我忘记了他的名字|冬天这里常常下雪|"
    "你能帮我一个忙吗|我们已经等了半个小时|祝你生日快乐|这件衣服多少钱|请慢慢说，我听不懂|他的声音很好听|我对历史很感兴趣|"
    "月亮出来了，星星也亮了|小猫躲在桌子下面|他从来不迟到|请给我一张纸和一支笔|她笑着走进房间|周末你打算做什么|前面右转就到了银行|"
    "听说你最近很忙|昨天他生病了，所以没有来|桥上有很多人在看风景|晚饭以后我们出去散步|秋天的树叶变成了黄色|请不要在这里抽烟|"
    "床前明月光，疑是地上霜|举头望明月，低头思故乡|春眠不觉晓，处处闻啼鸟|白日依山尽，黄河入海流|欲穷千里目，更上一层楼|红豆生南国，春来发几枝|"
    "大家好，欢迎收听今天的节目|这个声音是电脑合成的|从前有一个小村子|谢谢，再见|没关系，慢慢来|对不起，我来晚了"
).split("|")
_OWN_YUE: Final = (
    "你好，好高興識到你|我想飲杯熱茶|佢哋喺學校學緊中文|你鍾意食蘋果定係香蕉|圖書館入面好靜|呢個城市有好多高樓|落雨喇，記得帶遮|老師話聽日有考試|"
    "我個朋友住喺香港|爹哋喺公司做嘢|家姐識彈琴，細佬識唱歌|唔該開窗|而家幾點呀|我哋搭飛機去旅行|醫生叫佢抖多啲|舖頭夜晚九點閂門|呢條河好長，啲水好清|"
    "佢買咗對新鞋|部電腦壞咗，要整返|啲細路喺草地度踢波|我唔記得佢叫咩名|冬天呢度好凍|你可唔可以幫我手|我哋等咗半個鐘|祝你生日快樂|呢件衫幾多錢|"
    "唔該講慢啲，我聽唔明|佢把聲好好聽|我對歷史好有興趣|月光出咗嚟，星星都好光|隻貓匿咗喺枱底|佢從來唔遲到|畀張紙同支筆我|佢笑住行入房|你週末打算做乜嘢|"
    "前面轉右就到銀行|聽講你最近好忙|佢尋日病咗，所以冇嚟|好多人喺橋上面睇風景|食完飯我哋出去行吓|唔好喺度食煙|多謝，再見|唔緊要，慢慢嚟|對唔住，我遲咗|"
    "今日天氣真係好好|你食咗飯未呀|我哋去飲茶啦|大家好，歡迎收聽今日嘅節目|呢把聲係電腦整出嚟嘅|從前有一條細村"
).split("|")
_WHO: Final = {
    "zh": "我 你 他 她 我们 你们 他们 大家 老师 同学 朋友 妈妈 爸爸 孩子 医生 这个人 那个人 谁 哥哥 奶奶".split(),
    "yue": "我 你 佢 我哋 你哋 佢哋 大家 老師 同學 朋友 媽咪 爹哋 細路 醫生 呢個人 嗰個人 邊個 阿哥 婆婆".split(),
}
_WHEN: Final = {
    "zh": "今天 明天 昨天 早上 中午 晚上 去年 现在 以后 刚才 春天 夏天 秋天 冬天 星期一 星期日 每天".split(),
    "yue": "今日 聽日 尋日 朝早 晏晝 夜晚 舊年 而家 之後 頭先 春天 夏天 秋天 冬天 星期一 星期日 日日".split(),
}
_HOW: Final = {
    "zh": "也 都 很 就 又 常常 已经 可能 不 没有 应该 可以 正在 一直 一定 真的".split(),
    "yue": "都 好 就 又 成日 已經 可能 唔 冇 應該 可以 一直 一定 真係".split(),
}
_OF: Final = {"zh": "的", "yue": "嘅"}
_DONE: Final = {"zh": "了", "yue": "咗"}
_IN: Final = {"zh": "在", "yue": "喺"}
_IS: Final = {"zh": "是", "yue": "係"}
_THIS: Final = {"zh": "这个 那个 一个 每个 哪个".split(), "yue": "呢個 嗰個 一個 每個 邊個".split()}
_END: Final = {"zh": "。 。 。 。 吗？ 吧。 ！".split(), "yue": "。 。 。 啦。 㗎。 呀？ 喎。 ！".split()}
_DIGITS: Final = "一 二 三 四 五 六 七 八 九 十 百 千".split()


@cache
def _words(kind: str) -> tuple[str, ...]:
    """The most frequent words that jieba's dictionary marks as ``kind``."""
    import jieba

    found = []
    for line in (Path(jieba.__file__).parent / "dict.txt").read_text("utf-8").splitlines():
        word, times, tag = line.split(" ")
        if tag == kind and len(word) <= 3:
            found.append((int(times), word))
    return tuple(word for _, word in sorted(found, reverse=True)[:_COMMON])


def own_sentences(language: str) -> list[str]:
    """The sentences written for this corpus."""
    return [text + "。" for text in (_OWN_ZH if language == "zh" else _OWN_YUE)]


def grammar(language: str, count: int, seed: int) -> Iterator[str]:
    """``count`` made-up sentences."""
    rnd = random.Random(f"{language}{seed}")

    def pick(kind: str) -> str:
        return rnd.choice(_words(kind))

    def thing() -> str:
        shape = rnd.random()
        if shape < 0.3:
            return pick("n")
        if shape < 0.55:
            return pick("a") + _OF[language] + pick("n")
        if shape < 0.75:
            return rnd.choice(_THIS[language]) + pick("n")
        if shape < 0.85:
            return rnd.choice(_WHO[language]) + _OF[language] + pick("n")
        return (
            pick("n") + rnd.choice("和同与") + pick("n") if language == "zh" else pick("n") + "同" + pick("n")
        )

    def clause() -> str:
        shape = rnd.random()
        who = rnd.choice(_WHO[language]) if rnd.random() < 0.6 else thing()
        if shape < 0.4:
            return (
                who
                + rnd.choice([rnd.choice(_HOW[language]), ""])
                + pick("v")
                + rnd.choice([_DONE[language], ""])
                + thing()
            )
        if shape < 0.55:
            return who + _IS[language] + thing()
        if shape < 0.7:
            return who + rnd.choice(_HOW[language]) + pick("a")
        if shape < 0.8:
            return who + _IN[language] + pick("n") + pick("v")
        if shape < 0.9:
            return (
                who
                + pick("v")
                + "".join(rnd.choices(_DIGITS, k=rnd.randint(1, 3)))
                + rnd.choice("个本张次天年")
                + pick("n")
            )
        return "".join((pick("d"), pick("v"), thing()))

    for _ in range(count):
        text = clause()
        if rnd.random() < 0.3:
            text = rnd.choice(_WHEN[language]) + text
        if rnd.random() < 0.25 and len(text) < 12:
            text += "，" + clause()
        yield text + rnd.choice(_END[language])


def sentences(language: str, count: int, seed: int = 0) -> list[str]:
    """``count`` sentences: three fifths everyday ones, a tenth our whole ones, the rest made by grammar."""
    rnd = random.Random(seed)
    whole = own_sentences(language)
    mixed = rnd.sample(whole, min(len(whole), count // 10))
    mixed += everyday(language, count * 3 // 5, rnd)
    mixed += grammar(language, count - len(mixed), seed)
    rnd.shuffle(mixed)
    return mixed
