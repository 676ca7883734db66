from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from types import MappingProxyType

import pytest

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers.epub import read_epub

CONTAINER = (
    '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">'
    '<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles>'
    "</container>"
)
METADATA = (
    "<dc:title>The <b/>guide</dc:title><dc:language>id-ID</dc:language><dc:date>2020-01-01</dc:date>"
    '<meta property="dcterms:modified">2026-02-03T10:00:00Z</meta><dc:source>https://example.com/book</dc:source>'
)
CHAPTERS = {
    "one.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'><head><title/><script src='a.js'/></head>"
    "<body><h1>Permits</h1><p>A permit<br/> is <i/>renewed.</p><h2>Fees</h2><p>Low.</p></body></html>",
    "part two.xhtml": "<html><head><title>Second part</title></head><body><p>No heading here.</p></body></html>",
    "three.xhtml": "<html><body><p>Nor here.</p><nav>gone</nav></body></html>",
}


def _book(
    chapters: dict[str, str] = CHAPTERS,
    metadata: str = METADATA,
    spine: str = "",
    parts: Mapping[str, bytes | str] = MappingProxyType({}),
) -> bytes:
    items = "".join(
        f'<item id="c{n}" href="{name.replace(" ", "%20")}" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(chapters)
    )
    items += '<item id="toc" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
    items += '<item id="cover" href="cover.jpg" media-type="image/jpeg"/>'
    order = spine or "cover toc " + " ".join(f"c{n}" for n in range(len(chapters)))
    references = "".join(f'<itemref idref="{item}"/>' for item in order.split())
    package = (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">{metadata}</metadata><manifest>{items}</manifest>'
        f"<spine>{references}</spine></package>"
    )
    contents: dict[str, bytes | str] = {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER}
    contents |= {"OEBPS/book.opf": package, "OEBPS/nav.xhtml": "<html><body><p>Contents</p></body></html>"}
    contents |= {f"OEBPS/{name}": text for name, text in chapters.items()} | dict(parts)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_chapters_are_sections_in_the_order_of_the_spine() -> None:
    draft = read_epub(_book())
    assert [(s.heading, draft.text[s.start : s.end].strip()) for s in draft.sections] == [
        ("Permits", "A permit\n\nis renewed."),
        ("Permits › Fees", "Low."),
        ("Second part", "No heading here."),
        ("", "Nor here."),
    ]
    assert read_epub(_book(spine="c2 c0")).text.startswith("Nor here.\n\nPermits")


def test_facts() -> None:
    draft = read_epub(_book())
    assert (draft.title, draft.language, draft.updated) == ("The guide", "id-ID", "2026-02-03T10:00:00Z")
    assert draft.url == "https://example.com/book"


def test_a_book_that_says_less_of_itself() -> None:
    draft = read_epub(_book(metadata="<dc:date>2020-01-01</dc:date><dc:source>urn:isbn:1</dc:source>"))
    assert (draft.title, draft.language, draft.updated, draft.url) == ("Permits", "", "2020-01-01", "urn:isbn:1")


def test_the_metadata_of_the_second_version_is_in_an_element_of_its_own() -> None:
    assert read_epub(_book(metadata=f"<dc-metadata>{METADATA}</dc-metadata>")).title == "The guide"


def test_a_chapter_named_again_and_again_is_read_once() -> None:
    assert read_epub(_book(spine="c2 " * 5000)).text == "Nor here."


def test_chapters_in_utf_16() -> None:
    package = _book({"a.xhtml": ""}, parts={"OEBPS/a.xhtml": "<p>perché</p>".encode("utf-16")})
    assert read_epub(package).text == "perché"
    with pytest.raises(Unreadable, match="is not UTF-8 text"):
        read_epub(_book({"a.xhtml": ""}, parts={"OEBPS/a.xhtml": "<p>perché</p>".encode("latin-1")}))


def _encryption(method: str) -> str:
    return (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
        'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData>'
        f'<enc:EncryptionMethod Algorithm="{method}"/></enc:EncryptedData></encryption>'
    )


def test_rights_management_is_named_and_hidden_fonts_are_none() -> None:
    aes = _encryption("http://www.w3.org/2001/04/xmlenc#aes128-cbc")
    with pytest.raises(Unreadable, match=r"is encrypted \(digital rights management\)"):
        read_epub(_book(parts={"META-INF/encryption.xml": aes}))
    for method in ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"):
        assert read_epub(_book(parts={"META-INF/encryption.xml": _encryption(method)})).title == "The guide"


@pytest.mark.parametrize("container", ["<container/>", CONTAINER.replace("book.opf", "other.opf")])
def test_what_names_no_content_is_no_book(container: str) -> None:
    with pytest.raises(Unreadable, match="is not an EPUB book"):
        read_epub(_book(parts={"META-INF/container.xml": container}))


def test_another_archive_is_no_book() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("word/document.xml", "")
    with pytest.raises(Unreadable, match="is not an EPUB book"):
        read_epub(data.getvalue())


def test_a_chapter_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"gone\.xhtml"):
        read_epub(_book(parts={"OEBPS/book.opf": (
            '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="gone.xhtml" '
            'media-type="text/html"/></manifest><spine><itemref idref="a"/></spine></package>')}))  # fmt: skip


def test_entities_that_unfold_without_end_are_refused() -> None:
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "{"x" * 100}">{entities}]><container>&e12;</container>'
    with pytest.raises(SyntaxError, match="amplification"):
        read_epub(_book(parts={"META-INF/container.xml": bomb}))
