"""The engine of the static site in Chromium: its end points are those of Python in float64."""

import numpy as np
import pytest
import torch
from mounting import loaded, text

from flowviz import checkpoints
from flowviz.canvases.wire import encode
from flowviz.datasets import DATASETS, FRAME, dataset
from flowviz.distributions import PointMasses
from flowviz.draws import noise
from flowviz.experiments.fields import FieldRef
from flowviz.fields import FlowMap, LearnedField, exact_field
from flowviz.grids import GRIDS
from flowviz.methods import METHODS
from flowviz.metrics import METRICS
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.site import parameters
from flowviz.solvers import solve

NFE = 8
START = torch.randn(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SOLVERS = parameters.methods()
POINTS = PointMasses(torch.tensor([[-2.0, 1.0], [0.5, 3.0], [2.0, -1.0]]), torch.tensor([1, 2, 3]))
BOUND = 1e-6
"""Both sides compute in double precision. Steps that end where sigma is 0.001 magnify the
rounding errors: 2e-8 is the largest measured difference."""
SINGLE = 1e-4
"""The same for networks, whose layers JavaScript computes in single precision; or twice the error
of single precision in Python, where a field magnifies it: 1.2e-4 for score matching."""

RUN = """
({ names }) => cases.want.map((want, i) => {
  const [name, path, method] = names[i], { paths, methods, start } = cases;
  const chosen = paths[path], entry = methods[method];
  const field = cases.data[name] ? fields.exactField(cases.data[name], chosen)
    : fields.learnedField(network.unpacked(cases.networks[name]), chosen);
  const grid = solve.evenGrid(chosen, solve.stepsWithin(entry, cases.nfe));
  const x = Float64Array.from(start, (v) => chosen.sigma_0 * v);
  const end = solve.solve(field, entry, grid, x).at(-1);
  return Math.max(...end.map((v, q) => Math.abs(v - want[q])));
})
"""


@pytest.fixture(scope="module")
def engine(tab):
    """Solves cases (name, path, method) in the page: their largest differences from `expected`."""
    names = "fields", "flow", "grids", "kernel", "network", "noise", "quality", "solve", "special"
    modules = [f"engine/{name}.js" for name in names]
    with loaded(tab, "scene", "base/wire.js", *modules, width=400, height=300) as page:

        def differences(names, expected, data, networks=None):
            payload = {
                "data": data,
                "networks": networks or {},
                "paths": {path: parameters.path(path) for path in SCHEDULERS},
                "methods": SOLVERS,
                "start": START.flatten().numpy(),
                "nfe": NFE,
                "frame": FRAME,
                "want": [each.flatten().numpy() for each in expected],
            }
            page.evaluate(
                "(data) => { window.cases = wire.decode(bytes(data)) }", text(encode(payload))
            )
            found = page.evaluate(RUN, {"names": names})
            return dict(zip(map("/".join, names), found, strict=True))

        yield page, differences


def ends(field, path, method, dtype=torch.float64):
    """The end points of START in Python."""
    times = torch.tensor([0, path.t_max], dtype=torch.float64)
    steps = METHODS[method].steps_within(NFE)
    return solve(field, path.start(START).to(dtype), times, method, steps=steps).states[-1]


def test_exact_fields_lead_to_the_end_points_of_python(engine):
    targets = {name: dataset(name).distribution for name in DATASETS} | {"points": POINTS}
    data = {name: parameters.data_set(dataset(name)) for name in DATASETS}
    data["points"] = {"distribution": parameters.distribution(POINTS)}
    names = [(name, path, "rk4") for name in targets for path in SCHEDULERS]
    names += [("checkerboard", path, method) for path in SCHEDULERS for method in SOLVERS]
    names = list(dict.fromkeys(names))
    expected = []
    for name, path, method in names:
        affine = AffinePath(scheduler(path))
        expected.append(ends(exact_field(affine, targets[name]), affine, method))
    found = engine[1](names, expected, data)
    assert max(found.values()) < BOUND, max(found.items(), key=lambda item: item[1])


def test_shipped_networks_lead_to_the_end_points_of_python(engine):
    names, expected, networks, bounds = [], [], {}, []
    for card in checkpoints.listing():
        ref = FieldRef.of(card.name)
        plain = isinstance(ref.field, LearnedField) and not isinstance(ref.field, FlowMap)
        if plain and card.path in SCHEDULERS:
            networks[card.name] = parameters.network(ref.field)
            names.append((card.name, card.path, "rk4"))
            expected.append(ends(ref.double(), ref.path, "rk4"))
            single = ends(ref.field, ref.path, "rk4", torch.float32) - expected[-1]
            bounds.append(max(SINGLE, 2 * single.abs().max().item()))
    found = engine[1](names, expected, {}, networks)
    assert len(found) >= 20
    for (name, error), bound in zip(found.items(), bounds, strict=True):
        assert error < bound < 5 * SINGLE, name


LAYERS = """
([vectors, n, m]) => {
  const { BLOCK: rows, weightAt } = kernel;
  const weights = rows * n, biases = weights + n * m, out = biases + m;
  const size = out + 2 * m * rows, { memory, hidden, linear } = kernel.kernel(size, vectors);
  const list = (count, of) => Array.from({ length: count }, (_, q) => of(q));
  const wave = (q) => 3 * Math.sin(q * q);
  for (let q = 0; q < out; q++) memory[q] = wave(q);
  hidden(0, weights, biases, out, n, m, rows);
  linear(0, weights, biases, out + m * rows, n, m, rows);
  return [
    ...[[0, weights], [biases, out], [out, size]].map((range) => [...memory.slice(...range)]),
    list(n * m, (q) => wave(weights + weightAt(q % n, Math.floor(q / n), n))),
  ];
}
"""


@pytest.mark.parametrize("vectors", [True, False], ids=["WebAssembly", "JavaScript"])
def test_a_layer_is_a_product_with_silu_or_without(engine, vectors):
    n, m = 22, 16
    h, bias, out, weight = map(np.array, engine[0].evaluate(LAYERS, [vectors, n, m]))
    sums = torch.from_numpy(weight.reshape(m, n) @ h.reshape(n, -1) + bias[:, None])
    assert sums.min() < -30 and sums.max() > 30
    for found, expected in zip(
        np.split(out, 2), (torch.nn.functional.silu(sums), sums), strict=True
    ):
        np.testing.assert_allclose(found, expected.flatten(), rtol=1e-5, atol=1e-4)


SCENE = """
(name) => {
  const { density, density_peak, velocity, velocity_scale, times } =
    flow.scene(cases, new Map(), { data: name, path: "trig", network: null });
  const at = (array, k) =>
    Array.from(array.subarray((k * array.length) / 41, ((k + 1) * array.length) / 41));
  return [1, 20, 40].map((k) =>
    ({ t: times[k], roots: at(density, k), peak: density_peak[k],
       velocity: at(velocity, k).map((v) => v * velocity_scale[k]), scale: velocity_scale[k] }));
}
"""


def test_scenes_are_the_density_and_the_velocity_of_python(engine):
    page, differences = engine
    names = ("checkerboard", "8gaussians", "pinwheel")  # boxes, round and tilted components
    differences([], [], {name: parameters.data_set(dataset(name)) for name in names})
    path = AffinePath(scheduler("trig"))
    fine, coarse = (torch.linspace(-FRAME, FRAME, n, dtype=torch.float64) for n in (96, 20))
    points = torch.cartesian_prod(coarse, coarse).flip(1)
    for name in names:
        field = exact_field(path, dataset(name).distribution)
        for k, found in zip((1, 20, 40), page.evaluate(SCENE, name), strict=True):
            t = path.clock(41)[k]
            density = field.density_grid(t, fine, fine).flatten().numpy()
            roots = 255 * np.sqrt(np.minimum(density / found["peak"], 1))
            assert np.abs(roots - found["roots"]).max() < 0.51
            assert found["peak"] == pytest.approx(np.quantile(density, 0.999), rel=0.05)
            apart = np.abs(field(t, points).flatten().numpy() - found["velocity"]).max()
            assert apart < 0.51 * found["scale"]


@pytest.mark.parametrize("name", GRIDS)
def test_the_times_of_a_grid_are_those_of_python(engine, name):
    page, differences = engine
    differences([], [], {})
    times = "([path, name]) => [...grids.gridOf(cases.paths[path], 7, name)]"
    for path in SCHEDULERS:
        expected = GRIDS[name](AffinePath(scheduler(path)), 7).tolist()
        assert page.evaluate(times, [path, name]) == pytest.approx(expected, abs=1e-12)


def test_the_energy_distance_is_that_of_python(engine):
    x, y = noise(40, 1), 1 + noise(56, 2)
    found = engine[0].evaluate(
        "([x, y]) => quality.energyDistance(x, y)", [x.flatten().tolist(), y.flatten().tolist()]
    )
    assert found == pytest.approx(METRICS["energy"](x, y), rel=1e-9)


QUALITY = """
() => ["euler", "rk4"].flatMap((method) => [8, 64].map((nfe) => quality.quality(cases, new Map(),
  { data: "checkerboard", path: "vp", method, nfe, grid: "log-snr", seed: 0, n: 48 })))
"""


def test_errors_fall_with_the_order_of_a_method(engine):
    page, differences = engine
    differences([], [], {"checkerboard": parameters.data_set(dataset("checkerboard"))})
    euler, fine_euler, rk4, fine_rk4 = (each["error"] for each in page.evaluate(QUALITY))
    assert euler > 4 * fine_euler and rk4 > 100 * fine_rk4 and fine_euler > 10 * fine_rk4


def test_special_functions_are_accurate(engine):
    z = np.concatenate([np.linspace(0, 10, 400), np.geomspace(10, 1e8, 50)])
    scaled = engine[0].evaluate("(z) => z.map(special.erfcx)", z.tolist())
    np.testing.assert_allclose(scaled, torch.special.erfcx(torch.from_numpy(z)), rtol=1e-13)
    v = -np.linspace(0, 39.9, 997)
    powers = engine[0].evaluate("(v) => v.map(special.expBelow)", v.tolist())
    np.testing.assert_allclose(powers, np.exp(v), rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1])
def test_noise_of_a_seed_is_that_of_python(engine, seed):
    drawn = engine[0].evaluate("(seed) => [...noise.noise(400, seed)]", seed)
    bound = 5e-6  # PyTorch computes logarithm and cosine in 32 bits
    np.testing.assert_allclose(drawn, noise(400, seed).flatten(), rtol=0, atol=bound)
