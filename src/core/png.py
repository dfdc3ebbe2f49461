"""Set the style of the project's figures and render them to PNG, byte-identical from run to run.

pyplot stays out: it would choose a backend that may open windows.
"""

import io
import os

os.environ["MPLBACKEND"] = "Agg"  # overrides a notebook's setting; matplotlib reads it at import
import matplotlib
from matplotlib.figure import Figure

matplotlib.rcdefaults()  # ignores the user's matplotlibrc, which would change the bytes
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
    """Render `figure` to PNG, without matplotlib's version in the file, so that an upgrade alone changes no byte."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
