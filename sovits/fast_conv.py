"""Convolutions over time on the CPU with far fewer multiplications, for inference only.

A plain convolution multiplies every pair of channels once per tap. Here time is cut into overlapping tiles,
each tile goes through a discrete Fourier transform (a small matrix), the channels are multiplied bin by bin
(one batch of matrix products), and the inverse gives the outputs: the same sum in another order, with an
error like float32's own. Narrow layers, where the transforms would cost more than they save, multiply a
window of samples by a band matrix instead. Everything lies time first, [T, C], so a tile of all channels is
one piece of memory and nothing is rearranged in between.

Not for training and not for CUDA, whose own convolutions are better. Follows specs/speed.md.
"""

from dataclasses import dataclass
from math import ceil, pi, prod

import torch
from torch import Tensor

TILES = 64
"""At least so many tiles are transformed at a time, for fewer rows make a poor matrix product."""
SPECTRUM = 1 << 17
"""Beyond that, about so many numbers: they stay in the cache."""
TILE_LENGTHS = (8, 12, 16, 20, 24, 32, 48)
"""Lengths tried for the transform."""
HOPS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Outputs per window tried."""
WINDOW_ROWS = 8192
"""Samples that a narrow layer handles at a time."""
PIECE = 1 << 19
"""About so many numbers of a longer buffer are made at a time."""
SMALL_PRODUCT = 12_000
"""What it costs to begin one of many small matrix products, in multiplications."""
WIDE = 256
"""From so many channels on the transformed weights are kept small, for they outweigh the samples."""


class Workspace:
    """Scratch memory by name, kept between layers: fresh memory costs a page fault per 4 KiB."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._parts: dict[str, Tensor] = {}
        self._layout: tuple[Layout, int] | None = None

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Uninitialised memory of this shape; what the name held before is lost."""
        size = prod(shape)
        part = self._parts.get(name)
        if part is None or part.numel() < size:
            part = self._parts[name] = self._like.new_empty(size)
        return part[:size].view(shape)

    def padded(self, layout: "Layout", taps: int, channels: int) -> Tensor:
        """Memory for samples in ``layout``, with zeros around them."""
        buffer = self("padded", layout.dilation * layout.rows + taps - 1, channels)
        if self._layout != (layout, channels):
            layout.clear(buffer)
            self._layout = layout, channels
        return buffer


@dataclass(frozen=True)
class Layout:
    """Where the samples of a padded buffer lie: the ``dilation`` phases of time one after the other.

    Within a phase neighbours are ``dilation`` samples apart, so a dilated convolution becomes a plain one.
    Phases begin ``rows`` rows apart, with ``pad`` zeros or more before and after each.
    """

    length: int
    dilation: int
    pad: int
    rows: int

    def place(self, rows: Tensor, first: int, count: int, phases: int | None = None) -> Tensor:
        """``count`` rows of each phase from ``first`` on: a view [phases, count, C]."""
        channels = rows.shape[1]
        shape = (self.dilation if phases is None else phases, count, channels)
        offset = rows.storage_offset() + first * channels
        return rows.as_strided(shape, (self.rows * channels, channels, 1), offset)

    def clear(self, buffer: Tensor) -> None:
        """Zero what lies between the samples."""
        whole = self.length // self.dilation
        buffer[: self.pad].zero_()
        self.place(buffer, self.pad + whole, self.rows - whole).zero_()
        buffer[self.dilation * self.rows + self.pad :].zero_()

    def write(self, x: Tensor, buffer: Tensor, slope: float) -> None:
        """Put the leaky-rectified ``x`` [length, C] into the buffer, whose other rows stay zero."""
        self._copy(x, buffer, slope, into=True)

    def read(self, y: Tensor, target: "Layout", buffer: Tensor, slope: float) -> None:
        """Put a convolution's leaky-rectified result, in this layout, into an undilated one's buffer."""
        inside = buffer[target.pad : target.pad + self.length]
        self._copy(inside, y, slope, into=False)

    def _copy(self, plain: Tensor, rows: Tensor, slope: float, *, into: bool) -> None:
        """Between time order and phases; what remains when time is no multiple of them goes by itself."""
        whole, rest = divmod(self.length, self.dilation)
        first = self.pad if into else 0
        many = plain[: whole * self.dilation].view(whole, self.dilation, plain.shape[1]).transpose(0, 1)
        few = plain[whole * self.dilation :].unsqueeze(1)
        pairs = [(many, self.place(rows, first, whole))]
        if rest:
            pairs.append((few, self.place(rows, first + whole, 1, rest)))
        for ordered, phased in pairs:
            source, target = (ordered, phased) if into else (phased, ordered)
            torch.ops.aten.leaky_relu.out(source, slope, out=target)


def fourier_matrices(taps: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices in float64 that turn a correlation of ``length`` samples with ``taps`` into products.

    ``(into, weights, back)``: the outputs are ``back @ ((weights @ taps) * (into @ samples))``. A complex
    product is made of three real ones, whose sums are part of the matrices.
    """
    samples = torch.arange(length, dtype=torch.float64)
    into, weights, back = [], [], []
    for bin_ in range(length // 2 + 1):
        cos, sin = (2 * pi * bin_ / length * samples).cos(), (2 * pi * bin_ / length * samples).sin()
        if bin_ in (0, length / 2):
            rows, scale = ((cos, cos, cos),), 1 / length
        else:
            rows, scale = (
                ((cos, cos, cos + sin), (-sin, sin, sin - cos), (cos - sin, cos + sin, -sin)),
                2 / length,
            )
        for row in rows:
            into.append(row[0])
            weights.append(row[1][:taps])
            back.append(row[2][: length - taps + 1] * scale)
    return torch.stack(into), torch.stack(weights), torch.stack(back, dim=1)


class FrequencyConv:
    """A wide convolution through the Fourier transform of tiles."""

    def __init__(self, weight: Tensor, length: int) -> None:
        """``weight`` is [outputs, inputs, taps]; a tile of ``length`` samples gives ``hop`` outputs."""
        outputs, inputs, self.taps = weight.shape
        self.outputs, self.length, self.hop = outputs, length, length - self.taps + 1
        into, spread, back = fourier_matrices(self.taps, length)
        self.products = len(into)
        self.into = into.to(weight.dtype)
        # The last column adds the bias, which stands behind the products.
        self.back = torch.cat([back, torch.ones(self.hop, 1)], dim=1).to(weight.dtype)
        flat = spread.to(weight.dtype) @ weight.permute(2, 1, 0).reshape(self.taps, -1)
        self.weight = flat.view(self.products, inputs, outputs)

    @staticmethod
    def cost(inputs: int, outputs: int, taps: int, length: int) -> float:
        """Multiplications per row of outputs, weighed by how fast they were measured to go."""
        products, hop = 3 * (length // 2) - 1, length - taps + 1
        if hop < 2:
            return float("inf")
        mixing = products * inputs * outputs / speed(min(inputs, outputs))
        turning = products * (length * inputs + hop * outputs) / 0.85 + 2 * SMALL_PRODUCT
        return (mixing + turning) / hop

    def run(self, buffer: Tensor, y: Tensor, bias: Tensor, space: Workspace) -> None:
        """Padded samples [rows + taps - 1, inputs] -> ``y`` [rows, outputs]."""
        tiles, channels = len(y) // self.hop, buffer.shape[1]
        most = max(TILES, SPECTRUM // (self.products * channels))
        step = ceil(tiles / ceil(tiles / most))
        for start in range(0, tiles, step):
            n = min(step, tiles - start)
            x = buffer.as_strided(
                (n, self.length, channels),
                (self.hop * channels, channels, 1),
                buffer.storage_offset() + start * self.hop * channels,
            )
            spectrum = space("spectrum", n, self.products, channels)
            torch.bmm(self.into.expand(n, -1, -1), x, out=spectrum)
            mixed = space("mixed", self.products + 1, n, self.outputs)
            mixed[-1] = bias
            torch.bmm(spectrum.transpose(0, 1), self.weight, out=mixed[:-1])
            out = y[start * self.hop : (start + n) * self.hop].view(n, self.hop, self.outputs)
            torch.bmm(self.back.expand(n, -1, -1), mixed.transpose(0, 1), out=out)


class WindowConv:
    """A narrow convolution: a window of samples times a band matrix gives ``hop`` outputs at once."""

    def __init__(self, weight: Tensor, hop: int) -> None:
        """``weight`` is [outputs, inputs, taps]."""
        self.outputs, inputs, self.taps = weight.shape
        self.hop, self.window = hop, hop + self.taps - 1
        band = weight.new_zeros(self.window, inputs, hop, self.outputs)
        for i in range(hop):
            band[i : i + self.taps, :, i] = weight.permute(2, 1, 0)
        self.weight = band.view(self.window * inputs, hop * self.outputs)

    @staticmethod
    def cost(inputs: int, outputs: int, taps: int, hop: int) -> float:
        """As above."""
        return (hop + taps - 1) * inputs * outputs / speed(hop * outputs)

    def run(self, buffer: Tensor, y: Tensor, bias: Tensor, space: Workspace) -> None:
        """As above. Windows overlap, and a matrix's rows must not: so every ``apart``-th is taken at once."""
        windows, channels = len(y) // self.hop, buffer.shape[1]
        apart, step = ceil(self.window / self.hop), ceil(WINDOW_ROWS / self.hop)
        out, bias = y.view(windows, self.hop * self.outputs), bias.repeat(self.hop)
        for start in range(0, windows, step):
            end = min(start + step, windows)
            for first in range(start, min(start + apart, end)):
                x = buffer.as_strided(
                    (len(range(first, end, apart)), self.window * channels),
                    (apart * self.hop * channels, 1),
                    buffer.storage_offset() + first * self.hop * channels,
                )
                torch.addmm(bias, x, self.weight, out=out[first:end:apart])


def speed(columns: int) -> float:
    """Part of the full speed that a product with so many columns was measured to reach."""
    return min(1.0, 0.6 + columns / 300, 0.3 + columns / 64)


def method(weight: Tensor) -> FrequencyConv | WindowConv:
    """The cheaper way to convolve with ``weight`` [outputs, inputs, taps]."""
    outputs, inputs, taps = weight.shape

    def cost(length: int) -> float:
        spent = FrequencyConv.cost(inputs, outputs, taps, length)
        return spent * (1 + 0.01 * length) if min(inputs, outputs) >= WIDE else spent

    length = min(TILE_LENGTHS, key=cost)
    hop = min(HOPS, key=lambda hop: WindowConv.cost(inputs, outputs, taps, hop))
    if WindowConv.cost(inputs, outputs, taps, hop) < FrequencyConv.cost(inputs, outputs, taps, length):
        return WindowConv(weight, hop)
    return FrequencyConv(weight, length)


class FastConv:
    """A convolution of odd width that keeps the length, [T, inputs] -> [T, outputs]."""

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int = 1) -> None:
        self.outputs, self.inputs, self.taps = weight.shape
        self.how = method(weight)
        self.bias, self.dilation = bias, dilation
        self.reach = dilation * (self.taps - 1) // 2

    def layout(self, length: int) -> Layout:
        """How ``length`` samples lie in this convolution's buffer and result."""
        pad = (self.taps - 1) // 2
        longest = ceil(length / self.dilation) + (pad if self.dilation > 1 else 0)
        return Layout(length, self.dilation, pad, ceil(longest / self.how.hop) * self.how.hop)

    def buffer(self, layout: Layout, space: Workspace) -> Tensor:
        """Memory for the samples, [rows, inputs]; zero around them."""
        return space.padded(layout, self.taps, self.inputs)

    def run(self, layout: Layout, buffer: Tensor, space: Workspace, bias: Tensor | None = None) -> Tensor:
        """Convolve a written buffer; the result, in the same layout, lasts until the next call."""
        y = space("result", layout.dilation * layout.rows, self.outputs)
        self.how.run(buffer, y, self.bias if bias is None else bias, space)
        return y


class FastUpsample:
    """A transposed convolution, [T, inputs] -> [T * rate, outputs]: each input row gives ``rate`` rows."""

    def __init__(self, weight: Tensor, bias: Tensor, rate: int, padding: int) -> None:
        """``weight`` is [inputs, outputs, taps]."""
        inputs, self.outputs, taps = weight.shape
        self.rate, self.padding, self.bias = rate, padding, bias.repeat(rate)
        self.reach = ceil(taps / rate)
        padded = weight.new_zeros(inputs, self.outputs, self.reach * rate)
        padded[..., :taps] = weight
        # An output hears the input beneath it through the first taps, and earlier inputs through later ones.
        blocks = padded.view(inputs, self.outputs, self.reach, rate).permute(2, 0, 3, 1).flip(0)
        self.weight = blocks.reshape(self.reach * inputs, rate * self.outputs)

    def run(self, x: Tensor, slope: float, space: Workspace) -> Tensor:
        """The leaky-rectified ``x`` [T, inputs] made longer."""
        length, channels = x.shape
        before, rows = self.reach - 1, ceil((length * self.rate + self.padding) / self.rate)
        y = x.new_empty(rows, self.rate * self.outputs)
        step = max(1, PIECE // channels)
        for start in range(0, rows, step):
            end = min(start + step, rows)
            buffer = space("up", before + end - start, channels)
            # Row r of the result hears the inputs from r - before to r; those that do not exist are zero.
            first, last = max(0, start - before), min(end, length)
            offset = first - (start - before)
            buffer[:offset].zero_()
            buffer[offset + last - first :].zero_()
            torch.ops.aten.leaky_relu.out(x[first:last], slope, out=buffer[offset : offset + last - first])
            for row in range(min(self.reach, end - start)):
                windows = buffer.as_strided(
                    (len(range(start + row, end, self.reach)), self.reach * channels),
                    (self.reach * channels, 1),
                    buffer.storage_offset() + row * channels,
                )
                torch.addmm(self.bias, windows, self.weight, out=y[start + row : end : self.reach])
        return y.view(rows * self.rate, self.outputs)[self.padding : self.padding + length * self.rate]
