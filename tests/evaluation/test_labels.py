import io
import tarfile
from pathlib import Path

import pytest

from clip_italian.errors import BadLabels
from clip_italian.evaluation.labels import default_templates, label_ids, read_classed, read_labels, read_templates
from clip_italian.italian import TEMPLATES


def test_names_come_from_a_list_a_file_or_a_column(tmp_path):
    assert read_labels("gatto, cane da caccia,l'orso") == ("gatto", "cane da caccia", "l'orso")
    many = [f"la cosa numero {number}" for number in range(1000)]
    assert read_labels(",".join(many)) == tuple(many)
    plain, table = tmp_path / "names.txt", tmp_path / "names.tsv"
    plain.write_bytes("\ufeffgatto\r\nperché, no\r\n\r\n".encode())
    assert read_labels(plain) == ("gatto", "perché, no")
    table.write_text("id\tnome\n0\tgatto\n1\tcane\n")
    assert read_labels(str(table), column="nome") == ("gatto", "cane")


@pytest.mark.parametrize(
    ("content", "column", "complaint"),
    [
        (b"gatto\n\ncane\n", None, "line 2: no name"),
        (b"gatto\ncane\ngatto\n", None, r"line 3: 'gatto' is already at .*line 1"),
        (b"", None, "line 1: no name"),
        (b"gatto\ncan\xe8\n", None, "not UTF-8"),
        (b"id\tnome\n0\tgatto\n", None, "a table; say which column.*id, nome"),
        (b"id\tnome\n0\tgatto\n", "name", "no column 'name'; it has id, nome"),
        (b"id\tnome\n0\tgatto\n1\n", "nome", "line 3: no name"),
        (b"id\tnome\n", "nome", "no class names; give at least one, in a file below its header"),
    ],
)
def test_bad_files_are_refused_with_their_line(tmp_path, content, column, complaint):
    path = tmp_path / "names.tsv"
    path.write_bytes(content)
    with pytest.raises(BadLabels, match=complaint):
        read_labels(path, column=column)


def test_bad_lists_are_refused():
    with pytest.raises(BadLabels, match="no class names"):
        read_labels(" ,, ", drop_empty=True)
    with pytest.raises(BadLabels, match="name 2 of the list: 'gatto' is already at name 1"):
        read_labels("gatto,,gatto", drop_empty=True)
    with pytest.raises(BadLabels, match="name 2 of the list: no name; every class needs one"):
        read_labels("gatto,,cane")
    with pytest.raises(BadLabels, match=r"neither a file, nor a list.* nor one of the sets of names: imagenet, "):
        read_labels("missing.txt")
    with pytest.raises(BadLabels, match=r'^"struzzo": .*a list \(at least two names with a comma between\)'):
        read_labels("struzzo")


def test_sets_of_names_have_their_articles_and_ids(tmp_path, monkeypatch):
    tiny = read_labels("tiny-imagenet")
    assert len(tiny) == 200 and tiny[0] == "un pesce rosso" and label_ids("tiny-imagenet")[0] == "n01443537"
    assert len(read_labels("imagenet")) == 1000
    assert dict(zip(label_ids("coco"), read_labels("coco"), strict=True))["scissors"] == "forbici"
    assert label_ids("gatto,cane") == ()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco").write_text("gatto\ncane\n")  # a file of the same name is read where its path is given
    assert len(read_labels("coco")) == 80 and read_labels("./coco") == ("gatto", "cane")
    with pytest.raises(BadLabels, match="coco: this set of names has no columns"):
        read_labels("coco", column="nome")


def test_sets_of_names_go_into_sentences_and_others_stand_alone():
    assert default_templates("coco") == TEMPLATES and default_templates("gatto,cane") == ("{}",)
    assert read_templates(TEMPLATES) == TEMPLATES


NAMES, IDS = ("rosso", "verde", "blu"), ("n1", "n2", "n3")


def labels(images, names, **options):
    return {sample.key: sample.label for sample in read_classed(images, names, **options)}


def test_classes_come_from_a_table_beside_the_folder(paint, tmp_path):
    for name in ("r.png", "sotto/v.png", "b.png"):
        paint(f"album/{name}", "rosso")
    table = tmp_path / "album.tsv"
    table.write_text("file\tid\twnid\nb.png\t5\tn3\nsotto/v.png\t5\tverde\nr.png\t5\t0\n")
    expected = {"b.png": 2, "r.png": 0, "sotto/v.png": 1}
    assert labels(tmp_path / "album", NAMES, ids=IDS) == expected
    table.rename(tmp_path / "other.tsv")
    assert labels(tmp_path / "album", NAMES, ids=IDS, table=tmp_path / "other.tsv") == expected
    assert set(labels(tmp_path / "album", NAMES, ids=IDS).values()) == {None}


def test_classes_come_from_folders_named_after_them(paint, tmp_path):
    for name in ("n2/a.png", "altro/n3/b.png", "blu/c.png", "0/d.png"):
        paint(f"album/{name}", "rosso")
    assert labels(tmp_path / "album", NAMES, ids=IDS) == {
        "0/d.png": None, "altro/n3/b.png": 2, "blu/c.png": 2, "n2/a.png": 1,
    }  # fmt: skip


def test_classes_of_a_tar_are_its_own(paint, tmp_path):
    with tarfile.open(tmp_path / "dev.tar", "w") as tar:
        for name, data in (("a.png", paint("a.png", "rosso").read_bytes()), ("a.cls", b"2")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    (tmp_path / "dev.tar.tsv").write_text("file\twnid\na\tn1\n")
    assert labels(tmp_path / "dev.tar", NAMES, ids=IDS) == {"a": 2}
    assert labels(tmp_path / "dev.tar", NAMES, ids=IDS, table=tmp_path / "dev.tar.tsv") == {"a": 0}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("file\tname\na.png\tn1\n", "header with file and one of wnid, class, label; this one has file, name"),
        ("file\twnid\nz.png\tn1\n", "line 2: 'z.png' is not among the pictures"),
        ("file\twnid\na.png\tn9\n", "line 2: 'n9' is none of the 3 classes"),
        ("file\twnid\na.png\n", "line 2: '' is none of the 3 classes"),
    ],
)
def test_a_bad_table_of_classes_is_told_by_its_line(paint, tmp_path, content, complaint):
    paint("album/a.png", "rosso")
    (tmp_path / "album.tsv").write_text(content)
    with pytest.raises(BadLabels, match=complaint):
        labels(tmp_path / "album", NAMES, ids=IDS)


def test_templates_come_one_by_one_or_from_a_file(tmp_path):
    path = tmp_path / "templates.txt"
    path.write_text("una foto di {}\n{} di plastica\n")
    assert read_templates(["{}", str(path)]) == ("{}", "una foto di {}", "{} di plastica")
    with pytest.raises(BadLabels, match=r"'una foto' has no {}"):
        read_templates(["una foto"])
    path.write_text("una foto di {}\nuna foto\n")
    with pytest.raises(BadLabels, match="line 2"):
        read_templates([str(path)])
    with pytest.raises(BadLabels, match="no templates"):
        read_templates([])


def test_the_papers_own_lists(shared):
    folder = shared / "data" / "labels"
    assert len(read_templates([str(folder / "clip_italian_templates_IT.txt")])) == 49
    wnids = read_labels(folder / "imagenet_labels_merged.tsv", column="wnid")
    assert len(wnids) == 1000 and wnids[0] == "n01440764"
    with pytest.raises(BadLabels, match="is already at"):  # the paper's names have 19 strings for 39 classes
        read_labels(folder / "imagenet_labels_merged.tsv", column="clip_italian_short")


def test_sets_are_named_in_any_capitals_unless_a_file_is(tmp_path, monkeypatch):
    assert read_labels("COCO") == read_labels("coco") and label_ids("Imagenet") == label_ids("imagenet")
    monkeypatch.chdir(tmp_path)
    Path("COCO").write_text("un gatto\n")
    assert read_labels("COCO") == ("un gatto",) and label_ids("COCO") == ()
    assert read_labels("gatto, ,cane,", drop_empty=True) == ("gatto", "cane")
