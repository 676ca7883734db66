"""What the Markdown tests share: sources with the nodes they become, texts that stream in, and attacks."""

from __future__ import annotations

# Nodes are written as the tests' `outline` does: like HTML, links without their fixed `rel` and `target`.
CASES: dict[str, dict[str, str]] = {
    "paragraphs": {
        "": "",
        " \n\n\t\n": "",
        "One\ntwo": "<p>One<br>two</p>",
        "One  \r\n  two\rthree": "<p>One<br>two<br>three</p>",
        "One\\\ntwo\\": "<p>One<br>two\\</p>",
        "One\n\n\n\ntwo": "<p>One</p><p>two</p>",
        "<b onclick=x>no</b> &amp; &lt;": "<p>&lt;b onclick=x>no&lt;/b> &amp;amp; &amp;lt;</p>",
        "Perché no? Rp 50.000,00 👩‍👩‍👧 שלום e\u0301": "<p>Perché no? Rp 50.000,00 👩‍👩‍👧 שלום e\u0301</p>",
        "    four spaces": "<p>four spaces</p>",
    },
    "headings and rules": {
        "# One": "<h3>One</h3>",
        "## Two ##": "<h4>Two</h4>",
        "### C#": "<h5>C#</h5>",
        "#### Four\n##### Five\n###### Six": "<h6>Four</h6><h6>Five</h6><h6>Six</h6>",
        "####### Seven": "<p>####### Seven</p>",
        "#hashtag\n#": "<p>#hashtag<br>#</p>",
        "# #": "<h3></h3>",
        "Text\n# A *title*\nmore": "<p>Text</p><h3>A <em>title</em></h3><p>more</p>",
        "---": "<hr>",
        "a\n***\n_ _ _\n- - -": "<p>a</p><hr><hr><hr>",
        "--": "<p>--</p>",
        "--*": "<p>--*</p>",
    },
    "emphasis": {
        "**a** __b__ *c* _d_ ~~e~~": (
            "<p><strong>a</strong> <strong>b</strong> <em>c</em> <em>d</em> <del>e</del></p>"
        ),
        "***a***": "<p><em><strong>a</strong></em></p>",
        "***a** b*": "<p><em><strong>a</strong> b</em></p>",
        "**a *b***": "<p><strong>a <em>b</em></strong></p>",
        "*a **b***": "<p><em>a <strong>b</strong></em></p>",
        "*a**b*": "<p><em>a**b</em></p>",
        "**a\nb**": "<p><strong>a<br>b</strong></p>",
        "un*believ*able snake_case_name __init__x": "<p>un<em>believ</em>able snake_case_name __init__x</p>",
        "2 * 3 * 4, 5 ** 6 ** 7": "<p>2 * 3 * 4, 5 ** 6 ** 7</p>",
        "**Note:**text **“quoted”**text": "<p><strong>Note:</strong>text <strong>“quoted”</strong>text</p>",
        "**open *and* more": "<p>**open <em>and</em> more</p>",
        "*a _b* c_": "<p><em>a _b</em> c_</p>",
        "a** b*": "<p>a** b*</p>",
        "**": "<p>**</p>",
        "****": "<hr>",
        "~5 days~ ~~~": "<p>~5 days~ ~~~</p>",
        "**😀**_𝒶_𝒷_": "<p><strong>😀</strong><em>𝒶_𝒷</em></p>",
        "*x y_ z* _w_": "<p><em>x y_ z</em> <em>w</em></p>",
        "*1* **2** *3": "<p><em>1</em> <strong>2</strong> *3</p>",
    },
    "escapes and code": {
        r"\*a\* \# \[b\](c) \\ \q \`": r"<p>*a* # [b](c) \ \q `</p>",
        "`a*b*` ``c`d`` ` e ` `  `": "<p><code>a*b*</code> <code>c`d</code> <code>e</code> <code>  </code></p>",
        "`<script>` `a\nb`": "<p><code>&lt;script></code> <code>a b</code></p>",
        "`open ``two` x": "<p><code>open ``two</code> x</p>",
        "`open **a**": "<p>`open <strong>a</strong></p>",
        "**a`b**`": "<p>**a<code>b**</code></p>",
        r"\``a`": "<p>`<code>a</code></p>",
        r"\``a": "<p>``a</p>",
        r"`a\`b`": "<p><code>a\\</code>b`</p>",
        "``a` `b``": "<p><code>a` `b</code></p>",
        "`a` ``b` `c`": "<p><code>a</code> ``b<code> </code>c`</p>",
    },
    "fenced code": {
        "```\na\n\n  <b>*b*\n```\nc": "<pre><code>a\n\n  &lt;b>*b*</code></pre><p>c</p>",
        "```py\nif a:\n\tb()\n```": "<pre><code>if a:\n\tb()</code></pre>",
        "~~~ `x`\na\n```\n~~~~": "<pre><code>a\n```</code></pre>",
        "````\n```\n````": "<pre><code>```</code></pre>",
        "text\n```\nopen": "<p>text</p><pre><code>open</code></pre>",
        "```": "<pre><code></code></pre>",
        "```\n": "<pre><code></code></pre>",
        "```a``` b": "<p><code>a</code> b</p>",
        "- a\n  ```\n  b\n    c\n  ```\n- d": "<ul><li>a<pre><code>b\n  c</code></pre></li><li>d</li></ul>",
        "  ```\n\ta\n b\n  ```": "<pre><code>  a\nb</code></pre>",
    },
    "lists": {
        "- a\n- b": "<ul><li>a</li><li>b</li></ul>",
        "* **a**\n* b": "<ul><li><strong>a</strong></li><li>b</li></ul>",
        "+ a\n\n+ b\n\nc": "<ul><li>a</li><li>b</li></ul><p>c</p>",
        "1. a\n2. b": "<ol><li>a</li><li>b</li></ol>",
        "3) a\n4) b": '<ol start="3"><li>a</li><li>b</li></ol>',
        "0. a": '<ol start="0"><li>a</li></ol>',
        "1. a\n\n   more\n\n2. b": "<ol><li>a<p>more</p></li><li>b</li></ol>",
        "- a\n  - b\n    - c\n  - d\n- e": (
            "<ul><li>a<ul><li>b<ul><li>c</li></ul></li><li>d</li></ul></li><li>e</li></ul>"
        ),
        "1. a\n  - b\n    - c\n2. d": "<ol><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ol>",
        "1. a\n\t- b\n\t\t- c": "<ol><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li></ol>",
        " - a\n- b\n - c": "<ul><li>a</li><li>b</li><li>c</li></ul>",
        "-     a\n      b\n  - c\n    - d": "<ul><li>a<br>b<ul><li>c<ul><li>d</li></ul></li></ul></li></ul>",
        "- a\n- - -\n- b": "<ul><li>a</li></ul><hr><ul><li>b</li></ul>",
        "- a\n* b": "<ul><li>a</li></ul><ul><li>b</li></ul>",
        "1. a\n- b\n2. c": '<ol><li>a</li></ol><ul><li>b</li></ul><ol start="2"><li>c</li></ol>',
        "- a\n-\n- c": "<ul><li>a</li><li></li><li>c</li></ul>",
        "- - a\n  - b": "<ul><li><ul><li>a</li><li>b</li></ul></li></ul>",
        "- # a\n- > b": "<ul><li><h3>a</h3></li><li><blockquote><p>b</p></blockquote></li></ul>",
        "- a\n  b\nc": "<ul><li>a<br>b</li></ul><p>c</p>",
        "Two:\n- a\n1. b": "<p>Two:</p><ul><li>a</li></ul><ol><li>b</li></ol>",
        "It was\n2025. Then\n1. a": "<p>It was<br>2025. Then</p><ol><li>a</li></ol>",
        "-": "<p>-</p>",
        "-5 and 1.5": "<p>-5 and 1.5</p>",
        "1234567890. a": "<p>1234567890. a</p>",
    },
    "quotations": {
        "> a\n> b\nc": "<blockquote><p>a<br>b</p></blockquote><p>c</p>",
        ">a\n>\n> - b\n>   - c": "<blockquote><p>a</p><ul><li>b<ul><li>c</li></ul></li></ul></blockquote>",
        "a\n> > b": "<p>a</p><blockquote><blockquote><p>b</p></blockquote></blockquote>",
        "> ```\n> a\n\nb": "<blockquote><pre><code>a</code></pre></blockquote><p>b</p>",
        ">": "<blockquote></blockquote>",
        ">" * 10 + " a": "<blockquote>" * 8 + "<p>>> a</p>" + "</blockquote>" * 8,
        "- " * 10 + "a": "<ul><li>" * 8 + "- - a" + "</li></ul>" * 8,
    },
    "tables": {
        "| A | B |\n|---|--:|\n| 1 | **2** |": (
            '<table><thead><tr><th>A</th><th class="right">B</th></tr></thead>'
            '<tbody><tr><td>1</td><td class="right"><strong>2</strong></td></tr></tbody></table>'
        ),
        "A | B\n:-|:-:\n1 | 2\n\nc": (
            '<table><thead><tr><th>A</th><th class="center">B</th></tr></thead>'
            '<tbody><tr><td>1</td><td class="center">2</td></tr></tbody></table><p>c</p>'
        ),
        "See:\n| A |\n|---|\ntext": "<p>See:</p><table><thead><tr><th>A</th></tr></thead></table><p>text</p>",
        "| A | B |\n|---|---|\n| 1 |\n| 1 | 2 | 3 |": (
            "<table><thead><tr><th>A</th><th>B</th></tr></thead>"
            "<tbody><tr><td>1</td></tr><tr><td>1</td><td>2</td><td>3</td></tr></tbody></table>"
        ),
        "| A |\n|---|\n| `a\\|b` \\| |\n||": (
            "<table><thead><tr><th>A</th></tr></thead>"
            "<tbody><tr><td><code>a|b</code> |</td></tr><tr><td></td></tr></tbody></table>"
        ),
        "| A | B |\n|--": "<table><thead><tr><th>A</th><th>B</th></tr></thead></table>",
        "| A | B |\n|--|\nx": "<p>| A | B |<br>|--|<br>x</p>",
        "| A | B |\n|--|:|\nx": "<p>| A | B |<br>|--|:|<br>x</p>",
        "| A | B |": "<p>| A | B |</p>",
        "| A |\n| - | - | -": "<p>| A |<br>| - | - | -</p>",
        "a | b\n---": "<p>a | b</p><hr>",
        "- | A |\n  |---|\n  | 1 |": (
            "<ul><li><table><thead><tr><th>A</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table></li></ul>"
        ),
    },
    "links": {
        "[a](https://example.com)": '<p><a href="https://example.com/">a</a></p>',
        '[*a* `b`](HTTP://EXAMPLE.com/x "T & <t>")': (
            '<p><a href="http://example.com/x" title="T &amp; &lt;t>"><em>a</em> <code>b</code></a></p>'
        ),
        "[a]( <https://example.com/x> 'T' )": '<p><a href="https://example.com/x" title="T">a</a></p>',
        "[a](https://example.com/(y\\)) b)": (
            '<p>[a](<a href="https://example.com/(y">https://example.com/(y</a>)) b)</p>'
        ),
        "[a](https://example.com/x_(y)) b": '<p><a href="https://example.com/x_(y)">a</a> b</p>',
        "[a](https://example.com/x\\_y)": '<p><a href="https://example.com/x_y">a</a></p>',
        "**[a](https://example.com) b**": '<p><strong><a href="https://example.com/">a</a> b</strong></p>',
        "*[a*](https://example.com)*": '<p><em><a href="https://example.com/">a*</a></em></p>',
        "[**a](https://example.com)**": '<p><a href="https://example.com/">**a</a>**</p>',
        "[a[b]](https://example.com)": '<p><a href="https://example.com/">a[b]</a></p>',
        "[a [b](https://b.example.com)](https://a.example.com)": (
            '<p>[a <a href="https://b.example.com/">b</a>](<a href="https://a.example.com/">https://a.example.com</a>)</p>'
        ),
        "[https://b.example.com](https://a.example.com)": '<p><a href="https://a.example.com/">https://b.example.com</a></p>',
        "[](https://example.com)": '<p><a href="https://example.com/">https://example.com/</a></p>',
        "[a\nb](https://example.com)": '<p><a href="https://example.com/">a<br>b</a></p>',
        "[a] (https) [b](/c) [d](//e) [f](g.html) [h](#i) [j]": (
            "<p>[a] (https) [b](/c) [d](//e) [f](g.html) [h](#i) [j]</p>"
        ),
        "[a](mailto:a@example.com) [b](https:c) [d](https:///e) [f]()": (
            "<p>[a](mailto:a@example.com) [b](https:c) [d](https:///e) [f]()</p>"
        ),
        "[a](<https://exa\tmple.com>) [b](<https://exa\u200bmple.com>)": (
            '<p>[a](&lt;<a href="https://exa/">https://exa</a>\tmple.com>) [b](&lt;https://exa\u200bmple.com>)</p>'
        ),
        "[a](https://example.com b)": '<p>[a](<a href="https://example.com/">https://example.com</a> b)</p>',
        "a] b](https [c](d": "<p>a] b](https [c](d</p>",
    },
    "bare addresses": {
        "<https://example.com/a?b=c&d>": '<p><a href="https://example.com/a?b=c&amp;d">https://example.com/a?b=c&amp;d</a></p>',
        "See https://example.com/a_b_c.": (
            '<p>See <a href="https://example.com/a_b_c">https://example.com/a_b_c</a>.</p>'
        ),
        "(https://example.com/x_(y)) **https://example.com**": (
            '<p>(<a href="https://example.com/x_(y)">https://example.com/x_(y)</a>) '
            '<strong><a href="https://example.com/">https://example.com</a></strong></p>'
        ),
        "_https://example.com_ ~~https://example.com~~": (
            '<p><em><a href="https://example.com/">https://example.com</a></em> '
            '<del><a href="https://example.com/">https://example.com</a></del></p>'
        ),
        "xhttps://example.com https:// https://) http://%": "<p>xhttps://example.com https:// https://) http://%</p>",
        "<https://> <mailto:a@example.com> <https://a b>": (
            '<p>&lt;https://> &lt;mailto:a@example.com> &lt;<a href="https://a/">https://a</a> b></p>'
        ),
        "https://example.com，这里": '<p><a href="https://example.com/">https://example.com</a>，这里</p>',
        "https://bank.example.com@example.org": "<p>https://bank.example.com@example.org</p>",
        "`https://example.com`": "<p><code>https://example.com</code></p>",
    },
    "images": {
        "![A *map*](https://example.com/a.png)": '<p><a href="https://example.com/a.png">A <em>map</em></a></p>',
        "![](https://example.com/a.png)": ('<p><a href="https://example.com/a.png">https://example.com/a.png</a></p>'),
        "![a](data:image/png;base64,AA) ![b](c.png)": "<p>![a](data:image/png;base64,AA) ![b](c.png)</p>",
        "wow![a](https://example.com) !": '<p>wow<a href="https://example.com/">a</a> !</p>',
    },
}

# Whole answers, for rendering piece by piece.
DOCUMENTS = [
    "# KITAS 😀\n\nThe **investor KITAS** costs `Rp 3` million:\n\n1. Apply at <https://example.com/apply>\n"
    "   - passport\n   - *letter*\n2. Pay\n\n> Quoted **words**\n> - nested\n\nDone.",
    '| Visa | Cost |\n|:-----|-----:|\n| C1 | **Rp 1** |\n| C2 | [fee](https://example.com/x_(y) "Fee") |\n\n'
    "```py\na = 1\n```\n~~old~~ ![map](https://example.com/map.png) \\*no\\*\n\n---\n\nL'ultima riga 👩‍👩‍👧 שלום.",
    "- a\r\n  - b\r\n    ~~~\r\n    code\r\n    ~~~\r\n- __c__ ***d*** ``e`f``\r\n\r\nText\r\n***\r\n"
    "[x](javascript:alert(1)) <img src=x>",
]

_ADDRESSES = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    "\x01javascript:alert(1)",
    "\x00javascript:alert(1)",
    "javascript&colon;alert(1)",
    "&#106;avascript:alert(1)",
    "&#x6A&#x61vascript:alert(1)",
    "javascript\\:alert(1)",
    "\\javascript:alert(1)",
    "javascript://example.com/%0aalert(1)",
    "javascript:/*https://example.com*/alert(1)",
    "java%73cript:alert(1)",
    "ｊavascript:alert(1)",
    "jаvascript:alert(1)",  # a Cyrillic letter
    "\u200bjavascript:alert(1)",
    "\ufeffjavascript:alert(1)",
    "\u202ejavascript:alert(1)",
    "<javascript:alert(1)>",
    "vbscript:msgbox(1)",
    "VBSCRIPT:msgbox(1)",
    "livescript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "DATA:image/svg+xml,<svg onload=alert(1)>",
    "blob:https://example.com/1",
    "file:///etc/passwd",
    "ftp://example.com",
    "view-source:https://example.com",
    "//example.com",
    "///example.com",
    "\\\\example.com",
    "https:example.com",
    "https:\\\\example.com",
    "https:/example.com",
    "https://\texample.com",
    "https://user:secret@example.com",
    "https://example.org@example.com",
    "httpſ://example.com",
    "?next=javascript:alert(1)",
    "#target",
]

ATTACKS = [
    *(f"[x]({address})" for address in _ADDRESSES),
    *(f"![x]({address})" for address in _ADDRESSES[:6]),
    *(f"<{address}>" for address in _ADDRESSES),
    *_ADDRESSES,
    "<script>alert(1)</script>",
    "<ScRiPt src=//example.com/x.js></sCrIpT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src=https://example.com/leak.png>",
    '![x](x" onerror="alert(1))',
    '![x](https://example.com/a.png "onerror=alert(1)")',
    "![](https://example.com/leak?secret)",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    "<math><mtext><img src=x onerror=alert(1)></mtext></math>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)>",
    "<embed src=https://example.com/x.swf>",
    "<base href=https://example.com/>",
    "<meta http-equiv=refresh content='0;url=https://example.com'>",
    "<link rel=stylesheet href=https://example.com/x.css>",
    "<style>@import 'https://example.com/x.css';</style>",
    "<form action=https://example.com><input name=getElementById></form>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<a href=javascript:alert(1)>x</a>",
    "<p id=target name=render>x</p>",
    "<img name=body><img name=cookie>",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "</div></body><script>alert(1)</script>",
    '[x](https://example.com "\\" onmouseover=\\"alert(1)")',
    "[x](https://example.com '\" onmouseover=\"alert(1)')",
    '[x](https://example.com/" onmouseover="alert(1))',
    "[x](https://example.com/'onmouseover='alert(1))",
    "[x](https://example.com/><script>alert(1)</script>)",
    '[x](<https://example.com/" onclick=alert(1)>)',
    '"><script>alert(1)</script>',
    "[<img src=x onerror=alert(1)>](https://example.com)",
    "[![x](javascript:alert(1))](javascript:alert(2))",
    "[![x](https://example.com/a)](javascript:alert(2))",
    "[a [b](javascript:alert(1)) c](https://example.com)",
    "[a](javascript:[b](https://example.com))",
    "[a](https://example.com)(javascript:alert(1))",
    "[a]: javascript:alert(1)\n\n[a][a] [a][] [a]",
    "[x](https://example.com\\\\@example.org)",
    'https://example.com/"onclick=alert(1)//',
    "https://example.com\\@example.org",
    '<https://example.com/"onclick="alert(1)>',
    "`<script>alert(1)</script>`",
    "```<script>\n</code></pre><script>alert(1)</script>\n```",
    '```"onclick=alert(1)\nx\n```',
    "| <script>alert(1)</script> | [x](javascript:1) |\n|---|---|\n| <img src=x> | ![x](data:,) |",
    '| a |\n|:-:" onclick="alert(1)|\n| b |',
    '99" onclick="alert(1). item',
    "\ue000\ue001\uefff forged marks",
    "[x](https://example.com/\ue000)",
    "`\ue000` **\ue001**",
    "__proto__ constructor toString",
    "[__proto__](https://example.com/__proto__)",
    "{{constructor.constructor('alert(1)')()}}",
    "\ud800 lone, \udfff lone",
]

# Much of the same: what makes careless parsers take ages. Each is repeated to 200,000 characters.
REPEATED = [
    *"*_~`[]()<>|#-\\!\n ",
    *("*a", " *a **b", "a* b** ", "_a ", "~~a ", "*a_ ", "**a*b", "***a* ", "é*"),
    *("[a", "[a](b", "![a](", "[a](<", '[a](b "', "[a](b '", "[a](\\(", "]("),
    *("[a](https://b)", "[a](https://b (", "https://", "https://%", "https://a,", "https://a)", "<https://a"),
    *("`a``b", "`` ` ", "\\`", "```\n", "~~~a\n", "```x`\n"),
    *("> ", ">\n", "> a\n>\n", "- ", "1. ", "* a\n+ b\n", "- a\n  - b\n    - c\n", "- a\n\n"),
    *("|-", "| a |\n", "|-|\n", "|a|b|\n|-|-|\n", "\\|", "# #", "a # ", "* * x", "---\n"),
    *("😀", "\ue000", "a\n"),
]
