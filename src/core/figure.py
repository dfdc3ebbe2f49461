"""How the project's PNGs look, and how they come out byte-identical."""

import io
import os

os.environ["MPLBACKEND"] = "Agg"  # whatever a notebook set for its own; read when matplotlib is imported
import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

plt.rcdefaults()  # the user's matplotlibrc is for the user's pictures
plt.rcParams.update(
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
    """Render and close `figure`. Without the version of the software in the file, so that only the picture counts."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()
