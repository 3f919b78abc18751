"""Where a license is found, and how it is passed on."""

import json

import pytest
import yaml

from compress.checkpoint.writing.license import find_license
from compress.checkpoint.writing.model_card import write_card
from tests.support.manifests import manifest

APACHE = "\n                                 Apache License\n                           Version 2.0, January 2004\n"


def write(folder, readme=None, config=None, **files):
    if readme is not None:
        (folder / "README.md").write_text(readme)
    if config is not None:
        (folder / "config.json").write_text(config)
    for name, text in files.items():
        (folder / name).write_text(text)
    return find_license(folder)


@pytest.mark.parametrize(
    ("files", "fields", "file"),
    [
        ({"readme": "---\nlicense: mit\ntags: [a]\n---\n# x\n", "LICENSE": APACHE}, {"license": "mit"}, "LICENSE"),
        ({"config": '{"license": "apache-2.0"}'}, {"license": "apache-2.0"}, None),
        ({"LICENSE": APACHE}, {"license": "apache-2.0"}, "LICENSE"),
        ({"LICENCE": "MIT License\n\nCopyright"}, {"license": "mit"}, "LICENCE"),
        ({"LICENSE": "Only on Sundays."}, {"license": "other"}, "LICENSE"),
        ({"readme": "---\nlicense: [\n---\n", "config": "{"}, {}, None),
        ({"readme": "---\n- a\n---\n", "config": "[]"}, {}, None),
        ({"readme": "no front matter"}, {}, None),
        ({}, {}, None),
    ],
)
def test_where_a_license_is_found(tmp_path, files, fields, file):
    license = write(tmp_path, **files)
    assert (license.fields, license.file) == (fields, file)


def front_matter(folder, license):
    """What the hub reads of a card with that license."""
    write_card(folder, manifest(weights={}, layers={}), license)
    _, front, _ = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front)


def test_a_named_license_keeps_its_name_and_link(tmp_path):
    matter = {"license": "other", "license_name": "my: own", "license_link": "https://example.org/a#b"}
    license = write(tmp_path, readme=f"---\n{yaml.safe_dump(matter)}---\n")
    assert front_matter(tmp_path, license) == {"base_model": "llama", "library_name": "transformers", **matter}
    assert str(license) == "The base model's license holds for this variant too: my: own, https://example.org/a#b."


def test_no_value_breaks_out_of_the_front_matter(tmp_path):
    license = write(tmp_path, config=json.dumps({"license": "mit\n---\n# hello"}))
    assert front_matter(tmp_path, license)["license"] == "mit\n---\n# hello"
    assert str(license).splitlines() == [
        "The base model's license holds for this variant too: mit\\\\n---\\\\n# hello."
    ]


def test_a_checkpoint_without_a_license_says_so(tmp_path):
    assert str(write(tmp_path)).startswith("The base model doesn't name its license")
