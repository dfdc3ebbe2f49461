"""What models are called where people read, in the order they are shown, and the colours they are drawn in."""

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

# Okabe and Ito's colours are told apart by colour-blind readers. Their black is the text's own, and goes to what is not here.
COLOURS = {
    "mlp": "#0072B2",
    "lstm": "#E69F00",
    "gru": "#009E73",
    "cnn_lstm": "#D55E00",
    "logistic_regression": "#56B4E9",
    "gradient_boosting": "#CC79A7",
    "always_positive": "#888888",
}
