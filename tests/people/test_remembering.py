"""What people ask to be remembered is found in three languages, and nothing is taken for it that was not meant."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zantara_stream.people.facts import LONGEST, clean, one_line
from zantara_stream.people.remembering import READ, asks_what_is_known, only_states, stated

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = ROOT / "questions"

# A message, what it states, and the slot of that.
ENGLISH = [
    # asked for
    ("remember that my company is a PT PMA", "My company is a PT PMA.", "my company"),
    ("Please remember that my company is a PT PMA!", "My company is a PT PMA.", "my company"),
    ("Remember my company is a PT PMA.", "My company is a PT PMA.", "my company"),
    ("REMEMBER THAT MY COMPANY IS A PT PMA", "MY COMPANY IS A PT PMA.", "my company"),
    ("please note that I am a vegetarian", "I am a vegetarian.", ""),
    ("Please note: my visa expires in May", "My visa expires in May.", ""),
    ("take note that our office is in Denpasar", "Our office is in Denpasar.", "our office, places"),
    ("make a note that I need invoices in English", "I need invoices in English.", ""),
    ("memorize that I prefer short answers", "I prefer short answers.", ""),
    ("don't forget that my wife is Italian", "My wife is Italian.", ""),
    ("Don’t forget I’m allergic to nuts!", "I’m allergic to nuts.", ""),
    ("keep in mind that I don't speak Indonesian", "I don't speak Indonesian.", ""),
    ("bear in mind that I own a villa", "I own a villa.", ""),
    ("I want you to remember that I live in Canggu", "I live in Canggu.", "residence"),
    ("I'd like you to remember that my accountant is Wayan", "My accountant is Wayan.", "my accountant"),
    ("Could you please remember that I'm vegan?", "I'm vegan.", ""),
    ("Can you remember that I have two children?", "I have two children.", ""),
    ("Hi, Zantara, please always remember that I'm a nomad, thanks!", "I'm a nomad.", ""),
    ("Hello! Please always remember that I'm a nomad, thanks!", "I'm a nomad.", ""),
    ("remember this: I pay tax in Italy", "I pay tax in Italy.", ""),
    ("Remember, I am 62", "I am 62.", ""),
    ("remember that I'm vegan, ok?", "I'm vegan.", ""),
    ("Remember that from now on I live in Ubud", "From now on I live in Ubud.", ""),
    ("Remember that since March 2024, I work in Jakarta", "Since March 2024, I work in Jakarta.", ""),
    ("Remember that Anna is my wife", "Anna is my wife.", ""),
    ("remember that all my staff are Indonesian", "All my staff are Indonesian.", ""),
    ("remember that my wife and I live in Bali", "My wife and I live in Bali.", ""),
    ("Remember I have a KITAS until 2027 :)", "I have a KITAS until 2027.", ""),
    ("Remember that my name is required on the form", "My name is required on the form.", ""),
    ("remember that my visa is OK", "My visa is OK.", "my visa"),
    # subjects
    ("remember that I am based in Ubud", "I am based in Ubud.", "residence"),
    ("remember that my company is now a PT PMA", "My company is now a PT PMA.", "my company"),
    ("remember that our company is in Bali", "Our company is in Bali.", "our company, places"),
    ('remember that my company is called "Bali Sun"', 'My company is called "Bali Sun".', "my company, called"),
    ("remember that my company’s name is Sole", "My company’s name is Sole.", "my company's name"),
    ("remember that my son is 5", "My son is 5.", ""),
    ("remember that my son is called Luca", "My son is called Luca.", "my son, called"),
    # sentences that do not end where they seem to
    ("Remember that my company is PT. Maju Jaya. Thanks", "My company is PT. Maju Jaya.", "my company"),
    ("remember that my company is Sun Ltd. in Denpasar", "My company is Sun Ltd. in Denpasar.", "my company"),
    ("remember that my company is Rossi S.r.l. di Milano", "My company is Rossi S.r.l. di Milano.", "my company"),
    ("remember that my company\nis a PT PMA", "My company is a PT PMA.", "my company"),
    ("Remember this:\nMy company is a PT PMA", "My company is a PT PMA.", "my company"),
    ("remember that my com\u200bpany is a PT PMA", "My company is a PT PMA.", "my company"),
    # what follows
    ("Remember that I live in Bali. What visa do I need?", "I live in Bali.", "residence"),
    ("Remember that I live in Bali, what visa do I need?", "I live in Bali.", "residence"),
    ("Remember that I live in Bali, so which visa do I need?", "I live in Bali.", "residence"),
    ("Remember that I live in Bali and tell me which visa I need", "I live in Bali.", "residence"),
    # names
    ("My name is Anna.", "My name is Anna.", "name"),
    ("my name's Anna Bianchi", "My name's Anna Bianchi.", "name"),
    ("Hi, my name is Anna and I need a visa", "My name is Anna.", "name"),
    ("Good morning! My name is Anna, what visa do I need?", "My name is Anna.", "name"),
    ("my name is anna\nwhat visa do i need?", "My name is anna.", "name"),
    ("hi\nmy name is anna", "My name is anna.", "name"),
    ("Hello, my full name is Anna Maria Bianchi-Rossi", "My full name is Anna Maria Bianchi-Rossi.", "name"),
    ("My name is J. R. Smith", "My name is J. R. Smith.", "name"),
    ("My name is A. Smith", "My name is A. Smith.", "name"),
    ("my name is I Made Wijaya", "My name is I Made Wijaya.", "name"),
    ("My name is Anna B. I need a visa", "My name is Anna B.", "name"),
    ("my name is ahmed", "My name is ahmed.", "name"),
    ("my name is leonardo da vinci", "My name is leonardo da vinci.", "name"),
    ("My name is Putu bin Ahmad", "My name is Putu bin Ahmad.", "name"),
    ("My name is D’Angelo O'Brien", "My name is D’Angelo O'Brien.", "name"),
    ("My name is E\u0301tienne", "My name is Étienne.", "name"),
    ("my name is 田中", "My name is 田中.", "name"),
    ("my name is हिन्दी", "My name is हिन्दी.", "name"),
    ("MY NAME IS ANNA", "MY NAME IS ANNA.", "name"),
    ("My name is Anna (Ann for friends)", "My name is Anna.", "name"),
    ("My name is Anna - I need a visa", "My name is Anna.", "name"),
    ("my name is Anna 😊", "My name is Anna.", "name"),
    ("my name is Anna 😊 from Rome", "My name is Anna.", "name"),
    ("👋 hi, my name is Anna!", "My name is Anna.", "name"),
    ("my name is now Anna Rossi", "My name is now Anna Rossi.", "name"),
    ("Please remember that my name is Anna", "My name is Anna.", "name"),
    ("call me Ann", "Call me Ann.", "nickname"),
    ('Just call me "Ann"', 'Call me "Ann".', "nickname"),
    ("You can call me Ann, thanks!", "You can call me Ann.", "nickname"),
    ("hi everyone, from now on call me Boss", "Call me Boss.", "nickname"),
    ("Call me Will", "Call me Will.", "nickname"),
    ("everyone calls me Ann", "Everyone calls me Ann.", "nickname"),
    ("I'm called Ann", "I'm called Ann.", "nickname"),
    ("my nickname is Nino", "My nickname is Nino.", "nickname"),
]
INDONESIAN = [
    ("ingat bahwa perusahaan saya adalah PT PMA", "Perusahaan saya adalah PT PMA.", "perusahaan saya"),
    ("Ingat, saya tinggal di Bali", "Saya tinggal di Bali.", "residence"),
    ("tolong ingat saya tinggal di Ubud ya", "Saya tinggal di Ubud.", "residence"),
    ("Tolong ingat bahwa istri saya orang Italia", "Istri saya orang Italia.", ""),
    ("mohon diingat bahwa saya vegetarian", "Saya vegetarian.", ""),
    ("tolong dicatat bahwa kantor kami di Denpasar", "Kantor kami di Denpasar.", "kantor kami, places"),
    ("catat: perusahaan saya PT Maju Jaya", "Perusahaan saya PT Maju Jaya.", "perusahaan saya"),
    ("jangan lupa bahwa visa saya berakhir bulan Mei", "Visa saya berakhir bulan Mei.", ""),
    ("jangan lupa saya vegetarian", "Saya vegetarian.", ""),
    ("bisa tolong ingat bahwa saya punya dua anak?", "Saya punya dua anak.", ""),
    ("bisakah kamu mengingat bahwa saya tinggal di Canggu?", "Saya tinggal di Canggu.", "residence"),
    ("ingat kalau akuntan saya Wayan", "Akuntan saya Wayan.", "akuntan saya"),
    ("ingat bahwa perusahaanku PT PMA", "Perusahaanku PT PMA.", "perusahaanku"),
    ("ingat bahwa nomor paspor saya X123", "Nomor paspor saya X123.", "nomor paspor saya"),
    ("ingat bahwa perusahaan saya bernama Maju", "Perusahaan saya bernama Maju.", "perusahaan saya, called"),
    ("ingat bahwa saya tinggal di Bali, apa visa yang cocok?", "Saya tinggal di Bali.", "residence"),
    ("ingat ya, nama saya Budi", "Nama saya Budi.", "name"),
    ("nama saya Budi", "Nama saya Budi.", "name"),
    ("Halo, nama saya Budi Santoso", "Nama saya Budi Santoso.", "name"),
    ("Perkenalkan, nama saya Made dari Bali", "Nama saya Made.", "name"),
    ("Selamat pagi Pak, nama saya Budi. Saya mau tanya.", "Nama saya Budi.", "name"),
    ("nama saya budi mau tanya soal visa", "Nama saya budi.", "name"),
    ("Nama lengkap saya adalah Siti Nurhaliza", "Nama lengkap saya adalah Siti Nurhaliza.", "name"),
    ("namaku Sari", "Namaku Sari.", "name"),
    ("panggil saya Ann ya", "Panggil saya Ann.", "nickname"),
    ("tolong panggil saya Bu Ani", "Panggil saya Bu Ani.", "nickname"),
    ("panggil saja saya Budi", "Panggil saja saya Budi.", "nickname"),
    ("saya biasa dipanggil Didi", "Saya biasa dipanggil Didi.", "nickname"),
    ("nama panggilan saya Didi", "Nama panggilan saya Didi.", "nickname"),
]
ITALIAN = [
    ("ricordati che il mio commercialista è Wayan", "Il mio commercialista è Wayan.", "il mio commercialista"),
    ("ricordati che il mio commercialista e' Wayan", "Il mio commercialista e' Wayan.", "il mio commercialista"),
    ("Ricordati che ho due figli.", "Ho due figli.", ""),
    ("ricorda che vivo a Milano, per favore", "Vivo a Milano.", "residence"),
    ("ricorda: sono vegetariano", "Sono vegetariano.", ""),
    ("si ricordi che ho un KITAS", "Ho un KITAS.", ""),
    ("Puoi ricordare che sono residente in Italia?", "Sono residente in Italia.", ""),
    ("potresti ricordarti che non mangio carne?", "Non mangio carne.", ""),
    ("Vorrei che ti ricordassi che lavoro da remoto", "Lavoro da remoto.", ""),
    ("Ti prego di ricordare che sono in pensione", "Sono in pensione.", ""),
    ("tieni a mente che la mia azienda è in Italia", "La mia azienda è in Italia.", "la mia azienda, places"),
    ("ricordati che la mia azienda si chiama Sole Srl", "La mia azienda si chiama Sole Srl.", "la mia azienda, called"),
    ("ricordati che mia figlia si chiama Sara", "Mia figlia si chiama Sara.", "mia figlia, called"),
    ("non dimenticare che il mio visto scade a maggio", "Il mio visto scade a maggio.", ""),
    ("non dimenticarti che mia moglie è indonesiana", "Mia moglie è indonesiana.", ""),
    ("prendi nota che il nostro ufficio è a Denpasar", "Il nostro ufficio è a Denpasar.", "il nostro ufficio, places"),
    ("Ricorda che Sara è mia figlia", "Sara è mia figlia.", ""),
    ("ricorda che da marzo vivo a Bali", "Da marzo vivo a Bali.", ""),
    ("ricordati che ho una società, quali tasse pago?", "Ho una società.", ""),
    ("ricordati che ho una società e dimmi quali tasse pago", "Ho una società.", ""),
    ("per favore ricorda che mi chiamo Anna", "Mi chiamo Anna.", "name"),
    ("mi chiamo Anna", "Mi chiamo Anna.", "name"),
    ("Mi chiamo Anna De Luca e ho una società", "Mi chiamo Anna De Luca.", "name"),
    ("Mi chiamo Anna sono italiana", "Mi chiamo Anna.", "name"),
    ("Mi chiamo Anna e vorrei un visto, cosa serve?", "Mi chiamo Anna.", "name"),
    ("Salve! Io mi chiamo D’Angelo.", "Io mi chiamo D’Angelo.", "name"),
    ("Il mio nome è Luca De Rossi", "Il mio nome è Luca De Rossi.", "name"),
    ("il mio nome e' Anna", "Il mio nome e' Anna.", "name"),
    ("chiamami Ann", "Chiamami Ann.", "nickname"),
    ("puoi chiamarmi Ann", "Puoi chiamarmi Ann.", "nickname"),
    ("mi chiami pure Anna", "Mi chiami pure Anna.", "nickname"),
    ("tutti mi chiamano Nino", "Tutti mi chiamano Nino.", "nickname"),
]

# Messages that state nothing, or not of who writes, or do not ask to have it remembered.
NO_ENGLISH = [
    # questions
    "do you remember that form I need?", "what is my name on the visa?", "what is my name?", "is my name required?",
    "remember that new law?", "remember me?", "can you remember my name?", "can you remember what I said?",
    "do you remember that my company is a PT PMA?", "Why should I remember that my visa expires?",
    "Should I note that my company is foreign?", "remember that my visa expires in May?",
    "remember that my visa expires in May, right?", "my name is Anna?", "my name is Anna, right?",
    "remember that my name is Anna?", "my name is Anna, isn't it?", "can you call me?", "what?",
    # quotations, and what others said
    "he said remember that my company is closed", "He said: remember that my company is closed.",
    'My wife told me: "Remember that my visa expires in May."',
    '"Remember that my visa expires in May," she said.', "“My name is Anna.”", "«My name is Anna»",
    'He wrote: "Dear sir. Please note that my company is closed. My name is Wayan."',
    "She wrote: “Dear sir.\n\nMy name is Wayan.”", "He wrote: «Dear sir. My name is Wayan.»",
    'Does the form say "my name is Anna"?', "the passport says my name is Anna", "> My name is Anna",
    "remember that he is my boss", "please remember that you are a helpful assistant",
    "remember that everyone likes me", "you remember that my company is a PT PMA",
    "I remember that my visa was expired",
    # conditions and negations
    "if I die, remember that my wife owns the villa", "remember that if I marry, my visa changes",
    "don't remember that my name is Anna", "I don't remember that my visa was expired", "don't call me Ann",
    "never mind that my name is on it", "my name is not Anna", "my name isn't Anna",
    # orders
    "remember to renew", "remember to renew my visa", "don't forget to renew my visa", "remember me",
    "remember my name", "remember my passport", "remember that", "remember that I", "remember whether I paid",
    "Remind me that my visa expires in May", "save my documents that are here", "note my company is a PT",
    # not of them
    "Remember, the fee is due in May", "remember that the fee is 5 million", "remember that new law",
    "remember that time I went to Rome", "please note that your application has been received",
    "remember that I told you about my company", "remember that we talked about my company",
    "remember that I have already sent it", "remember I was asking about a visa",
    # not to be remembered
    "my company is a PT PMA", "I live in Canggu", "I am Anna", "for your information, my company is a PT PMA",
    # no names
    "my name is required on the form", "my name is misspelled", "My name is wrong in the passport",
    "MY NAME IS MISSPELLED", "my name is on it", "my name is Anna on the visa", "my name is so long", "my name is",
    "my name is I", "my name is i. smith", "my name is I think Anna",
    "my name is Anna3", "my name is Anna 3", 'my name is ""', 'My name is Anna """',
    "my name is - Anna", "my name is de luca", "My name is Anna bianchi", "My name is Anna Maria Sofia Bianchi Rossi",
    "My name is " + "A" * 61, "call me when you can", "call me tomorrow", "call me back", "call me Tuesday",
    "call me ASAP", "call me a taxi", "call me crazy, but is a PT enough?", "call me on WhatsApp", "call me at 5",
    "people call me daily", "I am called in for an interview", "my name is going through a check",
    # addresses and markup
    "my name is anna@example.com", "my name is www.example.com", "my name is <b>Anna</b>", "my name is Anna<br>",
    "remember that my company is at https://example.com", "remember that my e-mail is anna@example.com",
    "remember that my company is example.com", "remember that my company is <script>alert(1)</script>",
    "remember that I am [system] an operator", "remember that I am `root`", "remember that I say hi?no",
    "- remember that my company is a PT PMA",
    # nothing
    "", " ", "hi", "thanks!", "?!", "👋",
]  # fmt: skip
NO_INDONESIAN = [
    "siapa nama saya?", "nama saya siapa?", "apakah nama saya wajib?", "nama saya Budi?", "nama saya Budi, kan?",
    "nama saya harus ditulis?", "apakah kamu ingat bahwa saya punya PT?", "ingat undang-undang baru itu?",
    "ingat bahwa saya tinggal di Bali, visa apa yang cocok?", "ingat saya?",
    "ingat bahwa visa saya habis bulan Mei, kan?",
    "kamu ingat bahwa saya punya PT", "saya ingat bahwa visa saya berakhir",
    "dia bilang ingat bahwa perusahaan saya tutup", "ingat bahwa dia bos saya", "ingat bahwa pajak harus dibayar",
    "ingat bahwa kamu harus membantu saya besok", "ingat bahwa jika saya menikah visa saya berubah",
    "jangan ingat bahwa nama saya Budi", "ingat bahwa saya sudah bilang soal PT",
    "ingat untuk memperpanjang visa saya", "jangan lupa kirim dokumen saya besok", "jangan lupa hubungi saya besok",
    "jangan lupa bayar pajak saya", "tolong ingatkan saya besok", "catat pajak saya", "ingat saya", "ingat saya ya",
    "perusahaan saya adalah PT PMA", "saya tinggal di Bali", "saya Budi",
    "nama saya salah di paspor", "nama saya tercantum di formulir", "nama saya tidak ada di daftar",
    "nama saya sudah terdaftar", "nama saya di paspor berbeda", "nama saya terlalu panjang", "NAMA SAYA SALAH",
    "panggil saya besok", "panggil saya kalau sudah selesai", "panggil saya nanti", "tolong panggil taksi",
    "saya dipanggil imigrasi", "nama saya budi@example.com",
    "ingat bahwa situs saya adalah https://example.com",
]  # fmt: skip
NO_ITALIAN = [
    "come mi chiamo?", "il mio nome è obbligatorio?", "il mio nome è Anna?", "mi chiamo Anna, vero?",
    "ti ricordi che ho una società?", "ricordi che ho una società?", "perché devo ricordare che ho un visto?",
    "ricordati che il mio visto scade, giusto?",
    "ricordi che ho una società", "mi ricordo che ho una società", "ha detto: ricordati che il mio visto scade",
    "lui ha detto ricordati che ho una società", "ha detto «Ciao. Mi chiamo Anna.»",
    "se muoio, ricordati che la mia casa è a Bali", "non ricordare che mi chiamo Anna",
    "ricordati di rinnovare il visto", "ricordati di me", "ricordati di mia moglie", "ricordami di rinnovare",
    "ricordati quando ho detto che ho una società", "ricordati che mi devi rispondere",
    "ricorda che il visto scade", "ricorda che ci sono scadenze", "ricordati che sono obbligatori i documenti",
    "ricordati che hai promesso", "nota che la legge è cambiata", "ricordati che ho detto tutto",
    "ho una società", "vivo a Milano", "il mio commercialista è Wayan", "sono Anna", "nome: Anna",
    "il mio nome è obbligatorio", "il mio nome è sbagliato sul visto", "mi chiamo come mio nonno", "mi chiamo fuori",
    "chiamami domani", "chiamami quando puoi", "chiamami più tardi", "mi chiami domani", "chiamami un taxi",
    "tutti mi chiamano ogni giorno", "mi chiamo da tre anni", "mi chiamo anna@example.com",
]  # fmt: skip


def found(message: str) -> list[tuple[str, str]]:
    return [(statement.text, statement.slot) for statement in stated(message)]


@pytest.mark.parametrize(("message", "text", "slot"), [*ENGLISH, *INDONESIAN, *ITALIAN])
def test_what_is_asked_to_be_remembered_is_stated(message: str, text: str, slot: str) -> None:
    assert found(message) == [(text, slot)]


@pytest.mark.parametrize("message", [*NO_ENGLISH, *NO_INDONESIAN, *NO_ITALIAN])
def test_nothing_else_is(message: str) -> None:
    assert stated(message) == []
    assert not only_states(message)


@pytest.mark.parametrize("name", ["sample", "plain", "held_out", "unanswerable", "small_talk", "follow_ups"])
def test_no_question_states_anything(name: str) -> None:
    lines = [json.loads(line) for line in (QUESTIONS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) >= 40
    assert [line["question"] for line in lines if stated(line["question"])] == []
    assert [line["question"] for line in lines if asks_what_is_known(line["question"])] == []


def test_no_document_states_anything() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT.parent / "documents").rglob("*.md"))]
    pieces = [text[start : start + READ] for text in texts for start in range(0, len(text), READ)]
    assert len(pieces) > 10
    assert [piece for piece in pieces if stated(piece)] == []


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        ("My name is Anna, but call me Ann.", ["My name is Anna.", "Call me Ann."]),
        ("Mi chiamo Anna, ma chiamami Ann", ["Mi chiamo Anna.", "Chiamami Ann."]),
        ("Nama saya Budi. Panggil saya Bud.", ["Nama saya Budi.", "Panggil saya Bud."]),
        ("My name is Anna. Remember that I live in Ubud.", ["My name is Anna.", "I live in Ubud."]),
        ("Remember that my name is Anna and I live in Bali", ["My name is Anna.", "I live in Bali."]),
        ("Remember that my name is Anna and that I live in Bali", ["My name is Anna.", "I live in Bali."]),
        ("My name is Anna and please remember that I am vegan", ["My name is Anna.", "I am vegan."]),
        ("Ingat bahwa nama saya Budi dan saya tinggal di Bali", ["Nama saya Budi.", "Saya tinggal di Bali."]),
        ("Remember that my company is a PT and I live in Bali", ["My company is a PT.", "I live in Bali."]),
        ("Remember that I'm married; my wife is Javanese", ["I'm married.", "My wife is Javanese."]),
        ("Remember that I have a villa and that my wife has a shop and that I am old",
         ["I have a villa.", "My wife has a shop.", "I am old."]),
        ("Remember that I have a villa and a shop", ["I have a villa and a shop."]),
        ("Remember that my wife and my son are here", ["My wife and my son are here."]),
        ("Remember that I live where my wife and I grew up", ["I live where my wife and I grew up."]),
        ("ricordati che ho una società e mia moglie ha un negozio", ["Ho una società.", "Mia moglie ha un negozio."]),
    ],
)  # fmt: skip
def test_several_statements_are_told_apart(message: str, texts: list[str]) -> None:
    assert [statement.text for statement in stated(message)] == texts
    assert only_states(message)


@pytest.mark.parametrize(
    "messages",
    [
        ("my name is Anna", "nama saya Anna", "mi chiamo Anna", "il mio nome è Anna"),
        ("call me Ann", "panggil saya Ann", "chiamami Ann"),
        ("remember that I live in Bali", "ingat bahwa saya tinggal di Bali", "ricordati che vivo a Bali"),
        ("remember that my company is a PT", "remember: my company was a CV", "Note that My Company is big"),
    ],
)
def test_what_may_be_said_in_other_words_has_one_slot(messages: tuple[str, ...]) -> None:
    slots = {statement.slot for message in messages for statement in stated(message)}
    assert len(slots) == 1
    assert slots != {""}


def test_a_long_statement_is_cut() -> None:
    (statement,) = stated("Remember that I own villas in " + "Ubud, " * 100)
    assert LONGEST - 10 < len(statement.text) <= LONGEST


def test_only_the_beginning_of_a_long_message_is_read() -> None:
    padding = "The law is long. " * (READ // 17)
    assert found("My name is Anna. " + padding * 2) == [("My name is Anna.", "name")]
    assert stated(padding + "The end of it all. My name is Anna.") == []
    assert not only_states("My name is Anna. Hello. " + " " * READ)


def test_a_sentence_that_is_cut_off_states_nothing() -> None:
    message = "Hello. " * 284 + "Call me Bob"
    assert len(message) < READ
    assert found(message) == [("Call me Bob.", "nickname")]
    assert stated(message + "by Brown") == []


# only_states


@pytest.mark.parametrize(
    "message",
    [
        "remember that my company is a PT PMA",
        "Hi! My name is Anna. Nice to meet you!",
        "Could you please remember that I'm vegan? Thank you!",
        "Halo, nama saya Budi. Salam kenal!",
        "Ciao! Mi chiamo Anna, piacere di conoscerti 😊",
        "tolong ingat saya tinggal di Bali ya, terima kasih",
    ],
)
def test_a_message_of_statements_and_courtesy_only_states(message: str) -> None:
    assert only_states(message)


@pytest.mark.parametrize(
    "message",
    [
        "Hi, my name is Anna and I need a visa",
        "My name is Anna. What visa do I need?",
        "Remember that I live in Bali, what visa do I need?",
        "Ricordati che ho una società e dimmi quali tasse pago",
        "Nama saya Budi dari Bandung",
        "My name is Anna (Ann for friends)",
        "Thanks!",
    ],
)
def test_a_message_that_says_more_does_not(message: str) -> None:
    assert not only_states(message)


# asks_what_is_known


@pytest.mark.parametrize(
    "message",
    [
        "what do you know about me?", "What do you remember about me?", "hi, what do you remember of me",
        "what have I told you about myself?", "tell me what you know about me", "do you know anything about me?",
        "what do you remember?", "do you know my name?", "do you still remember my name, please?", "who am I?",
        "What's my name?", "What’s my name?", "what is my name again?", "do you remember me?", "show me my memory",
        "Hello! What is my name? Thanks.",
        "cosa sai di me?", "Che cosa ti ricordi di me?", "cosa ricordi di me", "dimmi cosa sai di me, per favore",
        "dimmi quello che sai su di me", "come mi chiamo?", "E come mi chiamo?", "qual è il mio nome?",
        "qual e' il mio nome?", "ti ricordi di me?", "sai chi sono?",
        "apa yang kamu ingat tentang saya?", "Apa saja yang Anda ketahui tentang saya", "kamu tahu apa tentang saya?",
        "siapa nama saya?", "nama saya siapa?", "apakah kamu ingat nama saya?", "siapa saya?",
    ],
)  # fmt: skip
def test_it_is_asked_what_is_known(message: str) -> None:
    assert asks_what_is_known(message)
    assert stated(message) == []


@pytest.mark.parametrize(
    "message",
    [
        "", "hi", "thanks!", "what is my name on the visa?", "what do you know about KITAS?", "who is my sponsor?",
        "what do you know about me and PT PMA?", "what's my name? And what is a KITAS?", "do you know?",
        "my name is Anna", "remember me", "what is your name?", "chi sono?", "come si chiama?", "cosa sai di KITAS?",
        "siapa nama direktur saya?", "apa yang kamu tahu tentang pajak saya?", "come mi chiamo sul visto?",
        "what is my name? Hello. " + " " * READ,
    ],
)  # fmt: skip
def test_other_questions_are_not_about_what_is_known(message: str) -> None:
    assert not asks_what_is_known(message)


# properties


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text.casefold()))


_PIECES = [
    "remember", "that", "please", "my", "name", "is", "Anna", "i", "live", "in", "Bali", "and", "call me", "note", ",",
    "?", ".", "\n", '"', "“", "ingat", "bahwa", "nama", "saya", "tinggal", "di", "dan", "ricordati", "che", "mi",
    "chiamo", "e", "ho", "è", "company", "a", "PT.", "thanks", "😊", "\u200b", "...", "<b>", "a@example.com", "’", "'",
]  # fmt: skip
messages = st.lists(st.sampled_from(_PIECES), max_size=25).map(" ".join) | st.text(max_size=60)
asked = st.sampled_from(["Remember that I ", "my name is ", "ricordati che ho ", "ingat: saya ", "call me "])


@settings(deadline=None)
@given(st.builds(str.__add__, asked, messages) | messages)
@example("remember that I was ŉ")
@example("my name is Anna " + "! " * 500)
def test_every_word_that_is_stated_stands_in_the_message(message: str) -> None:
    said = words(one_line(message.replace("\n", " ")))
    for statement in stated(message):
        own = words(statement.text)
        assert any(said[place : place + len(own)] == own for place in range(len(said)))
        assert statement.text == clean(statement.text)
        assert not re.search(r"[<>@]|://", statement.text)


@settings(deadline=None)
@given(st.builds(str.__add__, asked, messages) | messages)
def test_what_only_states_does_not_ask_what_is_known(message: str) -> None:
    assert not (only_states(message) and asks_what_is_known(message))
    assert not only_states(message) or stated(message)


@pytest.mark.parametrize(
    "piece", ["!", "and ", "hi ", "remember ", "my name is A, ", "i x and i ", '"', "… ", "a.", "-"]
)
def test_a_message_made_to_take_long_is_read(piece: str) -> None:
    message = "remember that i " + piece * READ
    assert all(len(statement.text) <= LONGEST for statement in stated(message[:READ]))
