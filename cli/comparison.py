"""What two voices differ in, and what a merge made of them, for a person.

It prints what the daemon sent and judges nothing. Follows specs/cli.md and specs/merging.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from p2pvoice.cli.files import write_output
from p2pvoice.cli.output import Output, date, printable, short_author, short_id, size
from p2pvoice.cli.said import count
from p2pvoice.node.rpc.client import Client

Row = Mapping[str, Any]

ROLES = {"before": "yours", "theirs": "theirs", "after": "merged"}
"""The voices of a merge in words."""

FIGURES = {"similarity": "likeness", "quality": "quality", "errors": "errors"}
"""The figures of a report in words."""


def difference(output: Output, result: Row, tensors: int) -> None:
    """Everything a diff has to say; ``tensors`` are listed one by one."""
    output.pairs([("a", whose(result["a"])), ("b", whose(result["b"]))])
    said = [
        [str(row["field"]), value(row["field"], row["a"]), value(row["field"], row["b"])]
        for row in result.get("metadata", ())
    ]
    for name in ("license", "consent"):
        row = result[name]
        title = "licence" if name == "license" else name
        if row["changed"]:
            said.append([title, *(value(name, row[side]) for side in ("a", "b"))])
    if said:
        output.table(["FIELD", "~A", "~B"], said)
    output.table(
        ["PART", ">TENSORS", ">CHANGED", ">CHANGE"],
        [
            [str(row["part"]), str(row["tensors"]), str(row["changed"]), change(row)]
            for row in result.get("parts", ())
        ],
    )
    rows = list(result.get("tensors", ()))[:tensors]
    if rows:
        output.table(
            ["TENSOR", "PART", ">CHANGE", ">LARGEST", "SHAPE"],
            [
                [
                    str(row["name"]),
                    str(row["part"]),
                    change(row),
                    f"{row['max']:.3g}" if row["max"] is not None else "",
                    shape(row["shape"]),
                ]
                for row in rows
            ],
        )
    output.pairs(_summary(result))


def _summary(result: Row) -> list[tuple[str, Any]]:
    files = result.get("files")
    shared = f"{size(files['shared_bytes'])} of {size(files['bytes'])} are the same" if files else None
    related = {True: "of one lineage", False: "not related, as far as is known", None: None}
    return [
        ("tensors", f"{result.get('changed', 0)} of {result.get('count', 0)} changed"),
        ("bytes", shared),
        ("lineage", related[result.get("related")]),
        ("merging", printable(str(result.get("unfit") or "they fit: take, average, layers"))),
    ]


def whose(one: Row) -> str:
    """Which voice one side is, in a line."""
    if one.get("draft"):
        return f"{one['name']}  (draft {one['draft']})"
    return f"{one['name']}  {short_id(str(one['release']))}  {short_author(str(one['author']))}/{one['slug']}"


def value(field: str, said: Any) -> str:
    """What an author says, in the words of a table's cell."""
    if said is None or said == "" or said == [] or said == {}:
        return "-"
    if field == "created":
        return date(said) or "-"
    if field == "size":
        return size(said)
    if field == "consent":
        name = f", {said['subject_name']}" if said.get("subject_name") else ""
        return f"{said['subject']}{name}: {said['state']}"
    if field == "training":
        seconds = (said.get("data") or {}).get("seconds", 0)
        return f"{said.get('kind', '')}, {said.get('steps', 0)} steps on {seconds} s"
    if field == "parents":
        return ", ".join(f"{one['kind']} {short_id(str(one['release']))}" for one in said)
    if isinstance(said, Mapping):
        return ", ".join(f"{key} {_short(item)}" for key, item in said.items())
    if isinstance(said, Sequence) and not isinstance(said, str):
        return ", ".join(map(str, said))
    return str(said)


def _short(name: Any) -> str:
    text = str(name)
    return short_id(text) if text.startswith("ba") and len(text) > 50 else text


def change(row: Row) -> str:
    """How far a part or tensor moved, in per cent of what was there."""
    if not row["changed"]:
        return "same"
    relative = row.get("relative")
    return "new" if relative is None else f"{float(relative) * 100:.3g} %"


def shape(found: Any) -> str:
    """A shape, or both where they differ."""
    if isinstance(found, Mapping):
        return " / ".join("missing" if found[side] is None else shape(found[side]) for side in ("a", "b"))
    return "x".join(map(str, found)) or "1"


def merge_report(output: Output, result: Row) -> None:
    """What a merge made, and what the voices were measured to be, before the author decides."""
    taken = ", ".join(result.get("taken", ()))
    share = result.get("share")
    how = {"average": f"average, {float(share or 0) * 100:g} % theirs", "layers": f"layers: {taken}"}
    mode = str(result.get("mode", ""))
    output.pairs([("merged", how.get(mode, mode)), ("theirs", short_id(str(result.get("theirs", ""))))])
    output.table(
        ["PART", ">TENSORS", ">CHANGED", ">CHANGE"],
        [
            [str(row["part"]), str(row["tensors"]), str(row["changed"]), change(row)]
            for row in result.get("changes", ())
        ],
    )
    report_table(output, result.get("report") or {}, ROLES)


def report_table(output: Output, report: Row, roles: Mapping[str, str]) -> None:
    """The figures of several voices beside each other, each with its method; ``roles`` are their titles."""
    rows = []
    for name, title in FIGURES.items():
        row = report.get(name) or {}
        figures = ["-" if row.get(role) is None else f"{float(row[role]):g}" for role in roles]
        method = row.get("method") or f"not measured: {row.get('reason', '')}"
        rows.append([title, *figures, str(method)])
    output.table(["FIGURE", *(f">{title.upper()}" for title in roles.values()), "~METHOD"], rows)
    output.note(f"of {count(int(report.get('sentences', 0)), 'sentence')}, with the same seeds for all")


def save_samples(client: Client, folder: Path, samples: Iterable[Row]) -> list[Path]:
    """Write samples as WAV files into a folder, which is made if it is not there; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    counts: dict[str, int] = {}
    for row in samples:
        role = str(row["of"])
        counts[role] = counts.get(role, 0) + 1
        path = folder / f"{counts[role]}-{ROLES.get(role, role)}.wav"
        write_output(path, client.sample(str(row["sample"])).data)
        written.append(path)
    return written
