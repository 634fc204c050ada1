"""import: a plain velocity network of another project as a checkpoint of flowviz."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flowviz.cli.arguments import Commands, NamesHelp, add_command

if TYPE_CHECKING:
    from flowviz.checkpoints import Checkpoint


def add(commands: Commands) -> None:
    """Adds `import`."""
    parser = add_command(
        commands,
        "import",
        _import,
        "convert the plain velocity network of another project, a multilayer perceptron of [x, t] "
        "saved by torch.save or safetensors, into a checkpoint that every command and page reads",
        "net.pt --path ot --data moons --activation selu --out checkpoints/mine",
    )
    parser.add_argument(
        "checkpoint", metavar="FILE", help=".pt, .pth or .safetensors with its state_dict"
    )
    parser.add_argument("--path", metavar="PATH", help="path of its training (default: ot)")
    parser.add_argument("--weights", metavar="NAME", help="set of weights to take from the file")
    add_plain(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="checkpoint to write")


def add_plain(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a plain network that no other format has."""
    group = parser.add_argument_group(
        "plain networks", "what the weights of a multilayer perceptron of [x, t] do not state"
    )
    group.add_argument(
        "--data",
        default="unknown",
        metavar="DATA",
        help="data set of its training, or unknown (default)",
    )
    group.add_argument(
        "--activation",
        default="",
        metavar="NAME",
        help=NamesHelp(
            "%(ACTIVATIONS)s (default: selu for the layers of torchcfm's MLP, silu for those of "
            "flow_matching's tutorial)",
            ACTIVATIONS="flowviz.networks",
        ),
    )


def holds_plain(name: str) -> bool:
    """Whether the argument of a command is a file with a plain network."""
    path = Path(name).expanduser()
    if not path.is_file():
        return False
    from flowviz.checkpoints.foreign.plain import is_plain

    return is_plain(path)


def load_plain_file(options: argparse.Namespace) -> "Checkpoint":
    """The plain network of the options' file; prints what was assumed."""
    from flowviz.checkpoints.foreign.plain import PlainAssumptions, load_plain

    path = Path(options.checkpoint).expanduser()
    assume = PlainAssumptions(
        path=options.path or "ot",
        data=options.data,
        activation=options.activation,
        weights=options.weights,
    )
    loaded = load_plain(path, path.name, assume)
    print(f"flowviz: {loaded.card.network['about']}", file=sys.stderr)
    return loaded


def _import(options: argparse.Namespace) -> None:
    from flowviz.checkpoints import save
    from flowviz.checkpoints.foreign.plain import with_samples

    if not Path(options.checkpoint).expanduser().is_file():
        raise ValueError(f"There is no file {options.checkpoint}.")
    checkpoint = with_samples(load_plain_file(options))
    print(save(options.out, checkpoint.field, checkpoint.card, precision="float32"))
