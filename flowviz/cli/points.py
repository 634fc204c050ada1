"""logprob, field: log-likelihoods and velocities at given points."""

import argparse

from flowviz.cli.arguments import (
    NFE,
    Commands,
    add_checkpoint,
    add_command,
    add_idle_seed,
    add_out,
    add_points,
    add_solver,
    read_points,
    solve_budget,
)
from flowviz.cli.images import draws_images


def add(commands: Commands) -> None:
    """Adds `logprob` and `field`."""
    logprob = add_command(
        commands,
        "logprob",
        _logprob,
        "compute log-likelihoods of points in nats, with the exact divergence; an adaptive solver "
        "uses the same steps for up to 2,048 consecutive points, chosen for the point with the "
        "largest error, so a value depends on the other points in the file by about its own "
        "error, which the flow can magnify beyond --tol; with fixed steps it does not",
        "checkerboard-ot points.npy --out logp.npy",
    )
    add_checkpoint(logprob)
    add_points(logprob)
    add_solver(logprob, "dopri5", NFE)
    add_idle_seed(logprob)
    add_out(logprob, "log-likelihoods, (n,), in the points' precision")

    field = add_command(
        commands,
        "field",
        _field,
        "compute the exact marginal velocity at points, in their precision",
        "--data checkerboard --path vp points.npy --t 0.5 --out u.npy",
    )
    field.add_argument("--data", required=True, metavar="DATA", help="data set at t = 1")
    field.add_argument("--path", required=True, metavar="PATH", help="conditional path")
    add_points(field)
    field.add_argument(
        "--t", type=float, required=True, metavar="T", help="time: 0 is noise, 1 is data"
    )
    add_idle_seed(field)
    add_out(field, "velocities, (n, 2)")


def _logprob(options: argparse.Namespace) -> None:
    from flowviz.densities import WITHIN
    from flowviz.experiments.fields import FieldRef
    from flowviz.files import check_target, write_array

    if draws_images(options.checkpoint):
        raise ValueError(f"{options.checkpoint} is a model of images; use `flowviz bpd`.")
    out = check_target(options.out, ".npy")
    budget = solve_budget(options)
    source = FieldRef.of(options.checkpoint)
    points = read_points(options.points)
    answer = source.log_prob(points, options.solver, **budget)
    values = answer.log_prob
    write_array(out, values.numpy())
    suffix = " of the velocity of the flow map, whose jumps have none," if source.jumps else ""
    print(f"{len(values)} log-likelihoods{suffix} in {out}, mean {values.mean().item():.4f} nats")
    refined = f", {100 * answer.refined:.1f}% of the points refined" if answer.refined else ""
    print(f"NFE {answer.nfe}{refined}")
    if answer.numerical is not None:
        worst = answer.numerical.max().item()
        print(f"largest estimated error of the steps: {worst:.2g} nats")
    unsure = int(answer.unconverged.sum())
    if unsure:
        print(
            f"{unsure} of the values have not converged (they change by over {WITHIN:g} nats with "
            "the step size); take more --nfe or --solver dopri5"
        )


def _field(options: argparse.Namespace) -> None:
    import torch

    from flowviz.experiments.fields import FieldRef, exact_name
    from flowviz.files import check_target, write_array

    out = check_target(options.out, ".npy")
    source = FieldRef.of(exact_name(options.data, options.path))
    t_max = source.path.t_max
    if not 0 <= options.t <= t_max:
        raise ValueError(
            f"t must be in [0, {t_max:.10g}], where the path {options.path!r} has a velocity; "
            f"got {options.t:g}."
        )
    points = read_points(options.points)
    t = torch.tensor(options.t, dtype=torch.float64)
    u = source.scale * source.field(t, source.from_user(points))
    if not u.isfinite().all():
        row = int((~u.isfinite().all(dim=1)).int().argmax())
        raise ValueError(
            f"The velocity must be a number everywhere; at point {row + 1}, "
            f"({', '.join(f'{v:g}' for v in points[row].tolist())}), it is beyond what "
            f"{str(points.dtype).removeprefix('torch.')} holds: leave such points out."
        )
    write_array(out, u.numpy())
    print(f"{len(u)} velocities at t = {options.t:g} in {out}")
