"""`p2pvoice bench delta`: what an update costs, beside what others would send for it."""

from pathlib import Path

import click

from p2pvoice.cli.output import Output, json_option, size


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def delta(output: Output, base: Path, new: Path) -> None:
    """Encode the step from BASE to NEW with four codecs.

    Both are safetensors files with 16-bit weights, say two releases of one voice. The daemon is not needed.
    """
    from p2pvoice.cli.delta_bench import compare

    found = compare(base, new, lambda codec: output.note(f"{codec} …"))
    if output.as_json:
        output.document(found)
        return
    whole = int(found["size"])
    bitx = next(one["size"] for one in found["runs"] if one["codec"] == "BitX")
    rows = []
    for one in found["runs"]:
        rates = [f"{whole / max(one[way], 1e-6) / 1e6:.0f}" for way in ("encode", "decode")]
        memory = [size(one[f"{way}_memory"]) for way in ("encode", "decode")]
        sizes = [size(one["size"]), f"{whole / one['size']:.2f}", f"{one['size'] / bitx:.3f}"]
        rows.append([one["codec"], *sizes, *rates, *memory])
    limit = int(found["entropy"])
    sizes = [size(limit), f"{whole / max(limit, 1):.2f}", f"{limit / bitx:.3f}"]
    rows.append(["entropy", *sizes, "", "", "", ""])
    for codec, why in found["skipped"].items():
        rows.append([codec, why, "", "", "", "", "", ""])
    columns = ["codec", ">bytes", ">ratio", ">of BitX"]
    columns += [">enc MB/CPU-s", ">dec MB/CPU-s", ">enc memory", ">dec memory"]
    output.line(f"{new.name}, {size(whole)}, told from {base.name}")
    output.table(columns, rows)
    output.note("entropy: a perfect coder that knows the base's exponents, chunk by chunk")
