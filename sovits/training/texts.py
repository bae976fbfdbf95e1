"""Ordinary sentences to speak when a training is judged: what a voice could say before, it should say after.

Our own sentences, in everyday words; not for training on. See tune and evaluate.
"""

from typing import Final

ORDINARY: Final = {
    "en": (
        "The kettle is on, so sit down and tell me about your day.",
        "She left her umbrella on the bus again this morning.",
        "Could you please turn the music down a little?",
        "We walked home slowly because the evening was so warm.",
        "My brother grows tomatoes behind the old garage.",
        "There is fresh bread on the table, and butter in the fridge.",
        "The train to the coast leaves at half past nine.",
        "He forgot where he had parked the car.",
        "Nothing tastes better than soup on a cold night.",
        "The children were building a house out of boxes.",
        "I will call you back as soon as I know more.",
        "Turn left at the bridge and follow the river.",
        "Her favourite colour has always been dark green.",
        "The shop on the corner sells paper and string.",
        "It rained all week, but the roof did not leak.",
        "They painted the kitchen walls a pale yellow.",
        "What would you like to drink with your dinner?",
        "An old clock was ticking somewhere in the hall.",
        "The teacher asked us to write a short letter.",
        "Keep the window open if you feel too hot.",
    ),
    "zh": (
        "水已经烧开了，你要喝茶还是咖啡？",
        "他把雨伞忘在公共汽车上了。",
        "请把音乐的声音关小一点。",
        "傍晚很暖和，我们慢慢走回家。",
        "我哥哥在院子里种了西红柿。",
        "桌上有刚买的面包和牛奶。",
        "去上海的火车九点半开。",
        "她想不起来把车停在哪里了。",
        "冬天的晚上喝一碗热汤最舒服。",
        "孩子们用纸箱搭了一座房子。",
        "我一有消息就给你打电话。",
        "到了桥头往左拐，再沿着河走。",
        "她最喜欢的颜色一直是深绿色。",
        "街角的小店卖纸和笔。",
        "下了一个星期的雨，屋顶没有漏水。",
        "他们把厨房的墙刷成了浅黄色。",
        "晚饭你想喝点什么？",
        "屋子里有一只旧钟在走。",
        "老师让我们写一封短信。",
        "要是觉得热，就把窗户打开。",
    ),
    "yue": (
        "水滾咗，你想飲茶定係咖啡？",
        "佢將把遮漏咗喺巴士度。",
        "唔該將音樂校細聲少少。",
        "傍晚好暖，我哋慢慢行返屋企。",
        "我大佬喺天台種番茄。",
        "枱面有啱啱買嘅麵包同牛奶。",
        "去廣州嘅火車九點半開。",
        "佢唔記得架車泊咗喺邊度。",
        "冬天夜晚飲碗熱湯最舒服。",
        "啲細路用紙箱砌咗間屋。",
        "我一有消息就打電話畀你。",
        "去到橋頭轉左，再沿住條河行。",
        "佢最鍾意嘅顏色係深綠色。",
        "街角嗰間舖頭賣紙同筆。",
        "落咗成個禮拜雨，屋頂冇漏水。",
        "佢哋將廚房幅牆油咗做淺黃色。",
        "食晚飯你想飲啲乜嘢？",
        "間屋有個舊鐘喺度行緊。",
        "老師叫我哋寫一封短信。",
        "如果覺得熱，就打開個窗啦。",
    ),
}  # fmt: skip
"""Twenty sentences a language."""

SPRINKLED: Final = (
    "measure", "treasure", "vision", "garage", "jungle", "judge", "choice", "church", "thing", "those",
    "thirty", "feather", "boy", "noise", "toy", "cloud", "vow", "yellow", "young", "onion", "view",
    "few", "music", "singer", "hunger", "long", "angry", "quick", "square", "width", "month", "sixth",
    "glimpse", "length", "strength", "spring", "scratch", "thread", "shrug", "twelve", "puzzle",
    "garden", "pleasure", "author", "breath",
)  # fmt: skip
"""English words with sounds that are rare, for sentences that a teacher reads."""
