import pytest

from clip_italian.errors import BadLabels
from clip_italian.evaluation.labels import read_labels, read_templates


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
        (b"id\tnome\n", "nome", "a header alone"),
    ],
)
def test_bad_files_are_refused_with_their_line(tmp_path, content, column, complaint):
    path = tmp_path / "names.tsv"
    path.write_bytes(content)
    with pytest.raises(BadLabels, match=complaint):
        read_labels(path, column=column)


def test_bad_lists_are_refused():
    with pytest.raises(BadLabels, match="class 2 of the list: no name"):
        read_labels("gatto,,cane")
    with pytest.raises(BadLabels, match="'gatto' is already at class 1"):
        read_labels("gatto,gatto")
    with pytest.raises(BadLabels, match="neither a file nor a list"):
        read_labels("missing.txt")


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
