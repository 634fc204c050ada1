"""An MLP prepared for evaluations without gradients on the CPU, each at one time.

The module allocates a result for every layer, which a batch of thousands of states has to fetch
from main memory. Here a batch is evaluated in parts that stay in a core's cache, in memory that is
reused, on all processors if it is large; and what depends on the time alone is computed for all
times together where they are known.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, partial

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from flowviz.device import limit_threads
from flowviz.networks.mlp import MLP
from flowviz.networks.products import product, silu_layer
from flowviz.networks.second_time import waves
from flowviz.threads import threads_for

ROWS = 1024
"""States of a part. With 256 the calls, with 4,096 the memory cost more than they save."""

BLOCK = 4096
"""Most states of a block, whose sines are computed together. A thread is started for each full
block: it costs 0.1 ms, the block about 15 ms."""

Biases = tuple[Tensor, ...]
"""The bias of each hidden layer at one time, (W,)."""


class Plan:
    """The evaluations of an MLP, called as plan(biases, x) with the `biases` of a time.

    Do not train the network while a plan of it is in use. A plan serves one thread at a time.

    Args:
        network: the network, used without a second time.
    """

    def __init__(self, network: MLP) -> None:
        self.network = network
        self.rates, self.head = network.x_rates, network.head.weight
        self.last = network.head.bias[:, None]
        layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
        first, *later_weights = [layer.weight.T for layer in layers]
        self.weights = later_weights
        dim, octaves = len(self.head), len(self.rates)
        # In the order of `_Memory.columns`.
        of_x, *of_waves = first.split([dim, dim * octaves, dim * octaves])
        of_x = of_x[:, None]
        of_sine, of_cosine = (each.reshape(dim, octaves, first.shape[1]) for each in of_waves)
        none = torch.zeros_like(of_x)
        self.enter = torch.cat([of_x, none, of_sine, of_cosine], dim=1).flatten(0, 1)
        rates = self.rates[:, None]
        self.inner = torch.cat([none, of_x, -rates * of_cosine, rates * of_sine], dim=1)
        self.layer_biases = torch.stack([layer.bias for layer in layers])
        self._memories: list[_Memory] = []

    def biases(self, clocks: Tensor) -> list[Biases]:
        """The biases at T times, from the network's clock at each, (T, C)."""
        network = self.network
        shifts = network.shift(network.clock(waves(clocks, network.t_rates)))
        return [
            each.unbind()
            for each in shifts.reshape(-1, *self.layer_biases.shape) + self.layer_biases
        ]

    def __call__(self, biases: Biases, x: Tensor) -> Tensor:
        """The output of the network at a time and x (B, D), shape (B, D)."""
        result = x.new_empty(x.shape[::-1])
        self._spread(partial(self._value, biases), x, result)
        return result.T

    def with_diagonal(self, biases: Biases, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output at a time and x (B, D), and its derivatives by x.

        Returns:
            The output (B, D) and the diagonal of its Jacobian (B, D).
        """
        result, diagonal = x.new_empty(2, *x.shape[::-1])
        self._spread(partial(self._value_and_diagonal, biases), x, result, diagonal)
        return result.T, diagonal.T

    def _spread(self, work: Callable[..., None], x: Tensor, *results: Tensor) -> None:
        """Calls work(memory, columns, *results) for each part of x (B, D) and results (D, B)."""
        workers = threads_for(len(x) // BLOCK)
        while len(self._memories) < workers:
            self._memories.append(_Memory(self.rates, self.head))
        blocks = list(zip(*(each.split(BLOCK, dim=1) for each in (x.T, *results)), strict=True))

        @torch.no_grad()  # each thread has a mode of its own
        def run(worker: int) -> None:
            memory = self._memories[worker]
            for block, *outs in blocks[worker::workers]:
                parts = [each.split(ROWS, dim=1) for each in (memory.columns(block), *outs)]
                for part in zip(*parts, strict=True):
                    work(memory, *part)

        if workers == 1:
            run(0)
        else:
            with ThreadPoolExecutor(workers, initializer=partial(limit_threads, 1)) as pool:
                list(pool.map(run, range(workers)))

    def _value(self, biases: Biases, memory: "_Memory", columns: Tensor, out: Tensor) -> None:
        """Writes the output at `columns` (K, B) to `out` (D, B)."""
        h, buffer = memory.layers(columns.shape[1])
        silu(torch.addmm(biases[0], columns.T, self.enter, out=h), inplace=True)
        for bias, weight in zip(biases[1:], self.weights, strict=True):
            h, buffer = silu_layer(h, weight, bias, buffer), h
        torch.addmm(self.last, self.head, h.T, out=out)

    def _value_and_diagonal(
        self,
        biases: Biases,
        memory: "_Memory",
        columns: Tensor,
        out: Tensor,
        by_x: Tensor,
    ) -> None:
        """Writes the output and the diagonal of the Jacobian at `columns` (K, B), each (D, B).

        The derivatives by each x_d go forward to the last hidden layer. From the output they go
        back through that layer: of the d-th output only the derivative by x_d is needed, so that
        one product of the layer's slopes with fixed weights gives it.
        """
        gate, slope = memory.layers(columns.shape[1])
        stack, buffers = memory.stacks(columns.shape[1])  # h and its derivatives by each x_d
        torch.addmm(biases[0], columns.T, self.enter, out=stack[0])
        by_dimension = columns.unflatten(0, (len(self.head), -1))
        torch.bmm(by_dimension.transpose(1, 2), self.inner, out=stack[1:])
        h = stack[0]
        for number, (bias, weight) in enumerate(zip(biases[1:], self.weights, strict=True), 1):
            _bend(stack[0], gate, slope)
            stack[1:] *= slope
            if number < len(self.weights):
                layer = product(stack.flatten(0, 1), weight, buffers.flatten(0, 1))
                stack, buffers = layer.view_as(stack), stack
                stack[0] += bias
            else:
                h = product(stack[0], weight, buffers[0], bias)
        tangents, tangent_buffers = stack[1:], buffers[1:]
        _bend(h, gate, slope)
        torch.addmm(self.last, self.head, h.T, out=out)
        if self.outer is None:
            tangents *= slope * self.head[:, None]
        else:
            for matrix, tangent, tangent_buffer in zip(
                self.outer, tangents, tangent_buffers, strict=True
            ):
                tangent *= product(slope, matrix, tangent_buffer)
        torch.sum(tangents, dim=2, out=by_x)

    @cached_property
    def outer(self) -> Tensor | None:
        """The last hidden layer times the weights of each output, (D, W, W); None of one layer."""
        return self.head[:, :, None] * self.weights[-1].T if self.weights else None


class _Memory:
    """The memory in which one thread evaluates a block of states.

    Attributes:
        layers: memory for two layers of n states, by n: two (n, W).
        stacks: memory for two layers and their derivatives by each x_d, by n: two (1 + D, n, W).
    """

    def __init__(self, rates: Tensor, head: Tensor) -> None:
        dim, width = head.shape
        self.rates = rates[:, None]
        # A block has parts of two sizes at most, whose views are made once.
        self.layers = cache(lambda n: head.new_empty(2, n, width).unbind())
        self.stacks = cache(lambda n: head.new_empty(2, 1 + dim, n, width).unbind())
        # By columns, so that each sine is one long row.
        self._columns = head.new_empty(dim, 2 + 2 * len(rates), BLOCK)
        self._columns[:, 1] = 1
        self._angles = head.new_empty(dim, len(rates), BLOCK)

    def columns(self, x: Tensor) -> Tensor:
        """For each d in turn x_d, 1 and the sines and cosines of x_d; x (D, B) to (K, B)."""
        columns, angles = self._columns[..., : x.shape[1]], self._angles[..., : x.shape[1]]
        columns[:, 0] = x
        torch.mul(columns[:, :1], self.rates, out=angles)
        sines, cosines = columns[:, 2:].chunk(2, dim=1) if len(self.rates) else (angles, angles)
        torch.sin(angles, out=sines)
        torch.cos(angles, out=cosines)
        return columns.flatten(0, 1)


def _bend(h: Tensor, gate: Tensor, slope: Tensor) -> None:
    """Replaces h (B, W) by its SiLU and writes the derivative to `slope`; `gate` is memory."""
    torch.sigmoid(h, out=gate)
    h *= gate
    torch.lerp(h, gate.new_ones(()), gate, out=slope)
