"""What killed runs leave is told from what running ones use, removed and counted."""

import os

from compress.system.leftovers import in_use, is_leftover, name_in_place, new_name, put_right


def leftover(folder, name, nbytes=5):
    (folder / name / "deep").mkdir(parents=True)
    (folder / name / "deep" / "file").write_bytes(bytes(nbytes))
    return folder / name


def test_names_say_where_a_directory_goes(tmp_path):
    name = new_name("int8-fuse")
    assert is_leftover(name) and name_in_place(tmp_path / name) == "int8-fuse"
    for other in ("int8", ".out.partial", ".out.0123456.partial", "out.01234567.partial", ".out.01234567.gone"):
        assert not is_leftover(other) and name_in_place(tmp_path / other) == other


def test_what_is_left_is_removed_and_counted(tmp_path):
    leftover(tmp_path, ".a.01234567.partial", 7)
    leftover(tmp_path, ".b.01234567.partial", 8)
    leftover(tmp_path, "a")
    assert put_right(tmp_path, "a") == (1, 7)
    assert put_right(tmp_path) == (1, 8)
    assert put_right(tmp_path) == (0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_in_use_stays(tmp_path):
    used = leftover(tmp_path, ".a.01234567.partial")
    with in_use(used):
        assert put_right(tmp_path) == (0, 0)
    assert put_right(tmp_path) == (1, 5)


def test_what_was_set_aside_comes_back_unless_its_place_is_taken(tmp_path):
    leftover(tmp_path, ".a.01234567.replaced")
    assert put_right(tmp_path) == (0, 0)
    assert (tmp_path / "a" / "deep" / "file").is_file()
    leftover(tmp_path, ".a.76543210.replaced")
    assert put_right(tmp_path) == (1, 5)


def test_files_and_links_of_such_a_name_stay(tmp_path):
    (tmp_path / ".a.01234567.partial").touch()
    (tmp_path / ".b.01234567.partial").symlink_to(tmp_path)
    assert put_right(tmp_path) == (0, 0)
    assert len(list(tmp_path.iterdir())) == 2
    assert put_right(tmp_path / "missing") == (0, 0)


def test_what_another_process_removes_meanwhile_is_no_failure(tmp_path):
    with in_use(tmp_path / "gone"):
        pass
    (tmp_path / ".a.01234567.partial").mkdir()
    os.symlink("nowhere", tmp_path / ".a.01234567.partial" / "link")
    assert put_right(tmp_path) == (1, len("nowhere"))
