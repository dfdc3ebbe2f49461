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

# In the order of NAMES. The first six are Okabe and Ito's; the others keep the greatest distance from those before them, also
# for readers with red-green colour blindness. Each is visible on white and on a dark page; a thirteenth model needs one more.
PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#743E3E",
    "#2424F3",
    "#6D84F7",
    "#93C08A",
    "#474784",
    "#3E7474",
)
COLOURS = {name: PALETTE[position] for position, name in enumerate(NAMES)}
