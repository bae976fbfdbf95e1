"""A folder as GPT-SoVITS leaves it after some trainings: weights, recordings, lists, pretrained models."""

import shutil
import wave
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "golden" / "checkpoints" / "good"

#: Sentences of the list: file, its seconds, language and words.
SENTENCES = (
    ("a.wav_0.wav", 4.0, "YUE", "今日天氣好好。"),
    ("b.wav_0.wav", 6.5, "ZH", "今天天气很好。"),
    ("c.wav_0.wav", 2.9, "ZH", "你好。"),
    ("d.wav_0.wav", 12.0, "EN", "This one is far too long."),
    ("e.wav_0.wav", 6.0, "JA", "こんにちは。"),
    ("f.wav_0.wav", 9.0, "en", "Good morning."),
    ("g.wav_0.wav", 3.0, "zh", "你好，世界。"),
)


def sound(path: Path, seconds: float, rate: int = 16_000) -> Path:
    """A humming sound as 16-bit WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(b for i in range(round(seconds * rate)) for b in (0, i * 7 % 23)))
    return path


def put(root: Path, place: str, source: str = "") -> None:
    """A weight file: a golden one, or one that is never opened."""
    target = root / place
    target.parent.mkdir(parents=True, exist_ok=True)
    if source:
        shutil.copy(GOLDEN / source, target)
    else:
        target.write_bytes(b"PK not looked at")


def installation(root: Path) -> Path:
    """Three versions, one voice in two of them, and what belongs to it."""
    put(root, "SoVITS_weights_v2Pro/narrator_e4_s100.pth")
    put(root, "SoVITS_weights_v2Pro/narrator_e8_s200.pth", "tiny_v2Pro.pth")
    put(root, "GPT_weights_v2Pro/narrator-e5.ckpt")
    put(root, "GPT_weights_v2Pro/narrator-e15.ckpt", "tiny_v2.ckpt")
    put(root, "SoVITS_weights_v2/narrator_e12_s900.pth", "tiny_v2.pth")
    put(root, "GPT_weights_v2/narrator-e15.ckpt", "tiny_v2.ckpt")
    put(root, "SoVITS_weights/alone_e8_s64.pth")
    put(root, "SoVITS_weights_v4/later_e2_s30_l32.pth", "tiny_v4_lora.pth")
    put(root, "GPT_weights_v4/later-e15.ckpt")
    lines = []
    for name, seconds, lang, text in SENTENCES:
        sound(root / "output" / "slicer_opt" / name, seconds)
        sound(root / "logs" / "narrator" / "5-wav32k" / name, 1.0)
        lines.append(f"D:\\GPT-SoVITS\\output\\slicer_opt\\{name}|slicer_opt|{lang}|{text}\n")
    folder = root / "output" / "asr_opt"
    folder.mkdir()
    (folder / "slicer_opt.list").write_text("".join(lines), "utf-8")
    (folder / "other.list").write_text("x/z.wav|x|ZH|别的。\n", "utf-8")
    return root
