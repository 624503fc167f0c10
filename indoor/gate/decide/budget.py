"""How a run's chance of a false alarm is shared out among all that may raise one."""

from indoor.gate.records import ErrorBudget

CHECK_SHARE = 0.1
"""Of the run's error, for the accuracies together and for the peak memories together, where asked.

What they say is seldom close, so little is enough for them, and the timings keep the most.
"""


def share_out(alpha: float, *, asks_accuracy: bool, asks_memory: bool) -> ErrorBudget:
    """Return the shares of a run's error; they add up to `alpha`.

    Sizes, multiply-adds and logits have no noise, so they need none. What is asked follows from the
    code of both sides alone and from no noisy figure, so that what is not asked need not be paid
    for.

    Args:
        alpha: The run's error, such as 0.01.
        asks_accuracy: Whether accuracies are compared, since logits differ.
        asks_memory: Whether peak memories are.
    """
    accuracy = CHECK_SHARE * alpha if asks_accuracy else 0.0
    memory = CHECK_SHARE * alpha if asks_memory else 0.0
    return ErrorBudget(timing=alpha - accuracy - memory, accuracy=accuracy, memory=memory)
