"""The trimmed vocabulary: what it is made of, and how little is lost by it."""

import gzip
import json
import unicodedata

import pytest

from clip_italian.models.towers import e5
from clip_italian.models.towers.trim import choose_pieces, write_pieces

LETTERS = [chr(code) for code in range(0x41, 0x250) if unicodedata.name(chr(code), "").startswith("LATIN ")]


@pytest.fixture(scope="module")
def chosen(e5_package):
    texts = ["gatto gatto cane", "gatto ornitorinco"]
    return choose_pieces([(iter(texts), 2), (["mare", "新年快乐"], 1)])


def test_pieces_used_often_enough_stay(chosen, whole_tokenizer):
    def pieces(text):
        return whole_tokenizer.encode(text).tokens[1:-1]

    once = {piece for word in ("cane", "ornitorinco") for piece in pieces(word)} - set(pieces("gatto"))
    often = {piece for text in ("gatto", "mare", "新年快乐") for piece in pieces(text)}
    assert often <= set(chosen)
    assert not {piece for piece in once if len(piece.removeprefix("▁")) > 1} & set(chosen)


def test_every_single_letter_digit_and_mark_of_the_package_stays(chosen, e5_package):
    single = [*LETTERS, *"0123456789.,;:!?'’\"“”«»()-–—…/&%€$£@#+*=°"]
    expected = {piece for letter in single for piece in (letter, f"▁{letter}")} & set(e5_package.pieces)
    assert len(expected) > 300
    assert expected <= set(chosen)


def test_the_order_is_the_packages_and_the_special_pieces_are_left_out(chosen, e5_package):
    kept = set(chosen)
    assert chosen == [piece for piece in e5_package.pieces if piece in kept]
    assert not kept & set(e5.SPECIALS)


def test_the_file_is_the_same_for_the_same_pieces(chosen, tmp_path):
    for name in ("a.gz", "b.gz"):
        write_pieces(tmp_path / name, iter(chosen))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).decode().split("\n") == chosen


def test_the_list_in_use_is_of_the_packages_pieces(e5_package):
    kept = e5.kept_pieces()
    assert kept[:4] == e5.SPECIALS
    assert len(kept) == len(set(kept)) == 20_314
    assert set(kept) <= set(e5_package.pieces)
    assert e5.pieces_hash() == "f288cc2d51b5a02e950e197d725017ca39ecea62f2ae1e639c7c31354254d682"


def test_captions_are_cut_into_the_same_pieces_as_under_the_whole_vocabulary(shared, whole_tokenizer, e5_tokenizer):
    lines = (shared / "data" / "flickr8k-it" / "dev.jsonl").read_text("utf-8").splitlines()
    captions = [caption["it"] for line in lines for caption in json.loads(line)["captions"] if "it" in caption]
    same = total = 0
    for whole, ours in zip(*(each.encode_batch(captions) for each in (whole_tokenizer, e5_tokenizer)), strict=True):
        spans = set(zip(ours.tokens, ours.offsets, strict=True))
        total += len(whole.tokens)
        same += sum(pair in spans for pair in zip(whole.tokens, whole.offsets, strict=True))
    assert total > 20_000
    assert same / total >= 0.99


@pytest.mark.slow
def test_the_documented_command_gives_the_list_in_use(shared, tmp_path):
    import typer
    from typer.testing import CliRunner

    from clip_italian.cli.tokens import register

    app = typer.Typer()
    register(app)
    arguments = ["flickr8k-it/train.jsonl:1", "coco-photos/train.jsonl:1"]
    arguments += ["italian/parallel/europarl_en_it_59k.tsv.gz:5", "italian/parole_italiane_280000.txt.gz:10"]
    assert all(argument in (e5.__doc__ or "") for argument in arguments)
    paths = [str(shared / "data" / argument) for argument in arguments]
    done = CliRunner().invoke(app, [*paths, "--out", str(tmp_path / "pieces.txt.gz")])
    assert done.exit_code == 0, done.output
    made = gzip.decompress((tmp_path / "pieces.txt.gz").read_bytes()).decode().split("\n")
    assert tuple(made) == e5.kept_pieces()[len(e5.SPECIALS) :]
