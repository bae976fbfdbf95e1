"""Everyday Chinese sentences with holes in them, and what fills the holes: our own, for this corpus.

A recogniser that knows the language judges the voices, so they should be trained on what people say. What
this module is not for: rare syllables, which the grammars of ``texts_chinese`` bring. Follows
specs/starter.md.
"""

import random
import re
from typing import Final

_HOLE: Final = re.compile(r"\{(\w+)\}")

_MANDARIN: Final = {
    "who": "我 你 他 她 我们 他们 大家 老师 妈妈 爸爸 爷爷 奶奶 哥哥 姐姐 弟弟 妹妹 小王 李明 张先生 王小姐 我朋友 邻居 同事 经理 医生 司机 孩子们 这位客人 我的同学 那个年轻人",
    "time": "今天 明天 昨天 后天 早上 上午 中午 下午 晚上 夜里 上个月 下星期 周末 去年 明年 刚才 最近 小时候 每天早上 星期三 暑假 春节 这几天 半夜 傍晚 月底 一会儿",
    "place": "公园 学校 超市 医院 银行 火车站 飞机场 图书馆 电影院 饭店 公司 工厂 海边 山上 村子里 城里 河边 博物馆 邮局 商店 厨房 办公室 教室 宿舍 北京 上海 广州 南京 西安 四川 云南 香港 花园 菜市场 体育馆 书店 咖啡馆 楼下",
    "food": "米饭 面条 饺子 包子 鸡蛋 牛奶 苹果 香蕉 西瓜 葡萄 橘子 豆腐 青菜 牛肉 羊肉 鱼 烤鸭 火锅 蛋糕 面包 冰淇淋 热茶 咖啡 果汁 啤酒 绿豆汤 月饼 土豆 西红柿 白菜 辣椒",
    "thing": "书 手机 电脑 钥匙 雨伞 衣服 帽子 鞋子 眼镜 手表 照片 地图 报纸 杂志 信 礼物 钱包 书包 桌子 椅子 窗户 自行车 汽车 钢琴 词典 毛巾 杯子 盘子 筷子 剪刀 电视 冰箱 空调 毯子 花瓶 机票 护照 铅笔 日记本 玩具",
    "adj": "好 大 小 新 旧 快 慢 漂亮 干净 安静 热闹 便宜 贵 简单 复杂 重要 有趣 奇怪 舒服 方便 危险 可爱 聪明 认真 努力 高兴 难过 紧张 累 忙 冷 热 暖和 凉快 清楚 深 浅 厚 薄 轻 重 甜 酸 苦 辣 香 新鲜 聪明 勇敢 善良",
    "do": "看书 写信 做饭 洗衣服 打扫房间 跑步 游泳 唱歌 跳舞 画画 下棋 打篮球 踢足球 爬山 钓鱼 上网 买菜 开会 上课 考试 旅行 拍照 睡觉 休息 聊天 修车 种花 写作业 学习汉语 听音乐 看电影 喝茶 吃火锅 搬家 准备晚饭 骑自行车 等公共汽车 照顾孩子 做生意 练习写字",
    "num": "一 两 三 四 五 六 七 八 九 十 十二 十五 二十 三十 五十 八十 一百 几",
    "animal": "猫 狗 鸟 马 牛 羊 兔子 老虎 大象 猴子 熊猫 狐狸 鸭子 青蛙 乌龟 蝴蝶 蜜蜂 老鼠 狮子 鱼",
    "weather": "下雨 下雪 刮风 打雷 很热 很冷 有雾 出太阳 阴天 晴天 下大雨 变凉",
    "job": "老师 医生 护士 司机 厨师 工程师 记者 警察 律师 画家 作家 农民 歌手 翻译 会计 科学家 售货员 导游",
    "topic": "天气 经济 历史 音乐 足球 电影 工作 学习 健康 环境 文化 科学 价格 计划 问题 新闻 比赛 教育 交通 生活",
    "colour": "红 黄 蓝 绿 白 黑 灰 紫 粉红 金",
}  # fmt: skip
_MANDARIN_FRAMES: Final = (
    "{who}{time}去{place}{do}。|{who}正在{place}{do}呢。|{who}喜欢吃{food}，不喜欢吃{food}。|请问，去{place}怎么走？|"
    "这{num}本书是{who}的吗？|{time}{weather}，{who}没有出门。|{who}把{thing}放在{place}了。|我的{thing}不见了，你看见了吗？|"
    "{food}多少钱一斤？|{who}想买{num}张去{place}的票。|从{place}到{place}要{num}个小时。|{who}觉得这个{topic}很{adj}。|"
    "你能不能帮我拿一下{thing}？|{who}一边{do}，一边{do}。|虽然很{adj}，但是{who}还是去了{place}。|因为{weather}，所以我们{time}不去{place}了。|"
    "如果{time}有空，我们一起{do}吧。|{who}比{who}更{adj}。|这里的{food}又{adj}又{adj}。|{place}旁边有一家{place}。|"
    "{who}已经{num}年没有回{place}了。|{who}是一位{adj}的{job}。|长大以后，我想当{job}。|{animal}在树下睡觉。|那只{animal}跑得很快。|"
    "{who}养了{num}只{animal}。|天气预报说{time}会{weather}。|{who}穿着一件{colour}色的衣服。|桌子上有{num}个{food}。|你为什么不{do}？|"
    "{who}每天{num}点起床，{num}点睡觉。|我们{time}再谈{topic}吧。|关于{topic}，你有什么看法？|{who}说{topic}非常{adj}。|请把{thing}递给{who}。|"
    "{who}送给我一个{thing}，我很{adj}。|别担心，{who}会来的。|{who}没听懂{job}的话。|{place}离{place}有多远？|坐地铁去{place}最{adj}。|"
    "{who}打电话告诉我{time}要{do}。|服务员，请给我一份{food}和一杯{food}。|{who}对{topic}很感兴趣。|{who}从{time}开始学习{do}。|"
    "你的{thing}真{adj}，在哪儿买的？|我们应该保护{animal}和{topic}。|{who}忘了带{thing}，只好回{place}。|快点儿，{who}在{place}等我们。|"
    "听说{place}的{food}特别{adj}。|{time}的月亮又大又圆。|{who}一到{place}就开始{do}。|这个{thing}太{adj}了，我不想要。|"
    "{who}不但会{do}，而且会{do}。|只有多{do}，才能更{adj}。|祝你{time}过得{adj}！|真对不起，我把你的{thing}弄坏了。|没关系，{time}再{do}也不晚。|"
    "{who}第{num}次来{place}，什么都觉得{adj}。|前面有{num}个{job}在{do}。|别{do}了，该吃饭了。|{who}住在{place}附近，去{place}很方便。|"
    "昨天的{topic}怎么样？|我把{thing}借给{who}了。|{who}让我{time}去{place}。|{food}已经凉了，快吃吧。|这道题太{adj}，{who}不会做。|"
    "下了课，{who}就去{place}{do}。|门口站着{num}个人。|{colour}色的花开在{place}。|河里的{animal}真多啊！|你听，外面有{animal}在叫。|"
    "大家都说{who}是个{adj}的人。|等一下，我还没有{do}。|他一句话也不说，只是{do}。|谁知道{place}在哪儿？|今年的{food}比去年的{adj}。|"
    "老{job}告诉我们，{topic}要慢慢来。|从前有一只{animal}，住在{place}。|{who}终于明白了，{topic}并不{adj}。|电视里正在说{topic}。|"
    "这是{num}号房间的{thing}。|现在是{num}点{num}分。|一共{num}块钱，您给{num}块。|{who}的生日是{num}月{num}号。|小心，前面很{adj}。"
).split("|")  # fmt: skip

_CANTONESE: Final = {
    "who": "我 你 佢 我哋 佢哋 大家 老師 媽咪 爹哋 阿爺 婆婆 阿哥 家姐 細佬 阿妹 阿明 陳生 李小姐 我朋友 隔離屋 同事 經理 醫生 司機 啲細路 嗰個人 我同學",
    "time": "今日 聽日 尋日 後日 朝早 晏晝 夜晚 上個月 下個禮拜 週末 舊年 出年 頭先 最近 細個嗰陣 每朝 星期三 暑假 過年 呢排 半夜 月底 一陣間",
    "place": "公園 學校 超級市場 醫院 銀行 火車站 機場 圖書館 戲院 酒樓 公司 工廠 海邊 山頂 博物館 郵局 舖頭 廚房 課室 宿舍 香港 九龍 新界 中環 旺角 廣州 深圳 澳門 街市 茶餐廳 書局 樓下 屋企",
    "food": "白飯 麵 餃子 叉燒包 雞蛋 牛奶 蘋果 香蕉 西瓜 提子 橙 豆腐 青菜 牛肉 羊肉 魚 燒鵝 火鍋 蛋糕 麵包 雪糕 熱茶 咖啡 果汁 啤酒 糖水 月餅 薯仔 番茄 白菜 蝦餃 燒賣 腸粉 雲吞麵",
    "thing": "書 手機 電腦 鎖匙 遮 衫 帽 鞋 眼鏡 手錶 相 地圖 報紙 雜誌 信 禮物 銀包 書包 枱 凳 窗 單車 鋼琴 字典 毛巾 杯 碟 筷子 鉸剪 電視 雪櫃 冷氣 花樽 機票 護照 鉛筆 玩具",
    "adj": "好 大 細 新 舊 快 慢 靚 乾淨 靜 熱鬧 平 貴 簡單 複雜 重要 得意 奇怪 舒服 方便 危險 叻 勤力 開心 唔開心 緊張 攰 忙 凍 熱 暖 涼 清楚 深 淺 厚 薄 輕 重 甜 酸 苦 辣 香 新鮮 勇敢",
    "do": "睇書 寫信 煮飯 洗衫 執房 跑步 游水 唱歌 跳舞 畫畫 捉棋 打籃球 踢波 行山 釣魚 上網 買餸 開會 上堂 考試 旅行 影相 瞓覺 抖 傾偈 整車 種花 做功課 學廣東話 聽歌 睇戲 飲茶 打邊爐 搬屋 踩單車 等巴士 湊仔 做生意 寫字",
    "num": "一 兩 三 四 五 六 七 八 九 十 十二 十五 二十 三十 五十 八十 一百 幾",
    "animal": "貓 狗 雀仔 馬 牛 羊 兔仔 老虎 大笨象 馬騮 熊貓 狐狸 鴨 青蛙 烏龜 蝴蝶 蜜蜂 老鼠 獅子 魚",
    "weather": "落雨 落雪 打風 行雷 好熱 好凍 有霧 出太陽 陰天 好天 落大雨 轉涼",
    "job": "老師 醫生 護士 司機 廚師 工程師 記者 警察 律師 畫家 作家 農夫 歌星 翻譯 會計 科學家 售貨員 導遊",
    "topic": "天氣 經濟 歷史 音樂 足球 電影 工作 讀書 健康 環境 文化 科學 價錢 計劃 問題 新聞 比賽 教育 交通 生活",
    "colour": "紅 黃 藍 綠 白 黑 灰 紫 粉紅 金",
}  # fmt: skip
_CANTONESE_FRAMES: Final = (
    "{who}{time}去{place}{do}。|{who}喺{place}{do}緊。|{who}鍾意食{food}，唔鍾意食{food}。|唔該，去{place}點行？|呢{num}本書係咪{who}㗎？|"
    "{time}{weather}，{who}冇出街。|{who}將{thing}放咗喺{place}。|我個{thing}唔見咗，你有冇見到？|{food}幾錢一斤？|{who}想買{num}張去{place}嘅飛。|"
    "由{place}到{place}要{num}個鐘。|{who}覺得呢個{topic}好{adj}。|你可唔可以幫我攞{thing}？|{who}一路{do}，一路{do}。|"
    "雖然好{adj}，但係{who}都去咗{place}。|因為{weather}，所以我哋{time}唔去{place}喇。|如果{time}得閒，我哋一齊{do}啦。|{who}{adj}過{who}。|"
    "呢度啲{food}又{adj}又{adj}。|{place}隔離有間{place}。|{who}已經{num}年冇返{place}喇。|{who}係一個{adj}嘅{job}。|大個咗，我想做{job}。|"
    "隻{animal}喺樹下面瞓覺。|嗰隻{animal}跑得好快。|{who}養咗{num}隻{animal}。|天文台話{time}會{weather}。|{who}著住件{colour}色衫。|"
    "枱上面有{num}個{food}。|你點解唔{do}呀？|{who}日日{num}點起身，{num}點瞓覺。|我哋{time}再傾{topic}啦。|關於{topic}，你有咩意見？|"
    "{who}話{topic}非常{adj}。|唔該將{thing}畀{who}。|{who}送咗個{thing}畀我，我好{adj}。|唔使擔心，{who}會嚟㗎。|{who}聽唔明{job}講乜。|"
    "{place}離{place}有幾遠？|搭地鐵去{place}最{adj}。|{who}打電話話我知{time}要{do}。|唔該，我要一份{food}同一杯{food}。|{who}對{topic}好有興趣。|"
    "你個{thing}好{adj}喎，喺邊度買㗎？|{who}唔記得帶{thing}，唯有返{place}。|快啲啦，{who}喺{place}等緊我哋。|聽講{place}啲{food}特別{adj}。|"
    "{time}個月光又大又圓。|{who}一到{place}就開始{do}。|呢個{thing}太{adj}喇，我唔要。|{who}唔單止識{do}，仲識{do}。|祝你{time}過得{adj}！|"
    "真係對唔住，我整爛咗你個{thing}。|唔緊要，{time}再{do}都未遲。|前面有{num}個{job}喺度{do}。|唔好{do}喇，食飯喇。|"
    "{who}住喺{place}附近，去{place}好方便。|尋日嘅{topic}點樣呀？|我將{thing}借咗畀{who}。|{who}叫我{time}去{place}。|啲{food}凍咗喇，快啲食啦。|"
    "放咗學，{who}就去{place}{do}。|門口企咗{num}個人。|河入面好多{animal}呀！|你聽吓，出面有{animal}叫。|個個都話{who}好{adj}。|等陣，我仲未{do}。|"
    "邊個知{place}喺邊度？|今年啲{food}好過舊年。|從前有隻{animal}，住喺{place}。|{who}終於明白，{topic}一啲都唔{adj}。|電視講緊{topic}。|"
    "而家{num}點{num}分。|一共{num}蚊，收你{num}蚊。|{who}生日係{num}月{num}號。|小心啲，前面好{adj}。|我{time}冇食{food}。|{who}係咪去咗{place}呀？"
).split("|")  # fmt: skip

_FRAMES: Final = {"zh": _MANDARIN_FRAMES, "yue": _CANTONESE_FRAMES}
_WORDS: Final = {
    language: {name: words.split() for name, words in pools.items()}
    for language, pools in (("zh", _MANDARIN), ("yue", _CANTONESE))
}


def everyday(language: str, count: int, rnd: random.Random) -> list[str]:
    """``count`` sentences of ``zh`` or ``yue``."""
    pools = _WORDS[language]
    return [
        _HOLE.sub(lambda hole: rnd.choice(pools[hole[1]]), rnd.choice(_FRAMES[language]))
        for _ in range(count)
    ]
