"""Name the models as people read them, in the order they are shown, and give each its colour."""

NETWORKS = {
    "mlp": "MLP",
    "lstm": "LSTM + attention",
    "gru": "GRU + attention",
    "cnn_lstm": "CNN-LSTM",
}
REFERENCES = {
    "logistic_regression": "logistic regression",
    "gradient_boosting": "gradient boosting",
    "one_column": "one column",
    "prior": "asset prior",
    "always_positive": "always positive",
}
NAMES = NETWORKS | REFERENCES

NO_CURVE = ("prior", "always_positive")  # score every sample of an asset alike: too few points for a curve

# In the order of NAMES. The first six are Okabe and Ito's; the others are as far from those before them as can be, also for
# readers with red-green colour blindness. Each is visible on white and on a dark page. A thirteenth model needs one more.
PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#506C68",
    "#543DFA",
    "#B73104",
    "#95BE87",
    "#5A82FA",
    "#D505BB",
)
COLOURS = {name: PALETTE[position] for position, name in enumerate(NAMES)}
