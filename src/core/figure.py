"""How the project's PNGs look, and how they come out byte-identical: without pyplot, so that there is no window to open."""

import io
import os

os.environ["MPLBACKEND"] = "Agg"  # whatever a notebook set for its own; read when matplotlib is imported
import matplotlib
from matplotlib.figure import Figure

matplotlib.rcdefaults()  # the user's matplotlibrc is for the user's pictures
matplotlib.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.titlelocation": "left",
        "legend.frameon": False,
    }
)


def to_png(figure: Figure) -> bytes:
    """Without the version of the software in the file, so that only the picture counts."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
