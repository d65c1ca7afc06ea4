"""Batches that do not fit: what counts as such, and what is done then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from zoobench.zoo.memory import Halving, out_of_memory


class ResourceExhaustedError(Exception):
    """Named like tensorflow's."""


def cramped(room: int) -> tuple[list[int], Callable[[np.ndarray], int]]:
    tried: list[int] = []

    def act(batch: np.ndarray) -> int:
        tried.append(len(batch))
        if len(batch) > room:
            raise MemoryError
        return int(batch.sum())

    return tried, act


def test_every_framework_says_it_in_its_own_way() -> None:
    torch = pytest.importorskip("torch")
    cpu = RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(MemoryError) as too_much:
        np.empty(1 << 58)
    assert all(map(out_of_memory, (MemoryError(), too_much.value, cpu)))
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(ResourceExhaustedError("OOM when allocating tensor"))
    assert not out_of_memory(RuntimeError("shapes do not match"))


def test_no_row_is_lost_and_none_comes_twice() -> None:
    tried, act = cramped(3)
    halving = Halving("answered")
    rows = np.arange(23)
    found = list(halving.each([rows[:7], rows[7:14], rows[14:]], act))
    np.testing.assert_array_equal(np.concatenate([batch for batch, _ in found]), rows)
    assert sum(answer for _, answer in found) == rows.sum()
    assert tried.count(7) == 1
    assert max(tried[1:]) <= 3
    assert halving.notes == ["a batch of 7 did not fit into memory: 3 at most are answered at once"]
    tried.clear()
    list(halving.each([rows], act))
    assert max(tried) <= 3  # what was learnt holds for the next call


def test_a_row_that_does_not_fit_alone_raises() -> None:
    with pytest.raises(MemoryError):
        list(Halving("answered").each([np.arange(4)], cramped(0)[1]))


def test_other_errors_pass() -> None:
    def act(batch: np.ndarray) -> None:
        raise ValueError(f"{len(batch)} of the wrong shape")

    with pytest.raises(ValueError, match="4 of the wrong shape"):
        list(Halving("answered").each([np.arange(4)], act))
