"""PNGs are byte-identical from run to run, whatever matplotlib a user has configured."""

from core.png import Figure, matplotlib, to_png


def draw() -> bytes:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    return to_png(figure)


def test_the_same_figure_gives_the_same_bytes_without_the_software_in_them():
    assert draw() == draw()
    assert draw().startswith(b"\x89PNG")
    assert b"Software" not in draw()


def test_the_users_matplotlibrc_is_replaced():
    assert matplotlib.rcParams["font.size"] == 10
    assert matplotlib.get_backend().lower() == "agg"
