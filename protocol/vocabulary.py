"""The words of the facets: every value, its names in English and Chinese, and other spellings of it.

Data only; tags.py gives it meaning. A spelling belongs to one value across all facets, so that a plain word
is never ambiguous. Adding values and spellings is safe; removing or moving one changes DHT keys, so it is not
done. Follows specs/tags.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """The names of one facet value, the one to show first; ``zh`` is simplified, traditional."""

    en: tuple[str, ...]
    zh: tuple[str, ...]
    also: tuple[str, ...] = ()


def _names(en: str, zh: str, also: str = "") -> Names:
    return Names(tuple(en.split("|")), tuple(zh.split("|")), tuple(also.split("|")) if also else ())


FACETS: Mapping[str, Mapping[str, Names]] = {
    "language": {
        "yue": _names("Cantonese", "粤语|粵語", "广东话|廣東話|白话|白話|广府话|廣府話|zh-yue|zh-hk|canton"),
        "zh": _names(
            "Mandarin",
            "普通话|普通話",
            "国语|國語|华语|華語|汉语|漢語|中文|chinese|cmn|zh-cn|zh-tw|putonghua",
        ),
        "en": _names("English", "英语|英語", "英文|en-us|en-gb|eng"),
        "ja": _names("Japanese", "日语|日語", "日文|日本语|日本語|jpn|jp"),
        "ko": _names("Korean", "韩语|韓語", "韩文|韓文|韩国语|韓國語|朝鲜语|朝鮮語|kor|한국어"),
        "wuu": _names("Wu", "吴语|吳語", "上海话|上海話|shanghainese"),
        "nan": _names("Hokkien", "闽南语|閩南語", "台语|台語|台湾话|台灣話|taiwanese|min-nan|minnan"),
        "hak": _names("Hakka", "客家话|客家話", "客语|客語|客家语|客家語"),
        "fr": _names("French", "法语|法語", "法文"),
        "de": _names("German", "德语|德語", "德文"),
        "es": _names("Spanish", "西班牙语|西班牙語"),
        "pt": _names("Portuguese", "葡萄牙语|葡萄牙語"),
        "ru": _names("Russian", "俄语|俄語", "俄文"),
        "vi": _names("Vietnamese", "越南语|越南語"),
        "th": _names("Thai", "泰语|泰語"),
    },
    "gender": {
        "male": _names("male", "男声|男聲", "男|男性|男生|man|men|masculine"),
        "female": _names("female", "女声|女聲", "女|女性|女生|woman|women|feminine"),
        "androgynous": _names("androgynous", "中性|中性", "genderless|non-binary|中性声|中性聲"),
    },
    "age": {
        "child": _names("child", "儿童|兒童", "童声|童聲|孩子|小孩|kid|children"),
        "teen": _names("teenager", "少年|少年", "少女|青少年|teenage"),
        "young": _names("young adult", "青年|青年", "年轻|年輕|young|adult"),
        "middle-aged": _names("middle-aged", "中年|中年", "middle-age|中年人"),
        "elderly": _names("elderly", "老年|老年", "老人|长者|長者|old|senior|aged"),
    },
    "emotion": {
        "neutral": _names("neutral", "平静|平靜", "calm|中立|无情绪|無情緒"),
        "happy": _names("happy", "开心|開心", "高兴|高興|快乐|快樂|cheerful|joyful"),
        "sad": _names("sad", "悲伤|悲傷", "难过|難過|伤心|傷心|sorrowful"),
        "angry": _names("angry", "愤怒|憤怒", "生气|生氣"),
        "fearful": _names("fearful", "恐惧|恐懼", "害怕|afraid|scared"),
        "surprised": _names("surprised", "惊讶|驚訝", "惊喜|驚喜"),
        "excited": _names("excited", "激动|激動", "兴奋|興奮|passionate|激昂"),
        "gentle": _names("gentle", "温柔|溫柔", "tender"),
        "serious": _names("serious", "严肃|嚴肅", "stern|庄重|莊重|solemn"),
    },
    "style": {
        "narration": _names("narration", "叙事|敘事", "叙述|敘述|旁白|narrator|narrative"),
        "storytelling": _names(
            "storytelling", "讲故事|講故事", "说书|說書|评书|評書|讲古|講古|storyteller|故事"
        ),
        "audiobook": _names("audiobook", "有声书|有聲書", "有声读物|有聲讀物|朗读|朗讀|reading"),
        "conversation": _names("conversation", "对话|對話", "聊天|闲聊|閒聊|口语|口語|conversational|chat"),
        "news": _names("news", "新闻|新聞", "播报|播報|newsreader|broadcast|播音"),
        "documentary": _names("documentary", "纪录片|紀錄片", "解说|解說|commentary"),
        "podcast": _names("podcast", "播客|播客"),
        "advertising": _names("advertising", "广告|廣告", "advert|commercial|promo"),
        "assistant": _names("assistant", "助手|助手", "客服|customer-service|语音助手|語音助手"),
        "teaching": _names("teaching", "教学|教學", "讲课|講課|lecture|课程|課程"),
        "character": _names("character", "角色|角色", "动漫|動漫|anime|游戏|遊戲|game|gaming"),
        "poetry": _names("poetry", "诗歌|詩歌", "朗诵|朗誦|recitation"),
        "singing": _names("singing", "歌唱|歌唱", "唱歌|sing|singer"),
        "opera": _names("opera", "戏曲|戲曲", "粤剧|粵劇|京剧|京劇"),
    },
    "timbre": {
        "husky": _names("husky", "沙哑|沙啞", "hoarse|raspy|烟嗓|煙嗓"),
        "clear": _names("clear", "清澈|清澈", "清晰|清亮"),
        "deep": _names("deep", "低沉|低沉", "浑厚|渾厚|low-pitched"),
        "bright": _names("bright", "明亮|明亮", "响亮|響亮"),
        "warm": _names("warm", "温暖|溫暖", "mellow"),
        "soft": _names("soft", "柔和|柔和", "轻柔|輕柔"),
        "sweet": _names("sweet", "甜美|甜美", "甜"),
        "magnetic": _names("magnetic", "磁性|磁性", "sonorous"),
        "breathy": _names("breathy", "气声|氣聲", "whispery|airy|耳语|耳語|whisper"),
        "nasal": _names("nasal", "鼻音|鼻音"),
        "crisp": _names("crisp", "清脆|清脆"),
    },
}
"""Facet -> value -> names. Facets are closed: a value that is not here is a usage error."""
