from report.markdown import money, table


def test_a_name_with_a_bar_stays_in_its_cell():
    assert table(["symbol", "F1"], [["BTC|USDT", "0.3"]]).splitlines() == [
        "| symbol | F1 |",
        "|---|---:|",
        r"| BTC\|USDT | 0.3 |",
    ]


def test_no_trade_pays_nothing_and_has_no_mean():
    figures = {"trades": 3.0, "hit_rate": 0.4, "break_even_hit_rate": 0.3, "mean_return": 0.01, "mean_return_net": 0.007}
    figures |= {"total_return": 0.03, "total_return_net": 0.021, "max_drawdown": 0.05}
    figures |= {"return_per_day_net": 0.001, "return_per_day_interval": [-0.001, 0.003]}
    head, _, mlp, none = money({"ranking": ["mlp"], "models": {"mlp": {"test": {"money": figures}}}}).splitlines()
    named = [dict(enumerate(cell.strip() for cell in row.strip("|").split("|"))) for row in (head, mlp, none)]
    means = [at for at, name in named[0].items() if name in ("hit rate", "break-even", "a trade, before costs")]
    assert all(named[2][at] == "–" for at in (*means, means[-1] + 1))
    assert named[1][9] == "5.0%"
    assert named[2][9] == "0.0%"
