"""The demo, small: everything it promises is made, and its scores come from the model it trained."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from clip_italian import load
from clip_italian.cli import demo as command
from clip_italian.demo import drawn, photos
from clip_italian.errors import BadRecipe, ClipItalianError
from clip_italian.evaluation import scenes
from clip_italian.search.album import Album

SMALL = {"VALID": 24, "TEST": 20, "SINGLES": 24, "ASKED": 20, "ALBUM": 30}
SETTINGS = [
    'image_head={type="places", hidden=16, heads=2, centred=true}',
    "text_tower.width=16",
    "pictures.size=64",
    "dim=32",
    "workers=0",
    "stages.0.batch=16",
    "stages.0.epochs=1",
    "stages.1.batch=16",
    "stages.1.epochs=1",
    "stages.2.batch=16",
]


@pytest.fixture
def app():
    built = typer.Typer()
    command.register(built)
    built.command("other")(lambda: None)
    return built


def run(app, *arguments):
    return CliRunner().invoke(app, ["demo", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def small(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(drawn if hasattr(drawn, name) else scenes, name, value)


def test_scenes_are_drawn_learned_measured_and_searched(app, small, tmp_path):
    arguments = [
        "--train",
        "--out",
        tmp_path,
        "--scenes",
        96,
        *(part for setting in SETTINGS for part in ("--set", setting)),
    ]
    result = run(app, *arguments)
    assert result.exit_code == 0, result.output
    for said in ("mrr@10", "accuracy@1", "left_right", "count 1-4", "make demo PHOTOS="):
        assert said in result.output
    model = json.loads((tmp_path / "model" / "model.json").read_text())
    assert model["notes"]["recipe"]["name"] == "scenes"
    with Album.open(tmp_path / "album.db") as album:
        assert sum(1 for _ in album.photos()) == SMALL["ALBUM"]
        assert album.load_encoder().fingerprint == load(tmp_path / "model").fingerprint
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 600
    again = run(app, *arguments)
    assert again.exit_code == 0, again.output
    drawn_before = (tmp_path / "scenes" / "scenes-train.jsonl").read_bytes()
    for more in (["--scenes", 65], ["--set", "seed=3"]):
        with pytest.raises(
            BadRecipe, match=r"begun with another recipe or number of scenes .*choose another --out, or"
        ):
            run(app, *arguments, *more)
    assert (tmp_path / "scenes" / "scenes-train.jsonl").read_bytes() == drawn_before
    assert json.loads((tmp_path / "demo.json").read_text())["scenes"] == 96
    assert run(app, *arguments, "--set", "workers=1").exit_code == 0, "workers change no result"


def test_own_photos_are_indexed_and_searched(app, small, tmp_path):
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    run(app, "--train", "--out", tmp_path / "a", "--scenes", 96, *settings)
    photos = tmp_path / "foto"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (80 * number, 30, 200)).save(photos / f"{number}.jpg")
    (photos / "rotta.jpg").write_bytes(b"not a picture")
    result = run(app, "--photos", photos, "--model", tmp_path / "a" / "model", "--out", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert "3 photos (3 added)\n1 skipped:\n  rotta.jpg: not a picture" in result.output
    [sheet] = (tmp_path / "b").glob("foto-*.png")
    [album] = (tmp_path / "b").glob("foto-*.db")
    assert sheet.stem == album.stem and re.fullmatch(r"foto-[0-9a-f]{8}", sheet.stem)
    assert shlex.split(result.output.partition("ask yourself: ")[2].splitlines()[0])[-1] == str(album)


@pytest.fixture
def colours(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "search"))
    monkeypatch.setattr("clip_italian.encoder.OPENERS", ["fake_encoder:open_fake"])


def test_albums_of_several_folders_and_models_live_side_by_side(colours, tmp_path):
    folders = [tmp_path / "a" / "le foto", tmp_path / "b" / "le foto", tmp_path / ("x" * 250)]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 30), (90 * number, 30, 200)).save(folder / f"{number}.jpg")
    out, made = tmp_path / "out", set()
    for model in ("fake", "fake2"):
        for folder in folders:
            added = []
            for _ in range(2):
                found = photos.find(load(model), model, folder, out, progress=lambda progress: None)
                album, sheet = found.album, found.sheet
                added.append(found.summary.added)
                assert album.is_file() and sheet.is_file() and album.name.startswith(folder.name[:20])
            assert added == [1, 0], "the same folder and model have the same album"
            made |= {album, sheet}
    assert len(made) == 12


def test_a_folder_without_pictures_is_refused(colours, tmp_path):
    (tmp_path / "vuota").mkdir()
    (tmp_path / "vuota" / "rotta.jpg").write_bytes(b"not a picture")
    with pytest.raises(ClipItalianError, match=r"vuota: there is no picture to search.*\n  rotta\.jpg: not a picture"):
        photos.find(load("fake"), "fake", tmp_path / "vuota", tmp_path / "out", progress=lambda progress: None)


def test_without_photos_scenes_are_drawn_and_searched_with_the_default_model(colours, app, tmp_path, monkeypatch):
    monkeypatch.setattr("clip_italian.encoder.DEFAULT", "fake_encoder:default_fake")
    result = run(app, "--out", tmp_path, "--scenes", 16)
    assert result.exit_code == 0, result.output
    assert "16 photos (16 added)" in result.output and "model: fake" in result.stderr
    found, known = re.search(r"(\d+) of (\d+) queries find a right picture first", result.output).groups()
    assert 0 <= int(found) <= int(known) and int(known) >= 9
    [sheet], [album] = tmp_path.glob("scenes-16-*.png"), tmp_path.glob("scenes-16-*.db")
    assert str(sheet) in result.output and str(album) in result.output
    with Album.open(album) as opened:
        assert opened.model == "fake"
    again = run(app, "--out", tmp_path, "--scenes", 16)
    assert "16 photos (16 unchanged)" in again.output


def test_without_training_nothing_of_torch_is_loaded(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1] / 'search')!r})\n"
        "from clip_italian import cli, encoder\n"
        "encoder.OPENERS, encoder.DEFAULT = ['fake_encoder:open_fake'], 'fake_encoder:default_fake'\n"
        f"sys.argv = ['clip-italian', 'demo', '--out', {str(tmp_path)!r}, '--scenes', '12']\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "12 photos (12 added)" in done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [
    ["--train", "--model", "x"], ["--train", "--photos", "."], ["--set", "seed=1"], ["--photos", ".", "--scenes", "20"],
])  # fmt: skip
def test_options_that_do_not_go_together(app, tmp_path, arguments):
    assert run(app, "--out", tmp_path / "out", *arguments).exit_code == 2
    assert not (tmp_path / "out").exists()
