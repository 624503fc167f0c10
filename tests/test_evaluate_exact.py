"""float32 the quick way: whose answers count, and when it is not believed."""

import pytest
import torch
from torch import Tensor

from indoor.evaluate import Exact, OtherLogitsError
from indoor.evaluate.exact import MIN_DB, undecided

CLEAR = [9.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0]
ROUNDING = 1e-6


def as_logits(images: Tensor) -> Tensor:
    """Return photographs that hold their logits as what they are."""
    return images[:, :, 0, 0]


def photographs(*rows: list[float]) -> Tensor:
    """Return photographs whose logits are these rows."""
    return torch.tensor(rows)[:, :, None, None]


class Network:
    """Says which photographs it computed."""

    def __init__(self, difference: float = 0.0) -> None:
        self.difference = difference
        self.sizes: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        """Return their logits, all but the first moved by the difference."""
        self.sizes.append(len(images))
        logits = as_logits(images).clone()
        logits[:, 1:] += self.difference
        return logits


def test_a_clear_answer_is_the_quick_ones() -> None:
    """After the batch on which it is tried, the network itself has nothing to do."""
    quick, slow = Network(ROUNDING), Network()
    exact = Exact(quick, slow, every=3)
    for _ in range(4):
        exact(photographs(CLEAR, CLEAR))
    assert slow.sizes == [2, 2]
    assert quick.sizes == [2, 2, 2, 2]
    assert exact.own == [True, True, False, False, False, False, True, True]
    assert exact.sqnr_db is not None
    assert 120 < exact.sqnr_db < 140


@pytest.mark.parametrize(
    "row",
    [
        [9.0, 9.0 - 1e-4, 0.8, 0.6, 0.4, 0.2, 0.0],
        [9.0, 1.0, 0.8, 0.6, 0.4, 0.4 - 1e-4, 0.0],
        [float("nan"), 1.0, 0.8, 0.6, 0.4, 0.2, 0.0],
    ],
)
def test_a_near_tie_is_computed_by_the_network_itself(row: list[float]) -> None:
    """Between the first two or the fifth and the sixth; its whole batch, to the same bits."""
    tie = photographs(CLEAR, row)
    assert undecided(as_logits(tie)).tolist() == [False, True]
    slow = Network()
    exact = Exact(Network(ROUNDING), slow, every=9)
    exact(photographs(CLEAR))
    if row[0] == row[0]:
        assert torch.equal(exact(tie), as_logits(tie))
        assert exact.own == [True, True, True]
    else:
        with pytest.raises(OtherLogitsError, match="nan dB apart"):
            exact(tie)


def test_noise_of_the_limit_moves_no_decided_answer() -> None:
    """Logits that count as decided keep their order whatever noise of `MIN_DB` is added."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 67, generator=generator).double()
    decided = logits[~undecided(logits)]
    assert 0.9 < len(decided) / len(logits) < 1
    for _ in range(20):
        noise = torch.randn(decided.shape, generator=generator).double()
        noise *= decided.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
        moved = decided + noise * 10 ** (-MIN_DB / 20)
        assert torch.equal(moved.argmax(1), decided.argmax(1))
        five = [values.topk(5).indices.sort().values for values in (moved, decided)]
        assert torch.equal(*five)


@pytest.mark.parametrize("num_classes", [1, 2, 5, 6])
def test_few_classes_have_fewer_places(num_classes: int) -> None:
    """One class is always decided; there is a sixth place from six classes on."""
    logits = torch.tensor([[9.0, 5.0, 4.0, 3.0, 2.0, 2.0][:num_classes]])
    assert undecided(logits).tolist() == [num_classes == 6]


@pytest.mark.parametrize("difference", [1e-3, float("inf")])
def test_another_networks_logits_are_refused(difference: float) -> None:
    """The first batch finds what is no float32 of this network, also on one photograph alone."""
    exact = Exact(Network(difference), Network(), every=100)
    with pytest.raises(OtherLogitsError, match=r"a photograph's logits are -?\w+.* dB apart"):
        exact(photographs(CLEAR))
