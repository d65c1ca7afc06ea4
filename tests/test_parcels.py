"""What travels between machines arrives whole or not at all: packages of files, parts of feature caches, at any URL."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from zoobench.benchmarks.engines import exchange as exchanges
from zoobench.benchmarks.engines import parcels
from zoobench.benchmarks.engines.depot import Depot
from zoobench.benchmarks.engines.exchange import DepotShelf, Exchange
from zoobench.benchmarks.engines.parcels import MissingError, pack, unpacked
from zoobench.benchmarks.options import RunOptions, check
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.core import NEEDS, ModelCard, Needs
from zoobench.zoo.features import FeatureCache

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'zoobench[ray]'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of several sizes, one of them empty, one below another folder."""
    for name, size in (("a.bin", 100), ("below/b.bin", 37), ("empty", 0)):
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    return tmp_path / "from"


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_package_arrives_as_it_was_sent(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "BLOCK_BYTES", 32)
    blocks: list[bytes] = []

    def keep(block: bytes) -> int:
        blocks.append(block)
        return len(blocks) - 1

    package = pack(folder, keep)
    assert [len(file.blocks) for file in package.files] == [4, 2, 0]
    (tmp_path / "store").mkdir()
    there = unpacked(package, tmp_path / "store", blocks.__getitem__)
    assert content(there) == content(folder)
    stamp = (there / "a.bin").stat().st_mtime_ns
    assert unpacked(package, tmp_path / "store", blocks.__getitem__) == there
    assert (there / "a.bin").stat().st_mtime_ns == stamp, "what is there is not written again"
    (there / "a.bin").write_bytes(b"cut")
    assert content(unpacked(package, tmp_path / "store", blocks.__getitem__)) == content(folder)
    alone = unpacked(pack(folder / "a.bin", keep), tmp_path / "store", blocks.__getitem__)
    assert (alone.name, alone.read_bytes()) == ("a.bin", (folder / "a.bin").read_bytes())


def test_a_package_that_came_otherwise_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    package = pack(folder, lambda block: b"x" * len(block))
    (tmp_path / "store").mkdir()
    with pytest.raises(MissingError, match=r"a\.bin"):
        unpacked(package, tmp_path / "store", lambda block: block)
    assert not [path for path in (tmp_path / "store").iterdir() if path.is_dir()]


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_a_depot_keeps_files_by_their_content(place: str, folder: Path, tmp_path: Path) -> None:
    depot = Depot(str(tmp_path / "depot") if place == "folder" else f"memory://zoobench/{tmp_path.name}")
    depot.check()
    package = pack(folder, depot)
    assert len(depot.names("tasks")) == 3
    assert not any(file.blocks for file in package.files)
    (tmp_path / "store").mkdir()
    there = unpacked(package, tmp_path / "store", bytes, depot)
    assert content(there) == content(folder)
    # Damaged at its place: refused, and taken away, so that the next one who packs it puts it there anew.
    name = f"tasks/{package.files[0].sha256}"
    depot.put(name, b"x" * package.files[0].size)
    (tmp_path / "other").mkdir()
    with pytest.raises(MissingError):
        unpacked(package, tmp_path / "other", bytes, depot)
    assert depot.get(name) is None
    pack(folder, depot)
    assert content(unpacked(package, tmp_path / "other", bytes, depot)) == content(folder)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("nosuch://x", "--cache nosuch://x is no folder or URL that fsspec opens: Protocol not known: nosuch"),
        ("/proc/zoobench", "--cache /proc/zoobench cannot be written"),
    ],
)
def test_a_depot_that_cannot_be_is_one_line(url: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        Depot(url).check()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["nosuch://me:s3cr3t@host/x", "simplecache::nosuch://me:s3cr3t@host/x"])
def test_a_password_in_a_url_is_not_shown(url: str) -> None:
    with pytest.raises(UserError) as caught:
        Depot(url).check()
    with pytest.raises(UserError) as local:
        check("quick", RunOptions(cache=url))
    for error in (caught, local):
        assert "s3cr3t" not in str(error.value)
        assert f"--cache {url.replace('me:s3cr3t', '***')} " in str(error.value)


class Hiccup(DepotShelf):
    """Fails once."""

    failed = False

    def get(self, scope: str, name: str) -> bytes | None:
        if not self.failed:
            self.failed = True
            raise OSError("reset by peer")
        return super().get(scope, name)


def test_a_part_that_could_not_be_fetched_is_fetched_later(tmp_path: Path) -> None:
    depot = Depot(str(tmp_path / "depot"))
    one, two = Exchange(DepotShelf(depot), tmp_path / "one"), Exchange(Hiccup(depot), tmp_path / "two")
    use(one, ["a"], Counting())
    one.give("s")
    with pytest.raises(OSError, match="reset"):
        two.take("s")
    assert two.take("s") == 2


class Counting:
    """Makes vectors and strings of texts, and counts the texts that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def vectors(self, texts: list[str]):
        self.asked += texts
        for place, text in enumerate(texts):  # a batch each: of uneven cost
            yield [place], [np.full(4, len(text), np.float32)], 0.25

    def words(self, texts: list[str]):
        self.asked += texts
        yield list(range(len(texts))), [text.upper() for text in texts], 0.5


def use(exchange: Exchange, texts: list[str], counting: Counting) -> tuple[np.ndarray, list[str], float]:
    cache = FeatureCache(exchange.folder("s"), {"data": "d"})
    array = np.array(texts, dtype=object)
    vectors = cache.matrix({"kind": "vector"}, array, counting.vectors)
    return vectors, list(cache.texts({"kind": "word"}, array, counting.words)), cache.charged


def test_features_of_one_machine_are_those_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "PART_BYTES", 200)  # several parts of each store
    shelf = DepotShelf(Depot(str(tmp_path / "depot")))
    one, two = Exchange(shelf, tmp_path / "one"), Exchange(shelf, tmp_path / "two")
    texts, first, second = [f"text {'x' * number}" for number in range(20)], Counting(), Counting()
    wanted = use(one, texts, first)
    assert one.give("s") > 2
    assert one.give("s") == 0, "nothing is new"
    assert two.take("s") == len(shelf.names("s"))
    found = use(two, texts, second)
    assert second.asked == [], "nothing is computed twice"
    assert np.array_equal(found[0], wanted[0])
    assert found[1:] == wanted[1:], "seconds are charged as they were measured"
    assert two.give("s") == 0, "what came from others is not handed on"
    assert two.take("other scope") == 0
    more = [*texts, "one more"]
    use(two, more, second)
    assert second.asked == ["one more"] * 2
    assert two.give("s") == 2
    assert one.take("s") == 2
    use(one, more, first)
    assert "one more" not in first.asked


def outside(part: bytes) -> bytes:
    """A part that would be added to a folder above its scope."""
    with np.load(io.BytesIO(part), allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files} | {"store": np.array(f"../{'0' * 20}")}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


@pytest.mark.parametrize("how", ["cut", "flipped", "no part", "outside"])
def test_a_damaged_part_is_ignored(how: str, tmp_path: Path) -> None:
    shelf = DepotShelf(Depot(str(tmp_path / "depot")))
    one, two, counting = Exchange(shelf, tmp_path / "one"), Exchange(shelf, tmp_path / "two"), Counting()
    use(one, ["a", "b"], counting)
    one.give("s")
    for name in shelf.names("s"):
        part = bytearray(shelf.get("s", name) or b"")
        if how == "flipped":
            part[len(part) // 2] ^= 1
        if how in {"cut", "flipped"}:
            shelf.put("s", name, bytes(part[: len(part) // 2] if how == "cut" else part))
        else:  # whole, as its name says, and yet no part that belongs here
            strange = b"no part" if how == "no part" else outside(bytes(part))
            (tmp_path / "depot" / "features" / "s" / name).unlink()
            shelf.put("s", hashlib.sha256(strange).hexdigest(), strange)
    assert two.take("s") == 0
    assert not (tmp_path / "two").exists() or not list((tmp_path / "two").iterdir())
    fresh = Counting()
    use(two, ["a", "b"], fresh)
    assert sorted(fresh.asked) == ["a", "a", "b", "b"]


def test_a_card_says_what_a_fit_is_given() -> None:
    fields = {"title": "t", "description": "d", "modality": "text", "citation": "c"}
    assert ModelCard(name="a", framework="scikit-learn", **fields).needs == NEEDS["scikit-learn"]
    own = ModelCard(name="a", framework="torch", cores=2, gpus=0.5, **fields)
    assert own.needs == Needs(2, 0.5, NEEDS["torch"].memory_gb)
    for wrong in ({"cores": 0}, {"gpus": -1.0}, {"memory_gb": 0.0}):
        with pytest.raises(ValueError, match="cannot be met"):
            ModelCard(name="a", framework="torch", **wrong, **fields)


def test_without_ray_the_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoobench.benchmarks.engines.ray_session import load

    monkeypatch.setitem(sys.modules, "ray", None)  # what an import finds where it is not installed
    with pytest.raises(UserError, match=r"^--engine ray: .*: pip install 'zoobench\[ray\]'$"):
        load()
