"""Text that others chose, made harmless for terminals and Markdown."""

import os

import pytest
from markdown_it import MarkdownIt

from compress.escape import encodable, markdown_block, markdown_code, markdown_text, printable, printable_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with blanks – and 模型 🤖", "plain, with blanks – and 模型 🤖"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[31mred\x1b[0m\x9b\x00\x7f", r"\x1b[31mred\x1b[0m\x9b\x00\x7f"),
        ("\u202egnp.exe\u2066\u200b\ufeff\u2028", r"\u202egnp.exe\u2066\u200b\ufeff\u2028"),
        ("\ud83d\ufffe\U0010ffff\U000e0041", r"\ud83d\ufffe\U0010ffff\U000e0041"),
        ("👩\u200d👧", "👩\u200d👧"),  # joined by a character that shows nothing, and turns nothing
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    assert printable(f"{text}\n{text}", lines=True) == "\n".join(
        [printable(line) for line in f"{text}\n{text}".split("\n")]
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("int8: 2× as fast", "int8: 2× as fast"),
        ("::set-output name=x::y", "\\::set-output name=x::y"),
        ("  ::stop-commands::x", "\\  ::stop-commands::x"),
        ("a::b ## [x]", "a::b ## [x]"),
        ("a ##[error]x ##vso[task.setvariable]y", "a #\\#[error]x #\\#vso[task.setvariable]y"),
        ("\n::error::x", "\\n::error::x"),
    ],
)
def test_a_line_of_output_is_no_command_of_a_ci_job(text, line):
    assert printable_line(text) == line


def test_what_utf8_cannot_hold_is_spelled_out_and_nothing_else():
    assert encodable(os.fsdecode(b"a\xff\n")) == "a\\udcff\n"
    assert encodable("a\x1b") == "a\x1b"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("int8,fuse of 2.5× at 1.2 GHz (R) @ x", "int8,fuse of 2.5× at 1.2 GHz (R) @ x"),
        ("group_size __init__ _x", r"group_size \_\_init\_\_ \_x"),
        ("a|b a\\|b", r"a\|b a\\\|b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("[x](y) `c` *e* ~d~ $m$ {{v}}", r"\[x\](y) \`c\` \*e\* \~d\~ \$m\$ &#123;&#123;v&#125;&#125;"),
        ("https://x.org www.x.org me@x.org", "https&#58;//x.org www&#46;x.org me&#64;x.org"),
        ("- a", r"\- a"),
        ("-1", "-1"),
        ("1. a", r"1\. a"),
        ("1.5", "1.5"),
        ("# a", r"\# a"),
        ("#1", "#1"),
        ("---", r"\---"),
    ],
)
def test_markdown_text(text, escaped):
    assert markdown_text(text) == escaped


@pytest.mark.parametrize("text", ["a", "a`b", "``", "a|b", "a\\|b", " ", "", "`a", "<b>", "a\nb"])
def test_markdown_code_is_one_piece_of_code(text):
    for page in (markdown_code(text), f"| x |\n| --- |\n| {markdown_code(text)} |"):
        tokens = MarkdownIt("commonmark").enable("table").parse(page)
        children = [child for token in tokens for child in token.children or ()]
        assert {child.type for child in children} <= {"code_inline", "html_inline", "text", "text_special"}
        content = "".join(child.content for child in children).replace("<code>", "").replace("</code>", "")
        assert content.removeprefix("x").strip() == printable(text).strip()


def test_a_block_of_code_ends_where_it_should():
    assert markdown_block("a ``` b") == ["````", "a ``` b", "````"]
    assert markdown_block("a\n```\nb") == ["````", r"a\n```\nb", "````"]
    assert markdown_block("plain") == ["```", "plain", "```"]
