"""Task files that would run code are refused by line, others pass; templates reach no Python."""

import pytest
from jinja2.exceptions import SecurityError
from lm_eval import utils

from compress.benchmarks.data.task_file import check_task_file, sandbox_templates
from compress.errors import UsageError


@pytest.fixture
def file(tmp_path):
    def write(text, name="task.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_plain_tasks_pass(file):
    file("output_type: multiple_choice", "base.yaml")
    check_task_file(file("task: a\ninclude: base.yaml\nmetric_list:\n- {metric: acc}\n- metric: exact_match"))


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("task: a\nprocess_docs: !function utils.docs", 2, "!function utils.docs"),
        ("task: a\ndoc_to_text: [!!python/name:os.system ]", 2, "tag:yaml.org,2002:python/name:os.system"),
        ("metric_list:\n- metric: acc\n  hf_evaluate: true", 3, "hf_evaluate"),
        ("metric_list:\n- metric: ./evil", 2, "the metric ./evil, which lm-eval doesn't have"),
        ("task: a\nclass: !function task.Mine", 2, "!function task.Mine"),
    ],
)
def test_code_is_refused(file, text, line, reason):
    with pytest.raises(UsageError) as error:
        check_task_file(file(text))
    assert f"task.yaml, line {line}, would run code ({reason}" in str(error.value)


def test_code_in_an_included_file_is_refused_and_circles_end(file):
    file("include: task.yaml\ndoc_to_text: !function evil.f", "base.yaml")
    with pytest.raises(UsageError, match=r"base\.yaml, line 2, would run code \(!function evil\.f\)"):
        check_task_file(file("include: [base.yaml]"))


@pytest.mark.parametrize("text", ["a: [", "\x00", "a: *none"])
def test_what_is_no_yaml_is_refused(file, text):
    with pytest.raises(UsageError, match="can't read the task file"):
        check_task_file(file(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: " + "[" * 20_000 + "]" * 20_000, "more than 100 levels or 10000 values"),
        ("\n".join(" " * i + "a:" for i in range(400)), "more than 100 levels"),
        ("a: [" + "1," * 100_000 + "1]", "more than 100 levels or 10000 values"),
        ("a: " + "b" * 2_000_000, "more than 1048576 bytes"),
        ("\udcff", "invalid start byte"),
    ],
    ids=range(5),
)
def test_what_no_task_is_like_is_refused_at_once(tmp_path, text, reason):
    """PyYAML would take minutes."""
    (tmp_path / "task.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(UsageError, match=rf"can't read the task file .*task\.yaml \(.*{reason}"):
        check_task_file(tmp_path / "task.yaml")


def test_a_chain_of_files_ends(file):
    for i in range(200):
        file(f"include: {i + 1}.yaml", f"{i}.yaml")
    with pytest.raises(UsageError, match=r"/100\.yaml \(it comes after 100 others"):
        check_task_file(file("include: 1.yaml", "0.yaml"))


def test_aliases_are_read_once(file):
    rows = "\n".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(40))
    check_task_file(file(f"a0: &a0 [x]\n{rows}"))


def test_templates_reach_no_python():
    sandbox_templates()
    assert utils.apply_template("{{a|regex_replace('x', 'y')}}", {"a": "xx"}) == "yy"
    with pytest.raises(SecurityError):
        utils.apply_template("{{''.__class__.__mro__[1].__subclasses__()}}", {})
