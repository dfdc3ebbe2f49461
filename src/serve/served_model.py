"""The model that MLflow keeps and serves: a table of raw bars in, the rows of `serve.signals.Signal` out.

MLflow runs this file when it loads the model, and so nothing is unpickled.
"""

import dataclasses
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from bars import features
from bars.reading import bars_from_frame
from core.errors import CampaignError
from serve.model import Model
from serve.predicting import choose_newest, predict
from serve.scoring import check_known, prepare_assets
from serve.signals import COLUMNS

BARS = ("timestamp", "symbol", "open", "high", "low", "close", "volume")  # columns of the table; features from files beside them
ARTIFACT = "model"  # directory that `Model.copy_to` wrote


class ServedModel(PythonModel):
    """Scores the newest finished bar of each symbol in a table of bars."""

    def load_context(self, context: Any) -> None:
        self.model = Model.read_copy(Path(context.artifacts[ARTIFACT]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row for each symbol.

        Args:
            model_input: `BARS`, oldest first; timestamps are texts such as 2024-06-01T15:00:00Z, when the bar opened in UTC.

        Raises:
            MlflowException: the bars cannot be used, or the model never saw a symbol.
        """
        try:
            return score_table(self.model, model_input, None if self.model.recipe.simulated else np.datetime64("now", "s"))
        except CampaignError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None


def score_table(model: Model, table: pd.DataFrame, now: np.datetime64 | None) -> pd.DataFrame:
    """Score the newest finished bar of each symbol; `now` as `serve.scoring.prepare_assets` takes it. Raises CampaignError."""
    extra = features.extra_columns(model.recipe.features)
    frames = {str(symbol): frame.drop(columns="symbol") for symbol, frame in table.groupby("symbol", sort=True)}
    check_known(list(frames), model.recipe, "leave it out of the table")
    bars = {}
    for symbol, frame in frames.items():
        times = pd.to_datetime(frame["timestamp"], utc=True, format="ISO8601", errors="coerce")
        if times.isna().any():
            raise CampaignError(
                f"{symbol}: a timestamp is {frame['timestamp'][times.isna()].iloc[0]!r}; write 2024-06-01T15:00:00Z"
            )
        try:
            bars[symbol] = bars_from_frame(frame.assign(timestamp=times), extra, simulated=model.recipe.simulated)
        except CampaignError as error:
            raise CampaignError(f"{symbol}: {error}") from None
    assets = prepare_assets(bars, model.recipe, now)
    signals = predict(model, assets, choose_newest(assets))
    return pd.DataFrame([dataclasses.asdict(signal) for signal in signals], columns=list(COLUMNS))


if __name__ != "serve.served_model":  # MLflow runs the file to get the model
    mlflow.models.set_model(ServedModel())
