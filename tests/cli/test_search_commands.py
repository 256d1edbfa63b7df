"""index, search and classify as a person types them."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from clip_italian.cli import classify, index, search
from clip_italian.errors import BadAlbum, BadLabels, BadModel, BadQuery, ClipItalianError
from clip_italian.search.album import Album

COLOURS = {"rosso": (230, 20, 20), "verde": (20, 220, 30), "blu": (20, 20, 230)}


@pytest.fixture(autouse=True)
def fake_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "search"))
    monkeypatch.setattr("clip_italian.encoder.OPENERS", ["fake_encoder:open_fake"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for i in range(9):
        name, colour = list(COLOURS.items())[i % 3]
        noise = np.random.default_rng(i).integers(0, 20, (20, 20, 3))
        path = tmp_path / "foto" / f"{name} {i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((np.array(colour) + noise).astype(np.uint8)).save(path)
    return tmp_path / "foto"


def run(*arguments: str) -> Result:
    app = typer.Typer()
    for command in (index, search, classify):
        command.register(app)
    return CliRunner().invoke(app, list(arguments))


def fake_encoder() -> Any:
    return importlib.import_module("fake_encoder")


def index_it() -> Result:
    result = run("index", "foto", "--album", "foto.album", "--model", "fake")
    assert result.exit_code == 0, result.output
    return result


def test_index_reports(folder: Path) -> None:
    (folder / "rotta.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    out = index_it().stdout
    assert "foto.album: 9 photos (9 added)\n" in out
    assert "1 skipped:\n  rotta.jpg: damaged or cut short" in out
    again = run("index", "foto", "--album", "foto.album")
    assert again.exit_code == 0
    assert "9 unchanged" in again.stdout
    assert "1 skipped before and not changed since (`index --retry` tries them again)" in again.stdout
    assert "1 skipped:" in run("index", "foto", "--album", "foto.album", "--retry").stdout


def test_a_new_album_takes_the_default_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_italian.encoder.DEFAULT", "fake_encoder:default_fake")
    result = run("index", "foto", "--album", "foto.album")
    assert result.exit_code == 0 and result.stderr.splitlines()[0] == "model: fake"
    assert json.loads(run("search", "blu", "--album", "foto.album", "--json").stdout)["model"] == f"{'fake':0<64}"
    assert run("search", "blu", "--album", "foto.album").stderr == "model: fake\n"
    shown = run("classify", "foto/blu 2.png", "--labels", "blu,rosso")
    assert shown.stderr.startswith("model: fake\n") and shown.stdout.startswith("blu")


def test_without_a_default_model_nothing_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_ITALIAN_MODELS", str(folder))
    result = run("index", "foto", "--album", "foto.album")
    assert isinstance(result.exception, BadModel) and "carries none" in str(result.exception)
    assert not Path("foto.album").exists()


def test_an_album_whose_model_has_moved_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    with Album.create("foto.album", folder, fake_encoder().ColourEncoder(), model=str(tmp_path / "runs" / "mine")):
        pass
    for words in (["search", "blu"], ["index", "foto"]):
        result = run(*words, "--album", "foto.album")
        assert isinstance(result.exception, BadModel)
        assert "runs/mine: there is no such directory" in str(result.exception)
        assert "it made this album; give --model where it is now" in str(result.exception)


def test_a_folder_without_pictures_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vuota").mkdir()
    (tmp_path / "vuota" / "note.txt").write_text("x")
    result = run("index", "vuota", "--album", "foto.album", "--model", "fake")
    assert result.exit_code == 0 and "vuota: no pictures there, nor in its folders (looked for avif," in result.stderr


def test_photos_that_are_gone_are_marked(folder: Path) -> None:
    index_it()
    (folder / "blu 2.png").unlink()
    result = run("search", "blu", "--album", "foto.album")
    marked = [line for line in result.stdout.splitlines() if line.endswith("(gone)")]
    assert len(marked) == 1 and "blu 2.png" in marked[0]
    assert "1 no longer there; run index again" in result.stderr
    hits = json.loads(run("search", "blu", "--album", "foto.album", "--json").stdout)["hits"]
    assert [Path(hit["path"]).name for hit in hits if hit["gone"]] == ["blu 2.png"]


def test_a_query_needs_no_quotes(folder: Path) -> None:
    index_it()
    loose = run("search", "un", "muro", "blu", "--album", "foto.album", "--json")
    assert json.loads(loose.stdout) == json.loads(
        run("search", "un muro blu", "--album", "foto.album", "--json").stdout
    )


def test_an_unfinished_album_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, calls = fake_encoder(), []
    encode = fake.ColourEncoder.encode_images

    def stopped_at_the_second(self: object, images: object) -> np.ndarray:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.asarray(encode(self, images))

    monkeypatch.setattr(fake.ColourEncoder, "encode_images", stopped_at_the_second)
    result = run("index", "foto", "--album", "foto.album", "--model", "fake", "--batch", "4")
    assert result.exit_code == 130 and "4 photos (4 added)" in result.stdout
    searched = run("search", "blu", "--album", "foto.album")
    assert len(searched.stdout.splitlines()) == 4
    assert (
        "the album is unfinished: 5 files were still to be read; run index again, unless it is running now"
        in searched.stderr
    )
    index_it()
    assert run("search", "blu", "--album", "foto.album").stderr == "model: fake\n"


def test_over_half_of_an_album_is_not_forgotten_unasked(folder: Path) -> None:
    for i in range(30):
        Image.new("RGB", (20, 20), (8 * i, 0, 255 - 8 * i)).save(folder / f"altra {i}.png")
    index_it()
    for path in folder.glob("altra*.png"):
        path.unlink()
    kept = index_it().stdout
    assert "30 photos not found, once over half of the album, and kept: connect the drive they are on, or let" in kept
    assert run("search", "blu", "--album", "foto.album", "-k", "99").stdout.count("(gone)") == 30
    for i in range(40):
        Image.new("RGB", (20, 20), (6 * i, 255 - 6 * i, 0)).save(folder / f"nuova {i}.png")
    assert "30 photos not found" in index_it().stdout, "in the next run they are under half, and still kept"
    assert "30 photos not found" in index_it().stdout
    for path in folder.glob("nuova*.png"):
        path.unlink()
    forgotten = run("index", "foto", "--album", "foto.album", "--forget")
    assert "foto.album: 9 photos (9 unchanged, 70 removed)" in forgotten.stdout
    (folder / "blu 2.png").unlink()
    assert "8 photos (8 unchanged, 1 removed)" in index_it().stdout, "few are forgotten again"
    assert "(gone)" not in run("search", "blu", "--album", "foto.album", "-k", "99").stdout


def test_words_for_which_nothing_stands_out(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    for i in range(30):
        Image.new("RGB", (20, 20), (0, 0, 200 + i)).save(folder / f"blu {i}.png")
    index_it()
    assert "no photo stands out" not in run("search", "blu", "--album", "foto.album").stderr
    assert "no photo stands out" in run("search", "giallo", "--album", "foto.album").stderr
    assert json.loads(run("search", "giallo", "--album", "foto.album", "--json").stdout)["stands_out"] is False


def test_a_sheet_that_is_no_png_is_refused_before_the_search(folder: Path) -> None:
    result = run("search", "blu", "--album", "none.album", "--sheet", "found.pdf")
    assert result.exit_code == 2 and "PNG" in result.output


def test_search_prints_rank_score_path(folder: Path) -> None:
    index_it()
    lines = run("search", "un muro rosso", "--album", "foto.album", "-k", "3").stdout.splitlines()
    assert len(lines) == 3
    for rank, line in enumerate(lines, start=1):
        found_rank, score, path = line.split(maxsplit=2)
        assert int(found_rank) == rank
        assert 0.5 < float(score) <= 1
        assert Path(path).parent == folder and Path(path).name.startswith("rosso")


def test_search_json_and_sheet(folder: Path) -> None:
    strange = folder / os.fsdecode(b"caff\xe8 \n blu.png")
    (folder / "blu 2.png").rename(strange)
    index_it()
    result = run("search", "blu", "--album", "foto.album", "--json", "--sheet", "found.png")
    found = json.loads(result.stdout)
    assert found["query"] == "blu" and found["unread"] == 0 and found["stands_out"] is True
    assert result.stderr.endswith("drawn: found.png\n")
    assert found["model"] == f"{'fake':0<64}"
    assert [hit["rank"] for hit in found["hits"]] == list(range(1, 10))
    assert all(Path(hit["path"]).is_file() for hit in found["hits"])
    assert str(strange) in {hit["path"] for hit in found["hits"][:3]}
    assert Image.open("found.png").width > 600
    plain = run("search", "blu", "--album", "foto.album").stdout
    assert r"caff\xe8 \n blu.png" in plain
    assert len(plain.splitlines()) == 9


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["search", "blu", "--album", "none.album"], BadAlbum, "there is no album"),
        (["search", " ", "--album", "foto.album"], BadQuery, "the query is empty"),
        (["search", "blu " * 2500, "--album", "foto.album"], BadQuery, "10,000 characters, and at most 1,000"),
        (["search", "blu", "--album", "foto.album", "--model", "fake2"], BadAlbum, "not with fake2"),
        (["search", "blu", "--album", "foto.album", "--model", "none"], BadModel, "none: no such model: neither"),
        (["index", "foto", "--album", "foto.album", "--model", "fake2"], BadAlbum, "not with fake2"),
        (["index", "none", "--album", "foto.album"], ClipItalianError, "no such folder"),
        (["index", "foto/blu 2.png", "--album", "foto.album"], ClipItalianError, "is a file; name the folder"),
        (["classify", "foto/blu 2.png", "--labels", " ,,", "--model", "fake"], BadLabels, "no class names"),
        (["classify", "foto/blu 2.png", "--labels", "", "--model", "fake"], BadLabels, '"": neither a file'),
        (
            ["classify", "foto/blu 2.png", "--labels", "blu,verde, blu", "--model", "fake"],
            BadLabels,
            "name 3 of the list: 'blu' is already at name 1 of the list",
        ),
    ],
)
def test_errors_a_person_can_act_on(folder: Path, arguments: list[str], error: type[Exception], message: str) -> None:
    index_it()
    result = run(*arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


@pytest.mark.parametrize("arguments", [["search"], ["search", "blu", "--album", "x", "-k", "0"], ["index", "foto"]])
def test_wrong_arguments_exit_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_classify(folder: Path) -> None:
    result = run("classify", "foto/blu 2.png", "--labels", "rosso, blu,verde", "--model", "fake")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("blu") and "█" in lines[0]
    assert "shares among these 3 names; perhaps none of them fits" in result.stderr
    labels = "rosso,, blu ,"
    found = json.loads(run("classify", "foto/blu 2.png", "--labels", labels, "--model", "fake", "--json").stdout)
    assert [row["label"] for row in found["labels"]] == ["blu", "rosso"]
    assert sum(row["probability"] for row in found["labels"]) == pytest.approx(1)


def test_classify_takes_sets_and_files_of_names(folder: Path) -> None:
    result = run("classify", "foto/blu 2.png", "--labels", "CIFAR10", "--model", "fake", "-k", "3")
    assert result.exit_code == 0 and len(result.stdout.splitlines()) == 3
    assert "and 7 names less likely (-k 10 shows all)" in result.stderr
    Path("nomi.txt").write_text("rosso\nblu\n")
    assert run("classify", "foto/blu 2.png", "--labels", "nomi.txt", "--model", "fake").stdout.startswith("blu")
    nobody = run("classify", "foto/blu 2.png", "--labels", "cifar11", "--model", "fake")
    assert isinstance(nobody.exception, BadLabels) and "cifar100" in str(nobody.exception)


def test_the_model_runs_where_it_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fake_encoder

    places: list[str] = []

    def opened(name: str, device: str) -> object:
        places.append(device)
        return fake_encoder.ColourEncoder(name)

    monkeypatch.setattr(fake_encoder, "open_fake", opened)
    for words in (
        ["index", "foto", "--album", "foto.album", "--model", "fake"],
        ["index", "foto", "--album", "foto.album"],
        ["search", "blu", "--album", "foto.album"],
        ["classify", "foto/blu 2.png", "--labels", "blu,rosso", "--model", "fake"],
    ):
        for more, device in ((["--device", "cuda:1"], "cuda:1"), ([], "cpu")):
            assert run(*words, *more).exit_code == 0
            assert places == [device]
            places.clear()


def test_every_command_has_an_example() -> None:
    for command in ("index", "search", "classify"):
        assert f"Example: clip-italian {command}" in " ".join(run(command, "--help").output.split())


def test_help_loads_no_model_library() -> None:
    code = "import sys; from clip_italian.cli import index, search, classify; "
    subprocess.run([sys.executable, "-c", code + "assert not {'torch', 'transformers'} & set(sys.modules)"], check=True)
