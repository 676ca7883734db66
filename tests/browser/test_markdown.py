"""The Markdown of the test page, in a real browser under the page's own content security policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from browser.markdown_cases import ATTACKS, CASES, DOCUMENTS, REPEATED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.async_api import Browser, Page

from zantara_stream.web.page import STATIC

pytestmark = pytest.mark.browser

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'"
BLANK = (
    "<!doctype html><meta charset=utf-8><title>blank</title><link rel=icon href=/icon.svg>"
    "<script type=module src=/made.js></script><div id=target>"
)

# What the tests need within the page, as globals.
SCRIPT = r"""
import { render } from "/markdown.js";

const TAGS = new Set("P H3 H4 H5 H6 HR PRE CODE BLOCKQUOTE UL OL LI TABLE THEAD TBODY TR TH TD BR STRONG EM DEL A SUP"
  .split(" "));
const VALUES = {
  A: { href: /^https?:\/\/[^/]/, title: /^/, rel: /^noopener noreferrer nofollow$/, target: /^_blank$/ },
  OL: { start: /^\d+$/ }, TH: { class: /^(right|center)$/ }, TD: { class: /^(right|center)$/ },
};
const MARK = { href: /^#quote-\d+$/, class: /^reference$/, "aria-label": /^Quote / };

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

function outline(node) {
  if (node.nodeType === Node.TEXT_NODE) return escaped(node.data);
  const inside = outlineOf(node);
  const safe = node.rel === "noopener noreferrer nofollow" && node.target === "_blank";
  const attributes = [...node.attributes].filter(({ name }) => !safe || !["rel", "target"].includes(name));
  const name = node.localName;
  const start = attributes.map(({ name, value }) => ` ${name}="${escaped(value)}"`).join("");
  return ["br", "hr"].includes(name) ? `<${name}>` : `<${name}${start}>${inside}</${name}>`;
}

const outlineOf = (root) => [...root.childNodes].map(outline).join("");

// Whatever no answer may become.
function faults(root) {
  const found = [];
  for (const node of root.querySelectorAll("*")) {
    const allowed = node.className === "reference" ? MARK : (VALUES[node.tagName] ?? {});
    if (!TAGS.has(node.tagName)) found.push(node.tagName);
    if (node.tagName === "A" && (node.parentNode.closest("a") || !node.hasAttribute("href"))) found.push("odd link");
    if (node.tagName === "A" && allowed !== MARK && (!node.rel || !node.target)) found.push("trusted link");
    for (const { name, value } of node.attributes)
      if (!allowed[name]?.test(value)) found.push(`${node.tagName} ${name}=${value}`);
  }
  return found;
}

function depth(root) {
  const deeper = [...root.children].map((child) => depth(child) + 1);
  return deeper.reduce((one, other) => Math.max(one, other), 0);
}

function made(text, references) {
  const root = document.createElement("div");
  render(root, text, references);
  return root;
}

Object.assign(globalThis, { render, outlineOf, faults, depth, made, target: document.getElementById("target") });
globalThis.broken = [];
document.addEventListener("securitypolicyviolation", (event) => broken.push(event.blockedURI));
"""

Start = Callable[[web.Application], Awaitable[str]]


async def blank(request: web.Request) -> web.Response:
    return web.Response(text=BLANK, content_type="text/html", headers={"Content-Security-Policy": POLICY})


async def script(request: web.Request) -> web.Response:
    return web.Response(text=SCRIPT, content_type="text/javascript")


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, start: Start) -> AsyncIterator[Page]:
    """A blank page with `SCRIPT`'s names; it must see no error, dialog, request or violation while in use."""
    app = web.Application()
    app.router.add_get("/", blank)
    app.router.add_get("/made.js", script)
    app.router.add_static("/", STATIC)
    page = await browser.new_page()
    await page.goto(await start(app))
    await page.wait_for_function("globalThis.broken")
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url))
    page.on("popup", lambda popup: problems.append(popup.url))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    yield page
    assert problems == []
    assert await page.evaluate("broken") == []


def reference(end: int, number: int = 1) -> dict[str, Any]:
    return {"end": end, "number": number, "label": f"Quote {number}: The KITAS", "href": f"#quote-{number}"}


def mark(number: int = 1) -> str:
    link = f'class="reference" aria-label="Quote {number}: The KITAS" href="#quote-{number}"'
    return f"<sup><a {link}>{number}</a></sup>"


async def outlines(page: Page, *cases: tuple[str, list[dict[str, Any]]]) -> list[str]:
    """The nodes that texts become, each with its references."""
    found: list[str] = await page.evaluate("(cases) => cases.map((each) => outlineOf(made(...each)))", cases)
    return found


async def test_each_construct_becomes_its_nodes(page: Page) -> None:
    for construct, cases in CASES.items():
        found = await outlines(page, *((source, []) for source in cases))
        assert dict(zip(cases, found, strict=True)) == cases, construct


async def test_every_prefix_renders_and_ends_as_the_text_rendered_at_once(page: Page) -> None:
    different = await page.evaluate(
        """
        ([documents, references]) => documents.flatMap((text) => {
          target.replaceChildren();
          return [...Array(text.length + 1).keys()].filter((end) => {
            render(target, text.slice(0, end), references); // also between the halves of an emoji
            return outlineOf(target) !== outlineOf(made(text.slice(0, end), references));
          });
        })
        """,
        [DOCUMENTS, [reference(12), reference(60, 2), reference(61, 3), reference(9000, 4)]],
    )
    assert different == []


async def test_blocks_that_did_not_change_keep_their_nodes_and_the_selection(page: Page) -> None:
    kept = await page.evaluate(
        """
        () => {
          render(target, "# One\\n\\nTwo *words*\\n\\n- thr");
          const [one, two, three] = target.children;
          getSelection().selectAllChildren(two);
          const changes = new MutationObserver(() => {});
          changes.observe(target, { childList: true, subtree: true, attributes: true, characterData: true });
          render(target, "# One\\n\\nTwo *words*\\n\\n- three\\n\\nFour");
          const records = changes.takeRecords();
          render(target, "# One\\n\\nTwo *words*\\n\\n- three\\n\\nFour");
          const now = [...target.children];
          return [now[0] === one, now[1] === two, now[2] === three, `${getSelection()}`, records.length,
                  changes.takeRecords().length];
        }
        """
    )
    assert kept == [True, True, False, "Two words", 3, 0]


CHANGES = {  # of the blocks a, b and c, and which of them are still there
    "zero\n\na\n\nb\n\nc": "abc",
    "a\n\nnew\n\nb\n\nc": "abc",
    "a\n\nc": "ac",
    "b\n\nc": "bc",
    "a\n\nB\n\nc": "ac",
    "a\n\nb\n\nc\n\nc": "abc",
    "": "",
    "a": "a",
}


async def test_blocks_that_come_or_go_leave_the_others(page: Page) -> None:
    found = await page.evaluate(
        """
        (changes) => changes.map((later) => {
          render(target, "a\\n\\nb\\n\\nc");
          const before = [...target.children];
          render(target, later);
          const same = outlineOf(target) === outlineOf(made(later));
          return same && before.filter((node) => node.parentNode).map((node) => node.textContent).join("");
        })
        """,
        list(CHANGES),
    )
    assert dict(zip(CHANGES, found, strict=True)) == CHANGES


async def test_a_target_that_somebody_changed_is_filled_anew(page: Page) -> None:
    found = await page.evaluate(
        """
        () => ["replaceChildren", "append"].map((method) => {
          render(target, "a\\n\\nb");
          target[method]("else");
          render(target, "a\\n\\nb\\n\\nc");
          return outlineOf(target);
        })
        """
    )
    assert found == ["<p>a</p><p>b</p><p>c</p>"] * 2


async def test_a_reference_that_comes_or_changes_renews_its_block_only(page: Page) -> None:
    kept = await page.evaluate(
        """
        ([one, other]) => [[], [one], [{ ...one, label: "Quote 1: Else" }], [other, one]].map((references) => {
          const before = [...target.children];
          render(target, "a\\n\\nb\\n\\nc", references);
          return [...target.children].map((node, index) => node === before[index]);
        })
        """,
        [reference(4), reference(1, 2)],
    )
    assert kept == [[False] * 3, [True, False, True], [True, False, True], [False, False, True]]


REFERENCES: list[tuple[str, list[int], str]] = [
    ("ab", [1], f"<p>a{mark()}b</p>"),
    ("a👩‍👩‍👧 b", [6, 8], f"<p>a👩‍👩‍👧{mark(1)} b{mark(2)}</p>"),
    ("ends", [4], f"<p>ends{mark()}</p>"),
    ("ends", [4, 4, 4], f"<p>ends{mark(1)}{mark(2)}{mark(3)}</p>"),
    ("abc", [3, 1], f"<p>a{mark(2)}bc{mark(1)}</p>"),
    ("short", [6, 5], f"<p>short{mark(2)}</p>"),
    ("", [0, 3], f"<p>{mark()}</p>"),
    ("a\r\nb", [1, 2, 3, 4], f"<p>a{mark(1)}{mark(2)}{mark(3)}<br>b{mark(4)}</p>"),
    ("**a b** c", [3, 5, 6, 7], f"<p><strong>a{mark(1)} b{mark(2)}</strong>{mark(3)}{mark(4)} c</p>"),
    ("**a.** b", [6], f"<p><strong>a.</strong>{mark()} b</p>"),
    ("_a_ b", [2, 3], f"<p><em>a{mark(1)}</em>{mark(2)} b</p>"),
    ("a_b_ c", [1], f"<p>a{mark()}_b_ c</p>"),
    ("`ab` c", [2, 4], f"<p><code>a{mark(1)}b</code>{mark(2)} c</p>"),
    ("``` \ncode\n```\n\nb", [4, 7, 13], f"<pre><code>{mark(1)}co{mark(2)}de{mark(3)}</code></pre><p>b</p>"),
    ("```js\nx", [5], f"<pre><code>{mark()}x</code></pre>"),
    ("# One\n\ntwo", [7], f"<h3>One{mark()}</h3><p>two</p>"),
    ("a.\n- b\n1. c", [5, 10], f"<p>a.{mark(1)}</p><ul><li>b{mark(2)}</li></ul><ol><li>c</li></ol>"),
    ("a.\n\n---\n\nb", [7], f"<p>a.{mark()}</p><hr><p>b</p>"),
    ("- a\n- ", [6], f"<ul><li>a{mark()}</li><li></li></ul>"),
    (
        "| A | B |\n|---|---|\n| c | d |\n\ne",
        [9, 19, 24, 29],
        f"<table><thead><tr><th>A</th><th>B{mark(1)}{mark(2)}</th></tr></thead>"
        f"<tbody><tr><td>c{mark(3)}</td><td>d{mark(4)}</td></tr></tbody></table><p>e</p>",
    ),
    (
        '[ab](https://example.com "T") c',
        [2, 4, 12, 27, 29],
        f'<p><a href="https://example.com/" title="T">ab</a>{"".join(map(mark, [1, 2, 3, 4, 5]))} c</p>',
    ),
    ("[`a`](https://example.com)", [3], f'<p><a href="https://example.com/"><code>a</code></a>{mark()}</p>'),
    (
        "https://example.com. <https://example.com>",
        [10, 19, 20, 30],
        f'<p><a href="https://example.com/">https://example.com</a>{mark(1)}{mark(2)}.{mark(3)} '
        f'<a href="https://example.com/">https://example.com</a>{mark(4)}</p>',
    ),
    ("https://%.com x", [9], f"<p>https://%{mark()}.com x</p>"),
    ("[a](b) c", [4], f"<p>[a]({mark()}b) c</p>"),
    ("\ue000\ue001\uefffa\uf000", [4], f"<p>\ufffd\ufffd\ufffda{mark()}\uf000</p>"),
]


async def test_references_stand_behind_their_code_points_wherever_these_are(page: Page) -> None:
    cases = [
        (text, [reference(end, number) for number, end in enumerate(ends, 1)]) for text, ends, expected in REFERENCES
    ]
    found = await outlines(page, *cases)
    assert list(zip(cases, found, strict=True)) == list(zip(cases, [each[2] for each in REFERENCES], strict=True))


async def test_a_reference_over_many_bare_lines_and_one_too_many_do_no_harm(page: Page) -> None:
    many = "a" + "\n-" * 20
    everywhere = [reference(1, number) for number in range(1, 5000)]
    found = await outlines(page, (many, [reference(len(many))]), ("ab", everywhere))
    assert mark() in found[0]
    assert found[1].count("<sup>") == 4096
    assert "\ue000" not in found[1]


async def test_a_reference_leads_only_within_the_page_or_to_the_web(page: Page) -> None:
    addresses = ["#quote-1", "https://example.com/a", "javascript:alert(1)", "//example.com", ""]
    cases = [("a", [{**reference(1), "href": address}]) for address in addresses]
    found = [each.split('href="')[1].split('"')[0] for each in await outlines(page, *cases)]
    assert found == ["#quote-1", "https://example.com/a", "#", "#", "#"]


CONTEXTS = [
    "{}",
    "**{}**",
    "# {}",
    "> {}",
    "- {}",
    "| {} |\n|---|\n| {} |",
    "`{}",
    "[{}](https://example.com)",
    "[x]({}",
]


async def test_no_attack_gets_beyond_text_and_web_links(page: Page) -> None:
    assert len(ATTACKS) >= 60
    cases = [context.replace("{}", attack) for attack in ATTACKS for context in CONTEXTS]
    found = await page.evaluate(
        """
        ([cases, references]) => cases.flatMap((units) => {
          const text = String.fromCharCode(...units); // whole strings cannot carry lone surrogates here
          const wrong = [];
          for (const end of [text.length >> 1, text.length - 1, text.length]) {
            render(target, text.slice(0, end), references);
            wrong.push(...faults(target));
          }
          return wrong.map((each) => [text, each]);
        })
        """,
        [[units(text) for text in cases], [reference(2)]],
    )
    assert found == []
    globals_kept = "document.getElementById('target') === target && typeof render === 'function' && document.body.id"
    assert await page.evaluate(globals_kept) == ""


def units(text: str) -> list[int]:
    """The text's UTF-16 code units; lone surrogates are allowed."""
    data = text.encode("utf-16-le", "surrogatepass")
    return [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]


MIRRORED = [
    ("*a ", " a*"),
    ("**a ", " a**"),
    ("_a ", " a_"),
    ("~~a ", " a~~"),
    ("*a ", "b** c_ "),
    ("*[a", "*](https://b)"),
]
MIRRORED += [
    ("[a", "](b)"),
    ("[a](", ")"),
    ("[a](b ", '"'),
    ("`" * 300 + "a", "``b"),
    ("- ", "\n"),
    (" ", "*a"),
    ("> ", "\n>"),
]


def hostile(length: int) -> list[str]:
    """Texts of about so many characters that make careless parsers take ages."""
    texts = [part * (length // len(part)) for part in REPEATED]
    for first, then in MIRRORED:
        texts.append(first * (length // 2 // len(first)) + "x" + then * (length // 2 // len(then)))
    return texts


# Every loop of the modules that could look at something twice calls one of these for each look.
COUNT = """
([short, long]) => {
  let steps = 0;
  for (const [type, name] of [[RegExp, "exec"], [RegExp, "test"], [String, "match"], [String, "trim"]]) {
    const plain = type.prototype[name];
    type.prototype[name] = function (...values) { steps += 1; return plain.apply(this, values); };
  }
  const plain = Array.prototype.findLastIndex;
  Array.prototype.findLastIndex = function (test) {
    return plain.call(this, (...values) => { steps += 1; return test(...values); });
  };
  const counted = (text) => { steps = 0; made(text); return steps; };
  return short.map((text, index) => [counted(text), counted(long[index])]);
}
"""


async def test_the_steps_grow_as_the_text_does_whatever_is_in_it(page: Page) -> None:
    texts = hostile(4000)
    steps = await page.evaluate(COUNT, [texts, hostile(8000)])
    assert [each for each, (short, long) in zip(texts, steps, strict=True) if long > 2.1 * short + 100] == []
    assert max(long for short, long in steps) > 8000


@pytest.mark.timeout(120)
async def test_two_hundred_thousand_characters_of_anything_end_and_stay_shallow(page: Page) -> None:
    found = await page.evaluate(
        "(texts) => texts.map((text) => made(text)).map((root) => [...faults(root), depth(root)])", hostile(200_000)
    )
    assert [each for each in found if len(each) > 1 or each[0] > 30] == []


LETTERS = "abé日ש😀𝒶"
SIGNS = [
    "*",
    "**",
    "***",
    "_",
    "__",
    "~~a",
    "`a",
    "``b",
    "```\n",
    "\n~~~\n",
    "#",
    "# ",
    "\n# ",
    ">",
    "\n> ",
    "- ",
    "\n- ",
]
SIGNS += [
    "\n  - ",
    "\n1. ",
    "\n   ",
    "|",
    "\n|",
    "\n|-|-|\n",
    "\n---\n",
    "\\",
    "!",
    "[",
    "](",
    ")",
    "<",
    "&amp;",
    "\n",
    "\n\n",
]
SIGNS += [" ", "\t", "\r\n", '"', "'", ":", ".", "\u2028", "\u00a0"]
LOUD = [
    "https://",
    "https://a.example.com",
    "javascript:",
    "[a](https://b.example.com",
    ' "t")',
    "<script>",
    "<https://c>",
]
LOUD += [
    "![",
    "data:,",
    "\ue000",
    "\ue001",
    "\uefff",
    "\0",
    "//",
    "@",
    "%",
    "<img src=x onerror=alert(1)>",
    " onclick=1",
]

QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def texts(*pieces: str) -> st.SearchStrategy[list[str]]:
    words = st.text(LETTERS, min_size=1, max_size=3)
    one = st.lists(words | st.sampled_from(pieces), max_size=30).map("".join)
    return st.lists(one, min_size=20, max_size=40)


@QUICK
@given(batch=texts(*SIGNS))
async def test_all_letters_are_shown_in_order_whatever_marks_are_between(page: Page, batch: list[str]) -> None:
    found = await page.evaluate("(batch) => batch.map((text) => made(text).textContent)", batch)
    assert [letters(text) for text in found] == [letters(text.replace("&amp;", "")) for text in batch]


def letters(text: str) -> str:
    return "".join(each for each in text.replace("&amp;", "") if each in LETTERS)


@QUICK
@given(batch=texts(*SIGNS, *LOUD), ends=st.lists(st.integers(0, 40), max_size=4))
async def test_nothing_but_the_allowed_is_ever_made_however_a_text_grows(
    page: Page, batch: list[str], ends: list[int]
) -> None:
    found = await page.evaluate(
        """
        ([batch, references]) => batch.flatMap((text) => {
          const shown = references.filter(({ end }) => end <= [...text].length).length;
          const wrong = [];
          for (let end = 0; end < text.length + 3; end += 3) {
            render(target, text.slice(0, end), references);
            wrong.push(...faults(target));
          }
          if (outlineOf(target) !== outlineOf(made(text, references))) wrong.push("grown");
          if (target.querySelectorAll("sup").length !== shown) wrong.push("references");
          if (/[\\ue000-\\uefff]/.test(target.textContent)) wrong.push("marks");
          return wrong.map((each) => [text, each]);
        })
        """,
        [batch, [reference(end, number) for number, end in enumerate(ends, 1)]],
    )
    assert found == []
