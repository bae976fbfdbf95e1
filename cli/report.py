"""The report at the end of a training, for a person: clips, figures before and after, what comes next.

It prints what the daemon sent and judges nothing. Follows specs/cli.md and specs/training.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from p2pvoice.cli.output import Output, printable, seconds

Row = Mapping[str, Any]

ENDINGS = {
    "steps": "all its steps",
    "time": "its time was up",
    "held-out": "held-out speech got no better",
    "asked": "it was stopped",
}
"""Why a part of a training ended."""


def clip_table(output: Output, clips: Sequence[Row]) -> None:
    """What became of each clip, and what to do about those that did not serve."""
    output.table(
        ["~CLIP", ">LENGTH", ">USED", "VERDICT"],
        [
            [
                str(clip.get("name", "")),
                seconds(float(clip.get("seconds", 0))),
                seconds(float(clip.get("used_seconds", 0))),
                verdict(clip),
            ]
            for clip in clips
        ],
    )
    for clip in clips:
        for fault in clip.get("faults", ()):
            where = f" ({fault['piece']})" if fault.get("piece") else ""
            text = f"{clip.get('name', '')}{where}: {fault.get('message', '')}"
            output.note(printable(text + (f"; {fault['hint']}" if fault.get("hint") else "")))


def verdict(clip: Row) -> str:
    """A clip's fate in a word or two."""
    faults = clip.get("faults", ())
    if any(fault.get("refuses") and not fault.get("piece") for fault in faults):
        return "left out"
    if not clip.get("used_seconds"):
        return "not used"
    return f"used, {len(faults)} note{'s' if len(faults) != 1 else ''}" if faults else "good"


def training_report(output: Output, result: Row) -> None:
    """Everything a training has to say at its end."""
    report = result.get("report") or {}
    if report.get("clips"):
        clip_table(output, report["clips"])
    data, stages = report.get("data") or {}, report.get("stages") or {}
    rows: list[tuple[str, Any]] = [
        ("learned from", f"{seconds(float(data.get('seconds', 0)))} of speech" if data else None),
        ("steps", report.get("steps")),
        ("computing", seconds(float(report["seconds"])) if report.get("seconds") is not None else None),
    ]
    rows += [(name, stage_line(stage)) for name, stage in stages.items()]
    rows += comparison(report)
    share = (report.get("identical") or {}).get("share")
    if share is not None:
        rows.append(("unchanged", f"{float(share) * 100:.1f} % of the bytes are those of the base"))
    output.pairs(rows)
    for text in (report.get("without_training_part"), *report.get("notes", ())):
        if text:
            output.note(f"note: {printable(str(text))}")
    references = int(result.get("references") or 0)
    if references and report.get("kind", "train") == "train":
        clips = "clip" if references == 1 else "clips"
        output.note(
            f"the draft holds {references} {clips} of the recordings: they stay on this machine too, unless "
            "you publish with --clips-may-travel"
        )


def stage_line(stage: Row) -> str:
    """One network's training: steps, held-out error from first to best, why it ended."""
    parts = [f"{stage.get('steps', 0)} steps"]
    first, best = stage.get("first"), stage.get("best")
    if first is not None and best is not None:
        parts.append(f"held-out {float(first):.4g} -> {float(best):.4g}")
    ended = ENDINGS.get(str(stage.get("stopped", "")), "")
    return "; ".join([*parts, ended] if ended else parts)


def comparison(report: Row) -> list[tuple[str, Any]]:
    """Figures before and after, of whatever kind of training it was."""
    judged, tuned, distilled = (report.get(name) or {} for name in ("judged", "tune", "distil"))
    rows: list[tuple[str, Any]] = []
    if judged:
        rows += [
            ("similarity", change(judged.get("similarity"))),
            ("errors", change(judged.get("errors"))),
        ]
    if tuned:
        method = str(tuned.get("method", ""))
        rows += [
            (title, change({**(tuned.get(name) or {}), "method": method}))
            for name, title in (("sentences", "these sentences"), ("ordinary", "ordinary ones"))
        ]
        if tuned.get("gained") is False:
            rows.append(("kept", "the base's weights: ordinary sentences lose what these gain, or more"))
    for name in ("teacher", "pupil"):
        one = distilled.get(name)
        if one:
            speed = one.get("cpu_seconds_per_second")
            rows.append((name, f"{one.get('bytes', 0) / 1e6:.1f} MB, {speed} CPU-seconds a second of speech"))
    for name in ("similarity", "errors"):
        found = distilled.get(name)
        if found:
            values = [f"{key} {value}" for key, value in found.items() if isinstance(value, int | float)]
            rows.append((name, "  ".join(values) or str(found.get("reason", ""))))
    return rows


def change(found: Row | None) -> str | None:
    """Before and after in one line, or why there is no figure."""
    if not found:
        return None
    before, after = found.get("before"), found.get("after")
    if before is None or after is None:
        return f"not measured: {printable(str(found.get('reason', '')))}"
    method = printable(str(found.get("method", "")))
    return f"{float(before):.3f} -> {float(after):.3f}" + (f"  ({method})" if method else "")


def figure_table(output: Output, rows: Sequence[Row]) -> None:
    """Measured fields as a table."""
    output.table(
        ["FIELD", "VALUE", ">CONFIDENCE", "~METHOD"],
        [
            [
                str(row.get("field", "")),
                value_of(row),
                f"{row.get('confidence', 0)} %",
                str(row.get("method", "")),
            ]
            for row in rows
        ],
    )


def value_of(row: Row) -> str:
    """A figure with its unit; a scale such as 1-5 stands in brackets, so that it is not read as a number."""
    value, unit = str(row.get("value", "")), str(row.get("unit", ""))
    return f"{value} ({unit})" if unit[:1].isdigit() else f"{value} {unit}".strip()
