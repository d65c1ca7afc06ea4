"""Reports: honest, escaped, whole in themselves, with the same numbers in all three files."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from zoobench.datasets.core import TASKS, Examples, Protocol, Task, TaskCard
from zoobench.datasets.images import PixelStore
from zoobench.datasets.near import near_identical
from zoobench.datasets.prepare import deal
from zoobench.datasets.report import plain, write_report
from zoobench.datasets.report.blocks import Share, Table
from zoobench.datasets.report.facts import facts
from zoobench.datasets.report.page import cell, linked
from zoobench.datasets.support.errors import UserError

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
LABELS = ("fever", "a|b *c* " + HOSTILE, "nodule")
ROWS = 120
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def card(**changes: object) -> TaskCard:
    told = {
        "name": "hostile",
        "title": f"Hostile {HOSTILE}",
        "description": "Texts that would like to be code.",
        "version": 1,
        "kind": "multilabel",
        "modality": "text",
        "labels": LABELS,
        "primary_metric": "f1_macro",
        "group": "none",
        "licence": "CC0-1.0",
        "source": "made here",
        "citation": f"Author A. {HOSTILE} 2020. doi:10.1000/xyz(1)",
        "protocols": {"": Protocol(description="computed"), "thin": Protocol(description="some left out")},
    }
    return TaskCard(**{**told, **changes})  # type: ignore[arg-type]


def examples(kind: str = "multilabel") -> Examples:
    rng = np.random.default_rng(5)
    hot = (rng.random((ROWS, 3)) < 0.4).astype(np.uint8)
    targets = hot if kind == "multilabel" else rng.integers(0, 3, ROWS)
    filler = np.array(["chest", "heart", "lung", "clear", "small", "stable", "mild", "acute"])
    return Examples(
        ids=np.array([f"r{row}" for row in range(ROWS)], dtype=object),
        inputs=np.array(
            [" ".join([f"t{row}", *rng.choice(filler, 1 + row % 20), HOSTILE]) for row in range(ROWS)], dtype=object
        ),
        targets=targets,
        groups=np.arange(ROWS) // 2,
        columns={
            "title": np.array([f"About {HOSTILE} {row}" for row in range(ROWS)], dtype=object),
            "sex": (rng.random(ROWS) < 0.5).astype(float),
            "age": np.where(np.arange(ROWS) % 7, rng.integers(0, 90, ROWS), np.nan).astype(float),
            "type": rng.choice(np.array(["gene", HOSTILE], dtype=object), ROWS),
        },
        subsets={},
    )


def thin(kind: str = "multilabel") -> Examples:
    found = examples(kind)
    return replace(found, folds=np.where(np.arange(ROWS) // 2 % 10 == 9, -1, np.arange(ROWS) // 2 % 3))


TASK = Task(card(), lambda protocol: thin() if protocol else examples())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    write_report(TASK, "", folder)
    write_report(TASK, "thin", folder)
    return folder


class Page(HTMLParser):
    """The tags, scripts and texts of a page, as a browser's parser finds them."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "hostile.html").read_text())


def test_three_whole_files_and_nothing_else(folder: Path) -> None:
    names = {f"hostile{protocol}.{kind}" for protocol in ("", "@thin") for kind in ("html", "md", "json")}
    assert {path.name for path in folder.iterdir()} == names


def test_hostile_texts_stay_texts(page: Page) -> None:
    assert len(page.scripts) == 3
    assert not [attributes for tag, attributes in page.tags if tag == "img" or "onerror" in attributes]
    assert f"Hostile {HOSTILE}" in page.text
    drawn = json.loads(page.scripts[0])["plots"]["labels"]["figure"]["layout"]["yaxis"]["ticktext"]
    assert not [name for name in drawn if "<" in name]


def test_the_policy_names_the_two_scripts_and_forbids_the_rest(page: Page) -> None:
    policy = next(found["content"] or "" for tag, found in page.tags if found.get("http-equiv"))
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts[1:]]
    assert re.search(r"script-src ([^;]*);", policy)[1].split() == [f"'sha256-{each}'" for each in hashes]  # type: ignore[index]
    assert policy.startswith("default-src 'none';")


def test_the_page_loads_nothing(page: Page, folder: Path) -> None:
    addresses = [
        (tag, value) for tag, found in page.tags for key, value in found.items() if key in ("src", "href", "data")
    ]
    assert {value for tag, value in addresses if tag != "a"} == set()
    outside = [value for _, value in addresses if value and not value.startswith("#")]
    assert outside == ["https://doi.org/10.1000/xyz(1)"]
    style = re.search(r"<style>(.*?)</style>", (folder / "hostile.html").read_text(), re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_every_contents_link_has_its_section(page: Page) -> None:
    ids = {found["id"] for _, found in page.tags if "id" in found}
    links = {found.get("href") or "" for tag, found in page.tags if tag == "a"}
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= ids


def tables(markdown: str) -> dict[str, list[list[str]]]:
    """Return the rows of each table below a bold title, the header left out."""
    found = {}
    for title, body in re.findall(r"^\*\*([^*|]+)\*\*\n\n((?:\|.*\n)+)", markdown, re.MULTILINE):
        lines = [re.split(r" (?<!\\)\| ", line[2:-2]) for line in body.splitlines()]
        found[title] = [line for number, line in enumerate(lines) if number != 1][1:]
    return found


@pytest.mark.parametrize("name", ["hostile", "hostile@thin"])
def test_markdown_has_the_numbers_of_the_json(folder: Path, name: str) -> None:
    found, shown = json.loads((folder / f"{name}.json").read_text()), tables((folder / f"{name}.md").read_text())
    folds = found["folds"]
    assert [row[:2] for row in shown["Rows in each fold"]] == [
        [fold, f"{rows:,}"] for fold, rows in folds["rows"].items()
    ]
    counts = {row[0]: row[1:-1] for row in shown["Label frequencies"]}
    for at, label in enumerate(LABELS):
        assert counts[plain(label)] == [str(folds["labels"][fold][at]) for fold in folds["rows"]] + [
            str(folds["all"][at])
        ]
    for field, unit, *values in shown["Length of each field"]:
        assert values == [
            cell(found["fields"][field][unit][key])
            for key in ("count", "mean", "std", "min", "q25", "median", "q75", "max")
        ]
    assert {row[0]: int(row[1]) for row in shown["Labels per row"]} == found["labels_per_row"]
    assert [int(row[1]) for row in shown["Label combinations"]] == [
        each["rows"] for each in found["seen"]["combinations"]["top"]
    ]
    assert ("left out" in folds["rows"]) == (name == "hostile@thin")


def test_markdown_holds_no_html(folder: Path) -> None:
    assert not re.search(r"<[a-z/!]", (folder / "hostile.md").read_text(), re.IGNORECASE)


def told(task: Task, protocol: str, found: Examples, folds: np.ndarray) -> dict:
    values = facts(task, protocol, found, folds)
    values.pop("fingerprint")
    values["audit"].pop("fingerprint")
    return json.loads(json.dumps(values, allow_nan=False))


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_nothing_tells_which_test_row_has_which_target(kind: str) -> None:
    task = Task(card(kind=kind), lambda: examples(kind))  # type: ignore[arg-type]
    found = task.read()
    folds = deal(task, "", found)
    test = np.flatnonzero(folds == 2)
    targets = found.targets.copy()
    targets[test] = targets[np.roll(test, 1)]
    assert (targets != found.targets).any()
    assert told(task, "", replace(found, targets=targets), folds) == told(task, "", found, folds)


def test_what_is_seen_does_not_hang_on_test_and_left_out_rows() -> None:
    found = TASK.read("thin")
    assert found.folds is not None
    other = found.inputs.copy()
    other[(found.folds == 2) | (found.folds == -1)] = "other words altogether"
    seen = told(TASK, "thin", found, found.folds)["seen"]
    assert told(TASK, "thin", replace(found, inputs=other), found.folds)["seen"] == seen
    other[found.folds == 1] = "another"
    assert told(TASK, "thin", replace(found, inputs=other), found.folds)["seen"] != seen


def test_columns_and_gaps() -> None:
    found = TASK.read()
    values = facts(TASK, "", found, deal(TASK, "", found))
    kinds = {name: column["kind"] for name, column in values["columns"].items()}
    assert kinds == {"sex": "category", "age": "number", "type": "category"}
    assert set(values["fields"]) == {"text", "title"}
    assert values["columns"]["age"]["missing"] == int(np.isnan(found.columns["age"]).sum()) > 0


def test_near_identical_texts_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examples()
    folds = deal(TASK, "", found)
    expected = facts(TASK, "", found, folds)
    asked: list[np.ndarray] = []
    monkeypatch.delattr("zoobench.datasets.audit.near_identical")
    # The package's attribute `facts` may be the function: the module is had by its name.
    module = sys.modules["zoobench.datasets.report.facts"]
    monkeypatch.setattr(module, "near_identical", lambda texts: asked.append(texts) or near_identical(texts))
    assert facts(TASK, "", found, folds) == expected
    assert len(asked) == 1


def test_a_code_is_called_by_the_subset_that_it_stands_for() -> None:
    found = examples()
    found = replace(found, subsets={"female": found.columns["sex"] == 1})
    values = facts(TASK, "", found, deal(TASK, "", found))
    assert values["columns"]["sex"]["names"] == ["0", "female (1)"]


def test_an_image_task_shows_training_images(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    rng = np.random.default_rng(0)
    # A training image is bright on its left, a test image on its right.
    base, inputs = thin(), rng.permutation(ROWS)
    assert base.folds is not None
    pixels = rng.integers(0, 40, (ROWS, 8, 8), dtype=np.uint8)
    pixels[inputs[base.folds == 0], :, :4] += 200
    pixels[inputs[base.folds != 0], :, 4:] += 200
    np.save(store / "pixels.npy", pixels)
    np.save(store / "digests.npy", rng.integers(0, 255, (ROWS, 16), dtype=np.uint8))
    shown = replace(base, inputs=inputs, columns={"sex": base.columns["sex"]}, pixels=PixelStore(store))
    task = Task(card(modality="image", image_size=8, group="patient"), lambda: shown)
    html, *_ = write_report(task, "", tmp_path)
    page = Page(html.read_text())
    images = [found["src"] or "" for tag, found in page.tags if tag == "img"]
    assert 4 <= len(images) <= 24
    from PIL import Image

    for address in images:
        (tmp_path / "one.png").write_bytes(base64.b64decode(address.removeprefix("data:image/png;base64,")))
        held = np.asarray(Image.open(tmp_path / "one.png")).astype(int)
        assert held[:, :4].mean() > held[:, 4:].mean() + 100


def test_faults_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown protocol of hostile 'thinn'"):
        write_report(TASK, "thinn", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(TASK, "", tmp_path / "file")
    wrong = Task(card(), lambda: replace(examples(), targets=examples().targets[:, :2]))
    with pytest.raises(UserError, match="targets have shape"):
        write_report(wrong, "", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_cells_and_links() -> None:
    assert list(map(cell, (None, 1234, 0.126, Share(0.5), "x"))) == ["\N{EN DASH}", "1,234", "0.13", "50.00%", "x"]
    assert linked("<b> https://a.org/b?c=1, d") == (
        '&lt;b&gt; <a href="https://a.org/b?c=1" rel="noreferrer">https://a.org/b?c=1</a>, d'
    )
    assert plain("a|b\n<i> `x` [y](z)") == r"a\|b &lt;i&gt; \`x\` \[y\](z)"
    with pytest.raises(ValueError, match="has not 2 cells"):
        Table("t", ("a", "b"), [(1,)])


@pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH: pages are not drawn")
@pytest.mark.parametrize("name", ["hostile", "hostile@thin"])
def test_a_browser_draws_every_plot_without_an_error(folder: Path, tmp_path: Path, name: str) -> None:
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", "--enable-logging=stderr")
    command = [BROWSER or "", *flags, f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000"]
    path = folder / f"{name}.html"
    run = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in run.stderr, run.stderr
    dom = Page(run.stdout)
    holders = [found["id"] for _, found in dom.tags if "plot" in (found.get("class") or "").split()]
    drawn = [found for tag, found in dom.tags if tag == "svg" and "main-svg" in (found.get("class") or "").split()]
    assert len(holders) >= 12
    assert len(drawn) >= len(holders)
    assert "<title>Hostile &lt;/script" in run.stdout


def test_biomedical_lengths_are_the_published_ones(real_data: Path) -> None:
    task = TASKS.get("biomedical-abstracts")
    found = task.read()
    fields = facts(task, "", found, deal(task, "", found))["fields"]
    # Table 1 of the report: titles, abstracts, and both (SYSTEMS.md, section 1).
    wanted = {
        "title": (8.73, 4.88, 2, 5, 7, 11, 38),
        "text after title": (100.06, 93.07, 22, 31, 37, 172, 525),
        "text": (108.79, 96.62, 28, 37, 43, 185, 535),
    }
    for name, figures in wanted.items():
        words = fields[name]["words"]
        shown = [round(words[key], 2) for key in ("mean", "std", "min", "q25", "median", "q75", "max")]
        assert shown == list(figures), name


def test_litcoin_corpus_counts(real_data: Path) -> None:
    from zoobench.datasets.report.corpus import corpus_facts

    found = corpus_facts(TASKS.get("litcoin-relations"))
    assert found["counts"] == {"abstracts": 400, "mentions": 13636, "relations": 4280}
    assert dict(zip(found["relation_types"]["values"], found["relation_types"]["rows"], strict=True)) == {
        "Association": 2274,
        "Positive_Correlation": 1159,
        "Negative_Correlation": 721,
        "Bind": 69,
        "Cotreatment": 29,
        "Comparison": 22,
        "Conversion": 3,
        "Drug_Interaction": 3,
    }
    assert (
        sum(found["entity_types"]["rows"]) == sum(each["box"]["count"] for each in found["offsets"].values()) == 13636
    )
    assert sum(found["novelty"]["rows"]) == 4280
