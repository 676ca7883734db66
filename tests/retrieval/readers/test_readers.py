from __future__ import annotations

from pathlib import Path

import pytest
from conftest import DOCUMENTS

from zantara_stream.retrieval import readers
from zantara_stream.retrieval.documents import Document, Unreadable, walk
from zantara_stream.retrieval.readers import READERS, read_document, reader_for

FACTS = {  # title, language, date, pages
    "business-codes/kbli-codes.md": (
        "KBLI business codes for hospitality, consulting, software and villas", "en", "2026-07-15", 0),
    "companies/bank-account-and-capital.docx": ("Bank accounts and paid-up capital", "en", "2026-02-05", 0),
    "companies/choosing-a-company-form.html": (
        "PT PMA, local PT, CV or representative office?", "en", "2026-01-20", 0),
    "companies/pt-pma-setup.md": ("Setting up a PT PMA in Bali", "en", "2026-03-12", 0),
    "living/living-in-bali.txt": ("Living in Bali: a practical guide with a price list", "en", "2026-10-01", 0),
    "property/property-and-building-permits.docx": (
        "Property for foreigners, building permits and zoning", "en", "2026-08-19", 0),
    "property/sewa-tanah.html": (
        "Sewa tanah dan rumah di Bali: panduan bagi pemilik dan penyewa", "id", "2026-09-07", 0),
    "tax/company-taxes.pdf": ("Company taxes: income tax, VAT and withholding", "en", "2026-06-30", 3),
    "tax/npwp-dan-spt.md": ("NPWP dan SPT Tahunan untuk pemula", "id", "2026-01-29", 0),
    "tax/personal-income-tax.md": ("Personal income tax and tax residency", "en", "2026-04-02", 0),
    "visas/investor-kitas.md": ("The investor KITAS", "en", "2026-02-18", 0),
    "visas/long-stay-second-home-and-kitap.txt": (
        "Second home, retirement and permanent stay (KITAP)", "en", "2026-06-09", 0),
    "visas/perpanjangan-kitas.txt": ("Perpanjangan KITAS di Bali: langkah demi langkah", "id", "2026-08-03", 0),
    "visas/visit-visas.html": ("Visit visas and the visa on arrival", "en", "2026-05-04", 0),
    "visas/visti-e-societa-guida-breve.md": ("Visti e società a Bali: guida breve", "it", "2026-05-26", 0),
    "visas/working-kitas.pdf": ("The working KITAS and the duties that come with it", "en", "2026-04-21", 3),
}  # fmt: skip


def _read(path: str) -> Document:
    return read_document(path, DOCUMENTS / path)


def test_every_sample_document_is_known_here() -> None:
    assert {found.path for found in walk(DOCUMENTS)} == set(FACTS)


@pytest.mark.parametrize("path", FACTS)
def test_the_facts_of_a_sample_document(path: str) -> None:
    document = _read(path)
    assert (document.title, document.language, document.updated, len(document.pages)) == FACTS[path]
    assert document.path == path
    assert document.markdown == path.endswith(".md")


@pytest.mark.parametrize("path", FACTS)
def test_sections_are_in_order_and_hold_no_heading(path: str) -> None:
    document = _read(path)
    assert len(document.sections) >= 10
    end = 0
    for section in document.sections:
        assert end <= section.start < section.end <= len(document.text)
        assert document.text[section.start : section.end].strip()
        end = section.end
        if section.heading:
            heading = section.heading.split(" › ")[-1]
            assert heading in document.text[: section.start]
            assert heading not in document.text[section.start : section.end].splitlines()


@pytest.mark.parametrize("path", [path for path in FACTS if path.endswith((".md", ".txt"))])
def test_the_text_of_a_text_file_is_its_own(path: str) -> None:
    with open(DOCUMENTS / path, encoding="utf-8") as file:
        assert _read(path).text == file.read()


@pytest.mark.parametrize(
    "name",
    [
        "a.md",
        "A.MD",
        "b.Markdown",
        "c.txt",
        "c.text",
        "d.html",
        "d.HTM",
        "e.pdf",
        "f.docx",
        "g.EPUB",
        "h.csv",
        "i.tsv",
        "j.json",
        "k.jsonl",
        "l.ndjson",
    ],
)
def test_a_reader_is_chosen_by_name(name: str) -> None:
    assert reader_for(f"folder.pdf/{name}") is READERS["." + name.lower().split(".")[1]]


@pytest.mark.parametrize("name", ["a.doc", "a.png", "md", "folder.md/a", ".md", "a.md.gz", ""])
def test_other_formats_have_none(name: str, tmp_path: Path) -> None:
    assert reader_for(name) is None
    with pytest.raises(Unreadable, match=r"not of a known format \(\.md, .*\.ndjson\)"):
        read_document(name, tmp_path / "never-opened")


def test_whatever_a_parser_raises_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> object:
        raise {b"odd": LookupError("no such part"), b"deep": RecursionError(), b"file": OSError("seek")}[data]

    monkeypatch.setitem(readers.READERS, ".md", fail)
    reasons = {
        "odd": "is damaged: LookupError: no such part",
        "deep": "is nested too deeply",
        "file": "is damaged: OSError",
    }
    for content, reason in reasons.items():
        (tmp_path / "a.md").write_text(content)
        with pytest.raises(Unreadable, match=f"^{reason}"):
            read_document("a.md", tmp_path / "a.md")


def test_a_sidecar_is_read_first(tmp_path: Path) -> None:
    file, sidecar = tmp_path / "a.md", tmp_path / "a.md.meta.yaml"
    file.write_text("---\ntitle: Own\nlevel: 1\nlanguage: en\nstatus: draft\n---\nUpdated: 2020-01-01\n")
    sidecar.write_text("title: Given\nlevel: 0\ndate: 2026-01-31\n")
    own, given = read_document("a.md", file), read_document("a.md", file, sidecar)
    assert (own.title, own.level, own.updated) == ("Own", 1, "2020-01-01")
    assert (given.title, given.level, given.updated) == ("Given", 0, "2026-01-31")
    assert (given.language, given.status, given.text) == ("en", "draft", own.text)
    sidecar.write_text("level: 9")
    with pytest.raises(Unreadable, match=r"has metadata in a\.md\.meta\.yaml that gives the access level 9"):
        read_document("a.md", file, sidecar)


def test_lack_of_memory_is_not_the_file_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> object:
        raise MemoryError

    monkeypatch.setitem(readers.READERS, ".md", fail)
    (tmp_path / "a.md").write_text("text")
    with pytest.raises(MemoryError):
        read_document("a.md", tmp_path / "a.md")
