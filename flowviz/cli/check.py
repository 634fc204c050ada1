"""check: whether flowviz computes correctly on this machine, and how fast."""

import argparse
import json
import time
from dataclasses import asdict

from flowviz.cli.arguments import Commands, add_command, add_device, add_json
from flowviz.cli.printing import table


def add(commands: Commands) -> None:
    """Adds `check`."""
    parser = add_command(
        commands,
        "check",
        _check,
        "test this machine in less than a minute: closed forms against automatic differentiation, "
        "the device against the CPU, orders of convergence, checkpoints and speeds; the exit code "
        "is 1 if a test fails",
        "--device cuda",
    )
    add_device(parser)
    add_json(parser)


def _check(options: argparse.Namespace) -> int:
    import platform

    import torch

    from flowviz.device import choose_device, processors
    from flowviz.experiments.self_test import checks

    device, start = choose_device(options.device), time.monotonic()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    machine = {
        "device": str(device),
        "name": where or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processors": processors(),
    }
    results = list(checks(device))
    failed = [each for each in results if not each.passed]
    seconds = time.monotonic() - start
    if options.json:
        listed = [asdict(each) | {"passed": each.passed} for each in results]
        print(json.dumps({"machine": machine, "seconds": seconds, "checks": listed}))
        return int(bool(failed))
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    rows = [
        [
            "ok" if each.passed else "FAILED",
            each.group,
            each.name,
            float(each.value),
            "" if each.bound is None else f"{'≥' if each.least else '≤'} {each.bound:g}",
            each.note or each.unit,
        ]
        for each in results
    ]
    table(["", "test", "case", "value", "bound", ""], rows)
    print(f"{len(results) - len(failed)} of {len(results)} passed in {seconds:.0f} s")
    return int(bool(failed))
