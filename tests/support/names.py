"""Hostile names of models, files and variants: what people, shells and attackers put into them."""

from __future__ import annotations

import os

HOSTILE = (
    "my: model #1", "plain", " leading and trailing ", "two  blanks", "tab\there", "new\nline", "crlf\r\nline",
    "\n\n# heading", "--- ", "---\nlicense: mit\n---", "- item", "+ item", "1. item", "=cmd()", "=1+1", "+1",
    "-1", "@sum", "'quoted'", '"quoted"', "it's", "`code`", "```fence", "a|b", "a\\|b", "a\\",
    "\\input{/etc/passwd}", "\\end{tabular}", "100%", "$x$", "$\\frac{", "#1", "a_b_c", "_hidden", "__init__",
    "*bold*", "~~gone~~", "^^4d", "a & b", "&lt;b&gt;", "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "</td></tr></table>", "<!-- scores -->", "-->",
    "[link](https://example.org)", "![image](https://example.org/x.png)", "https://example.org/x",
    "www.example.org", "me@example.org", "[bold red]rich[/bold red]", "{{ 7 * 7 }}", "{% raw %}", "{#",
    "%s %d {0}", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "nul\x00byte", "bell\x07", "\x9b31m",
    "back\x08space", "\u202egnp.exe", "\u2066x\u2069", "\u200bzero", "\ufeffbom", "line\u2028separator",
    "\ufffe", "no\u00a0break", "é ü ß ł", "模型", "モデル", "🤖 robot 👩‍👩‍👧", "Ελληνικά",
    "https://user:pass@example.org", "a,b;c", "null", "true", "1e3", "0x10", "~", "!tag", "&anchor", "*alias",
    "? key", "x" * 300, "$(touch x)", "; rm -rf ~", "a'b\"c`d", "::error::x",
    "::set-output name=x::y", "${{ secrets.TOKEN }}", "</script><script>", "%0A::error::x", "]]>",
    "\\N{BULLET}", "../../etc/passwd", os.fsdecode(b"not\xffutf8"), "\ud83d",
)  # fmt: skip
