import torch
from torch.nn import functional


def focal_loss(logits: torch.Tensor, y: torch.Tensor, *, alpha: float, gamma: float) -> torch.Tensor:
    """Mean of -alpha_t (1 - p_t)^gamma log(p_t), with p_t the probability given to the true class.

    Args:
        logits: (B,).
        y: float (B,), 0 or 1.
        alpha: weight of class 1; class 0 weighs 1 - alpha.
        gamma: how much well-classified samples are played down; 0 is weighted cross-entropy.

    Source: Lin et al. (2017), arXiv:1708.02002, equation 5.
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, y, reduction="none")  # -log(p_t)
    weight = alpha * y + (1 - alpha) * (1 - y)
    return (weight * (1 - torch.exp(-cross_entropy)) ** gamma * cross_entropy).mean()
