"""A template is a stranger's program: it renders a chat, refuses it, or is ended."""

import pytest

from compress.corpus import chat_template
from compress.corpus.chat_template import RefusedChatError, render_chat
from compress.errors import ModelError
from tests.support.words import word_tokenizer

CHAT = [{"role": "user", "content": "worda wordb"}]


def rendered(template, **options):
    tokenizer = word_tokenizer()
    tokenizer.chat_template = template
    return render_chat(tokenizer, CHAT, **options)


def test_a_chat_is_rendered():
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<{% endif %}"
    )
    assert rendered(template) == "<user>worda wordb"
    assert rendered(template, add_generation_prompt=True) == "<user>worda wordb<"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('no user\\nhere') }}", "no user"),
        ("{{ messages.append(1) }}", "access to attribute 'append' of 'list' object is unsafe."),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe."),
        ("{{ range(10 ** 9) }}", "Range too big"),
        ("{% for x in %}", "Expected an expression, got 'end of statement block'"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_a_refusal_has_the_templates_reason(template, reason):
    with pytest.raises(RefusedChatError, match=f"^{reason}"):
        rendered(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 10 ** (10 ** 8) }}",
        "{{ 'a' * 10 ** 11 }}",
        "{{ 'a' * 2 ** 27 }}",
        "{{ 'a'.center(10 ** 11) }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{% for i in range(99999) %}{{ 'a' * 10 ** 6 }}{% endfor %}",
    ],
)
def test_a_template_that_computes_without_end_is_ended(template, monkeypatch):
    monkeypatch.setattr(chat_template, "_SECONDS", 0.3)
    with pytest.raises(
        ModelError, match=r"^the chat template of .* takes more than 0 s, 1 GiB or 67,108,864 characters"
    ):
        rendered(template)
