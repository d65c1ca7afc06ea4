"""Frozen encoders: vectors of each text alone, by any number of processes; encoders that are not what they say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from zoobench.benchmarks.check import text_task
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.zoo.core import MODELS, Context
from zoobench.zoo.features import FeatureCache

torch = pytest.importorskip("torch")

from zoobench.zoo import encoders, pretrained  # noqa: E402
from zoobench.zoo.encoders import PACKAGED, FrozenEncoder, load, locate  # noqa: E402
from zoobench.zoo.number_format import fastest_format  # noqa: E402
from zoobench.zoo.processes import spread  # noqa: E402

pytestmark = pytest.mark.usefixtures("fp32")

ODD = np.array(
    ["Lungs are clear.", "", "No acute disease. " * 60, "\x00\x01", "Heart size is normal.", " "], dtype=object
)


def context(threads: int = 1, folder: Path | None = None) -> Context:
    return Context(text_task("multilabel")[0], 0, "cpu", threads, FeatureCache(folder))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny_encoder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def copied(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "encoder"))


@pytest.mark.parametrize("pooling", encoders.POOLINGS)
def test_each_text_has_the_vector_that_it_has_alone(pooling: str, tiny: Path) -> None:
    """Against the plain way: one text at a time, no padding, over the last hidden state."""
    pool = {"mean": lambda h: h.mean(0), "cls": lambda h: h[0], "max": lambda h: h.max(0).values}[pooling]
    for encoder, length in ((PACKAGED, 64), (str(tiny), 999)):
        found = FrozenEncoder(encoder, pooling, length, context=context()).transform(ODD)
        tokenizer, network = load(encoder)
        for text, row in zip(ODD, found, strict=True):
            with torch.inference_mode():
                one = tokenizer(text, return_tensors="pt", truncation=True, max_length=min(length, 128))
                plain = pool(network(**one).last_hidden_state[0])
            np.testing.assert_allclose(row, plain.numpy(), atol=1e-5)


def test_neighbours_change_no_vector(tiny: Path) -> None:
    """What else is in the call, in which order and how often, reaches no text's vector."""
    rng = np.random.default_rng(0)
    words = np.array(["lung", "heart", "clear", "effusion", "mass", "no", "the", "left"])
    texts = np.array([" ".join(rng.choice(words, n)) for n in rng.integers(1, 90, 400)], dtype=object)
    encoder = FrozenEncoder(str(tiny), context=context())
    together, order = encoder.transform(texts), rng.permutation(400)
    np.testing.assert_allclose(encoder.transform(texts[order]), together[order], atol=1e-6)
    np.testing.assert_allclose(encoder.transform(texts[:7]), together[:7], atol=1e-6)


def test_processes_change_no_vector(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.BATCH_TOKENS, "cpu", 256)
    texts = np.array([f"report {n} " + "of the heart " * (n % 23) for n in range(300)], dtype=object)
    worked: list[int] = []

    def counted(jobs: list[np.ndarray], work: object, processes: int) -> object:
        worked.append(processes)
        return spread(jobs, work, processes)  # type: ignore[arg-type]

    monkeypatch.setattr(encoders, "spread", counted)
    found = [FrozenEncoder(str(tiny), context=context(threads)).transform(texts) for threads in (1, 3)]
    assert worked == [1, 3]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert FrozenEncoder(str(tiny), context=context(3)).transform(texts[:1]).shape == (1, 32)
    assert worked[-1] < 2, "a single prediction forks nothing"


def test_spread_ends_its_processes_and_says_what_went_wrong() -> None:
    def work(job: int) -> int:
        if job < 0:
            raise ValueError(f"not {job}")
        if job == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return job * os.getpid()

    found = dict(spread(list(range(6)), lambda job: (job, os.getpid()), 2))
    assert {place: job for place, (job, _) in found.items()} == {n: n for n in range(6)}
    pids = {pid for _, pid in found.values()}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    with pytest.raises(RuntimeError, match="ValueError: not -1"):
        list(spread([1, -1, 2], work, 2))
    for error in (MemoryError("no room"), UserError("one line"), UnavailableError("pip install")):

        def fails(job: int, error: Exception = error) -> int:
            raise error

        with pytest.raises(type(error), match=str(error)):
            list(spread([1, 2], fails, 2))
    with pytest.raises(MemoryError, match="status -9"):
        list(spread([1, 7, 2], work, 2))
    half = spread([1, 2, 3, 4], lambda job: os.getpid(), 2)
    pid = next(half)[1]
    half.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_process_that_dies_idle_is_said_to_have_died() -> None:
    """It answered, and is killed before it is given the next job."""

    def work(job: int) -> int:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return job

    found = spread(list(range(8)), work, 2)
    next(found)
    time.sleep(0.4)
    with pytest.raises(MemoryError, match="status -9"):
        list(found)


ORPHANS = """
import os, sys, time
from zoobench.zoo.processes import spread
def work(job):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(60)
list(spread([1, 2], work, 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the bond between processes is Linux's")
def test_a_killed_process_leaves_none_behind() -> None:
    process = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while (left := [pid for pid in pids if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_text_without_tokens_is_the_zero_vector(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that adds nothing of its own and pads with nothing, as GPT's, leaves no token of an empty text."""
    from tokenizers.processors import Sequence

    tokenizer, network = load(str(tiny))
    tokenizer.backend_tokenizer.post_processor = Sequence([])
    tokenizer.pad_token = None
    monkeypatch.setattr(encoders, "load", lambda encoder: (tokenizer, network))
    for pooling in encoders.POOLINGS:
        encoder = FrozenEncoder(str(tiny), pooling, context=context())
        found = encoder.transform(ODD)
        assert np.isfinite(found).all()
        assert not found[1].any()
        assert found[0].any()
        assert not encoder.transform(ODD[1:2]).any()


def test_number_formats(tiny: Path, tmp_path: Path) -> None:
    texts = text_task("multilabel")[1]
    plain = FrozenEncoder(str(tiny), context=context()).transform(texts)
    for name, least in (("bf16", 0.999), ("int8", 0.9), ("fp32", 0.99999)):
        encoder = FrozenEncoder(str(tiny), number_format=name, context=context())
        found = encoder.transform(texts)
        cosine = (found * plain).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(plain, axis=1)
        assert cosine.mean() >= least, name
        assert (np.abs(found - plain).max() > 1e-6) == (name != "fp32")
        assert encoder.n_parameters == sum(weight.numel() for weight in load(str(tiny))[1].parameters())
    assert fastest_format("cpu") in ("fp32", "bf16")
    kept = FrozenEncoder(str(tiny), context=context(folder=tmp_path))
    kept.transform(texts)
    assert len(list(tmp_path.glob("*/index"))) == 4, (
        "the format that was measured, the loading and the window stay with vectors"
    )


def test_cleaning_is_part_of_the_vector(tiny: Path) -> None:
    texts = np.array(["fever~ & cough", "fever  cough"], dtype=object)
    plain, cleaned = (FrozenEncoder(str(tiny), cleaning=name).transform(texts) for name in ("none", "biomedical"))
    assert np.abs(plain[0] - plain[1]).max() > 1e-3
    np.testing.assert_allclose(cleaned[0], cleaned[1], atol=1e-6)
    np.testing.assert_allclose(cleaned[1], plain[1], atol=1e-6)
    for setting in ("cleaning", "pooling", "number_format"):
        with pytest.raises(UserError, match="unknown"):
            FrozenEncoder(str(tiny), **{setting: "men"}).transform(texts)


def test_a_copy_keeps_the_account(tiny: Path) -> None:
    from sklearn.base import clone

    mine = context()
    clone(FrozenEncoder(str(tiny), context=mine)).transform(ODD)
    assert mine.features.charged > 0


def test_a_local_folder_is_the_same_encoder_and_a_missing_one_says_so(tmp_path: Path) -> None:
    folder = Path(locate(PACKAGED)[0])
    assert np.array_equal(FrozenEncoder(str(folder)).transform(ODD), FrozenEncoder(PACKAGED).transform(ODD))
    assert locate(str(folder))[1] == locate(PACKAGED)[1], "known by its weights, not by its place"
    with pytest.raises(UserError, match="is not there"):
        locate(str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"holds no config\.json"):
        locate(str(tmp_path))


def test_a_folder_that_is_not_what_it_says(copied: Path) -> None:
    def change(name: str, **values: object) -> None:
        path = copied / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    layers = json.loads((copied / "config.json").read_text())["num_hidden_layers"]
    change("config.json", num_hidden_layers=layers + 1)
    with pytest.raises(UserError, match=r"its weights lack 16 tensors of its network \(encoder\.layer\.2"):
        load(str(copied))
    change("config.json", num_hidden_layers=layers, hidden_size=64)
    with pytest.raises(UserError, match="does not load"):
        load(str(copied))
    change("config.json", hidden_size=32)
    load(str(copied))
    (copied / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="does not load"):
        load(str(copied))
    (copied / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors weights"):
        load(str(copied))


def test_a_tokenizer_of_another_network(copied: Path) -> None:
    from transformers import BertConfig, BertModel

    config = json.loads((copied / "config.json").read_text())
    BertModel(BertConfig(**(config | {"vocab_size": 1000}))).save_pretrained(copied)
    with pytest.raises(UserError, match="its tokenizer knows 30522 tokens and its network 1000"):
        load(str(copied))


def test_ids_that_no_embedding_is_for(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer of few words may still give them high numbers."""
    encoder = FrozenEncoder(str(copied), context=context())
    network = encoder._model().network
    few = network.get_input_embeddings().weight[:100]
    monkeypatch.setattr(network, "get_input_embeddings", lambda: SimpleNamespace(weight=few))
    with pytest.raises(UserError, match=r"gives token \d+ and its network knows 100: give the tokenizer"):
        encoder.transform(["a chest"])


def test_a_length_beyond_the_window_is_said(tiny: Path, tmp_path: Path) -> None:
    for _ in ("computed", "kept"):
        encoder = FrozenEncoder(str(tiny), max_length=100_000, context=context(folder=tmp_path))
        encoder.transform(["a chest"])
        assert encoder.notes_ == ("max_length=100000: the encoder's window is 128 tokens",)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and an address where no hub answers."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path


def test_a_hub_that_does_not_answer(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    start = time.monotonic()
    for use in (locate, load, lambda name: FrozenEncoder(name).transform(ODD)):
        with pytest.raises(UnavailableError, match=r"bert-base-uncased.*hf download bert-base-uncased.*encoder=FOLDER"):
            use("bert-base-uncased")
    with pytest.raises(UnavailableError, match="no such id"):
        locate("not an id")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UnavailableError, match="HF_HUB_OFFLINE is set"):
        locate("bert-base-uncased")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("ref", ["main", "refs/pr/3"])
def test_the_hubs_cache_is_used_as_it_is(ref: str, hub: Path, tiny: Path) -> None:
    """Laid out as the hub's client does; with weights converted in a pull request, where main holds none."""
    commits = {"main": "a" * 40, ref: "a" * 40 if ref == "main" else "b" * 40}
    root = hub / "models--someone--encoder"
    for name, commit in commits.items():
        (root / "refs" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "refs" / name).write_text(commit)
        (root / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    for path in tiny.iterdir():
        commit = commits[ref if path.suffix == ".safetensors" else "main"]
        shutil.copy(path, root / "snapshots" / commit / path.name)
    assert locate("someone/encoder") == ("someone/encoder", {"hub": "someone/encoder", "commit": "a" * 40})
    found = FrozenEncoder("someone/encoder").transform(ODD)
    np.testing.assert_array_equal(found, FrozenEncoder(str(tiny)).transform(ODD))
    assert pretrained.load("someone/encoder")[1].config.hidden_size == 32


def test_a_local_encoder_is_known_by_what_its_folder_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoobench.benchmarks.plan import _with_folders

    card = MODELS.get("embedding-logreg").card
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(UserError, match="holds no tokenizer"):
        card.configure("", {"encoder": str(tmp_path / "mine")})
    (tmp_path / "mine" / "tokenizer.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    config, hashes = _with_folders(card, card.configure("", {"encoder": "mine"}))
    assert config["encoder"] == str(tmp_path / "mine"), "a cell runs in a folder of its own"
    (tmp_path / "mine" / "config.json").write_text("{ }")
    assert _with_folders(card, card.configure("", {"encoder": "mine"}))[1] != hashes, "trained again in place"
    assert _with_folders(card, card.configure())[1] == {}
