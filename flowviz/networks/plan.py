"""An MLP prepared for a list of times, for evaluations without gradients on the CPU.

The module allocates a result for every layer, which a batch of thousands of states has to fetch
from main memory. Here a batch is evaluated in parts that stay in a core's cache, in memory that is
reused, on all processors if it is large; and everything that depends on the times alone is
computed once, for all times together.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn.functional import silu

from flowviz.device import limit_threads, threads_for
from flowviz.networks.mlp import MLP
from flowviz.networks.second_time import waves

ROWS = 512
"""States of a part. With 128 the calls, with 2,048 the memory cost more than they save."""

MIN_PARTS = 8
"""Parts for which a thread is started: it costs 0.1 ms, eight parts about 10 ms."""


class Plan:
    """The evaluations of an MLP at T times, called as plan(k, x) for the k-th of them.

    Do not train the network while a plan of it is in use. A plan serves one thread at a time.

    Args:
        network: the network, used without a second time.
        clocks: the network's clock at each time, (T, C).
    """

    def __init__(self, network: MLP, clocks: Tensor) -> None:
        self.rates, self.head, self.last = network.x_rates, network.head.weight, network.head.bias
        self.weights = [layer.weight.T for layer in network.layers]
        shifts = network.shift(network.clock(waves(clocks, network.t_rates)))
        own = torch.stack([layer.bias for layer in network.layers])
        self.biases = [each.unbind() for each in shifts.reshape(-1, *own.shape) + own]
        self._memories: list[_Memory] = []

    def __call__(self, k: int, x: Tensor) -> Tensor:
        """The output of the network at the k-th time and x (B, D), shape (B, D)."""
        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        self._spread(partial(self._value, self.biases[k]), x, result)
        return result

    def with_diagonal(self, k: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output at the k-th time and x (B, D), and its derivatives by x.

        Returns:
            The output (B, D) and the diagonal of its Jacobian (B, D).
        """
        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        diagonal = torch.empty_like(result)
        self._spread(partial(self._value_and_diagonal, self.biases[k]), x, result, diagonal)
        return result, diagonal

    def _spread(self, work: Callable[..., None], *tensors: Tensor) -> None:
        """Calls work(memory, *parts) for each part of tensors (B, D)."""
        parts = list(zip(*(each.split(ROWS) for each in tensors), strict=True))
        workers = threads_for(len(parts) // MIN_PARTS)
        rows = min(ROWS, len(tensors[0]))
        if self._memories and self._memories[0].rows < rows:
            self._memories.clear()
        while len(self._memories) < workers:
            self._memories.append(_Memory(self.rates, *self.head.shape, rows, tensors[0]))

        @torch.no_grad()  # each thread has a mode of its own
        def run(worker: int) -> None:
            for part in parts[worker::workers]:
                work(self._memories[worker], *part)

        if workers == 1:
            run(0)
        else:
            with ThreadPoolExecutor(workers, initializer=partial(limit_threads, 1)) as pool:
                list(pool.map(run, range(workers)))

    def _value(self, biases: list[Tensor], memory: "_Memory", x: Tensor, out: Tensor) -> None:
        """Writes the output at x (B, D) to `out`."""
        h, spare = memory.layers[:2, : len(x)]
        torch.addmm(biases[0], memory.features(x), self.weights[0], out=h)
        for bias, weight in zip(biases[1:], self.weights[1:], strict=True):
            h, spare = torch.addmm(bias, silu(h, inplace=True), weight, out=spare), h
        torch.addmm(self.last, silu(h, inplace=True), self.head.T, out=out)

    def _value_and_diagonal(
        self, biases: list[Tensor], memory: "_Memory", x: Tensor, out: Tensor, by_x: Tensor
    ) -> None:
        """Writes the output and the diagonal of the Jacobian at x (B, D) to `out` and `by_x`.

        The derivatives by each x_d go forward to the last hidden layer. From the output they go
        back through that layer: of the d-th output only the derivative by x_d is needed, so that
        one product of the layer's slopes with fixed weights gives it.
        """
        h, spare, gate, slope = memory.layers[:, : len(x)]
        tangents, back = memory.tangents(len(x))
        torch.addmm(biases[0], memory.features(x), self.weights[0], out=h)
        torch.bmm(memory.own_waves(len(x)), self.inner, out=tangents)
        _bend(h, gate, slope)
        for number, (bias, weight) in enumerate(zip(biases[1:], self.weights[1:], strict=True), 2):
            tangents *= slope
            h, spare = torch.addmm(bias, h, weight, out=spare), h
            _bend(h, gate, slope)
            if number < len(self.weights):
                torch.mm(tangents.flatten(0, 1), weight, out=back.flatten(0, 1))
                tangents, back = back, tangents
        torch.addmm(self.last, h, self.head.T, out=out)
        if self.outer is None:
            torch.mul(slope, self.head[:, None], out=back)
        else:
            for matrix, each in zip(self.outer, back, strict=True):
                torch.mm(slope, matrix, out=each)
        torch.sum(tangents.mul_(back), dim=2, out=by_x.T)

    @cached_property
    def inner(self) -> Tensor:
        """The weights of x_d and of its own waves in its derivative, (D, 1 + 2 R, W)."""
        dim, octaves = len(self.head), len(self.rates)
        plain, waving = self.weights[0].split([dim, 2 * dim * octaves])
        of_sine, of_cosine = waving.reshape(2, dim, octaves, plain.shape[1]) * self.rates[:, None]
        return torch.cat([plain[:, None], -of_cosine, of_sine], dim=1)

    @cached_property
    def outer(self) -> Tensor | None:
        """The last hidden layer times the weights of each output, (D, W, W); None of one layer."""
        return self.head[:, :, None] * self.weights[-1].T if len(self.weights) > 1 else None


class _Memory:
    """The memory in which one thread evaluates parts of `rows` states, with W units a layer."""

    def __init__(self, rates: Tensor, dim: int, width: int, rows: int, like: Tensor) -> None:
        self.rates, self.dim, self.width, self.rows = rates[:, None], dim, width, rows
        self.layers = like.new_empty(4, rows, width)
        # By columns, so that each sine is one long row.
        self.columns = like.new_empty(dim * (1 + 2 * len(rates)), rows)
        self.angles = like.new_empty(dim, len(rates), rows)

    def features(self, x: Tensor) -> Tensor:
        """The waves of x (B, D), as `waves` orders them, (B, D + 2 D R)."""
        n, dim = len(x), self.dim
        columns, angles = self.columns[:, :n], self.angles[..., :n]
        columns[:dim] = x.T
        torch.mul(columns[:dim, None], self.rates, out=angles)
        sines, cosines = columns[dim:].view(2, *angles.shape)
        torch.sin(angles, out=sines)
        torch.cos(angles, out=cosines)
        return columns.T

    def own_waves(self, n: int) -> Tensor:
        """1 and the sines and cosines of each x_d of the latest `features`, (D, B, 1 + 2 R)."""
        size = (2, self.dim, len(self.rates), n)
        sines, cosines = self.columns[self.dim :, :n].view(size).transpose(2, 3)
        return torch.cat([sines.new_ones(self.dim, n, 1), sines, cosines], dim=2)

    def tangents(self, n: int) -> Tensor:
        """Memory for the derivatives of a layer by each x_d, twice, (2, D, B, W)."""
        size = (2, self.dim, n, self.width)
        return self._tangents[: 2 * self.dim * n * self.width].view(size)

    @cached_property
    def _tangents(self) -> Tensor:
        return self.layers.new_empty(2 * self.dim * self.rows * self.width)


def _bend(h: Tensor, gate: Tensor, slope: Tensor) -> None:
    """Replaces h (B, W) by its SiLU and writes the derivative to `slope`; `gate` is memory."""
    torch.sigmoid(h, out=gate)
    h *= gate
    torch.addcmul(gate, h, gate, value=-1, out=slope)
    slope += h
