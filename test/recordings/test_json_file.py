import pytest

from aqr_perception.recordings import json_file
from aqr_perception.recordings.json_file import read_json


def test_an_object_comes_back(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, null]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(("content", "words"), [
    (b"{", "not JSON"), (b"", "not JSON"), (b"\xff\xfe", "not JSON"), (b"[1]", "holds a list"),
    (b"[" * 100_000, "not JSON"), (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON")])
def test_what_is_no_object_is_named_with_its_file(tmp_path, content, words):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_json(tmp_path / "a.json")
    assert "a.json" in str(caught.value)


def test_a_file_is_not_read_when_it_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(json_file, "LARGEST_JSON", 10)
    (tmp_path / "a.json").write_text('{"a": "12345678"}')
    with pytest.raises(ValueError, match="17 bytes"):
        read_json(tmp_path / "a.json")
