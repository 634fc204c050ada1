"""Figure of theorem 2: the conditional loss over the marginal loss, for several networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Both losses of K networks on one path, and their expected difference."""

    label: str
    colour: str
    names: Sequence[str]
    marginal: NDArray
    conditional: NDArray
    error: NDArray
    """Standard errors of conditional - marginal."""
    floor: float


def losses(rows: Sequence[Losses]) -> go.Figure:
    """Losses of all networks; those of one path are on a line of slope 1, shifted by its floor."""
    figure = marks.blank(400)
    right = 1.08 * max(float(row.marginal.max()) for row in rows)
    ends = np.array([[0.0, 0.0], [right, right]])
    equal = marks.line(ends, theme.pick(theme.MUTED), 1.2, name="no gap")
    figure.add_scatter(**equal, line_dash="dot")
    for k, row in enumerate(rows):
        above = ends + np.array([0.0, row.floor])
        figure.add_scatter(**marks.line(above, row.colour, 1.5, showlegend=False))
        figure.add_scatter(
            x=row.marginal,
            y=row.conditional,
            mode="markers",
            marker={
                "size": 11,
                "color": theme.rgba(row.colour, 0.75),
                "line": {"width": 1.2, "color": theme.pick(theme.PAPER)},
            },
            error_y={"array": row.error, "color": row.colour, "thickness": 1, "width": 3},
            customdata=np.column_stack([row.names, np.round(row.conditional - row.marginal, 3)]),
            name=row.label,
            hovertemplate="%{customdata[0]}<br>L<sub>FM</sub> = %{x:.3f}, L<sub>CFM</sub> = "
            "%{y:.3f}<br>gap %{customdata[1]}<extra>" + row.label + "</extra>",
        )
        position = right * (0.28 + 0.14 * k)
        figure.add_annotation(
            x=position,
            y=position + row.floor,
            ax=position,
            ay=position,
            axref="x",
            ayref="y",
            showarrow=True,
            arrowside="end+start",
            arrowhead=2,
            arrowsize=0.9,
            arrowwidth=1.3,
            arrowcolor=row.colour,
            text="",
        )
        figure.add_annotation(
            x=position,
            y=position + row.floor * 0.45,
            text=f"<b>{row.floor:.3g}</b>",
            font={"color": row.colour, "size": 14},
            bgcolor=theme.pick(theme.PAPER),
            borderpad=2,
            showarrow=False,
        )
    top = right + 1.08 * max(row.floor for row in rows)
    figure.update_xaxes(title="marginal loss <i>L</i><sub>FM</sub>", range=[-0.02 * right, right])
    figure.update_yaxes(title="conditional loss <i>L</i><sub>CFM</sub>", range=[0, top])
    return figure.update_layout(margin={"t": 16, "b": 84}, legend_y=-0.19)
