"""EPUB books: the chapters in the order of the spine, each read as the page that it is.

https://www.w3.org/TR/epub-33/
"""

from __future__ import annotations

import codecs
import posixpath
import re
from urllib.parse import unquote
from xml.etree import ElementTree

from ..documents import Unreadable
from .archive import Archive
from .details import Draft, decode
from .html import Page
from .outline import Outline

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_PAGES = ("application/xhtml+xml", "text/html")
_OF_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")  # which hide fonts, not text
# An HTML parser takes `<title/>` for the beginning of a title that never ends.
_CLOSED_AT_ONCE = re.compile(r"<(?!(?:br|hr|img|meta|link|input|col|area|base|wbr)\b)([a-zA-Z][\w:-]*)(\s[^<>]*)?/>")


def read_epub(data: bytes) -> Draft:
    """Read a book's chapters; their headings are its sections, and without one the chapter's `<title>` is."""
    archive = Archive(data)
    _check_open(archive)
    package_path = _package_path(archive)
    package = ElementTree.fromstring(archive.read(package_path))
    title, outline = _said(package, "title"), Outline()
    for chapter in _chapters(package, posixpath.dirname(package_path)):
        page = Page(_CLOSED_AT_ONCE.sub(r"<\1\2></\1>", _decoded(archive.read(chapter))))
        outline.part(page.title)
        page.write(outline)
    title = title or outline.first_heading
    source = _said(package, "source")
    return Draft(
        outline.text,
        outline.sections(title),
        title,
        _said(package, "language"),
        _modified(package) or _said(package, "date"),
        source,
    )


def _check_open(archive: Archive) -> None:
    if _CONTAINER not in archive.names:
        raise Unreadable("is not an EPUB book (it names no content)")
    if _ENCRYPTION in archive.names:
        methods = ElementTree.fromstring(archive.read(_ENCRYPTION)).iterfind(".//{*}EncryptedData/{*}EncryptionMethod")
        if any(method.get("Algorithm") not in _OF_FONTS for method in methods):
            raise Unreadable("is encrypted (digital rights management)")


def _package_path(archive: Archive) -> str:
    root = ElementTree.fromstring(archive.read(_CONTAINER)).find(".//{*}rootfile")
    path = "" if root is None else root.get("full-path", "")
    if path not in archive.names:
        raise Unreadable("is not an EPUB book (it names no content)")
    return path


def _chapters(package: ElementTree.Element, folder: str) -> list[str]:
    """The paths of the chapters, each once; the table of contents, which is only links, is none."""
    items = {item.get("id"): item for item in package.iterfind("{*}manifest/{*}item")}
    spine = [items.get(reference.get("idref")) for reference in package.iterfind("{*}spine/{*}itemref")]
    return list(
        dict.fromkeys(
            posixpath.normpath(posixpath.join(folder, unquote(item.get("href", "")).partition("#")[0]))
            for item in spine
            if item is not None and item.get("media-type") in _PAGES and "nav" not in item.get("properties", "").split()
        )
    )


def _said(package: ElementTree.Element, name: str) -> str:
    """What the first Dublin Core element of that name says."""
    element = package.find(f"{{*}}metadata//{{http://purl.org/dc/elements/1.1/}}{name}")
    return "" if element is None else "".join(element.itertext()).strip()


def _modified(package: ElementTree.Element) -> str:
    metas = package.iterfind("{*}metadata/{*}meta[@property='dcterms:modified']")
    return next(("".join(meta.itertext()).strip() for meta in metas), "")


def _decoded(data: bytes) -> str:
    """A chapter, in UTF-8 or UTF-16, which are what the standard allows."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return decode(data)
