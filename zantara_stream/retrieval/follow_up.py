"""What is searched for a question that leans on its conversation ("and for a spouse?").

A question either names its subject or leans on an earlier one; its own words tell which, by the lists below. One that
leans is searched together with the user's turns back to the one that names the subject. docs/decisions/0012 says why
no model is asked, and what is found so. In a language without lists, nearly every question is taken to stand alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_TURNS = 4  # of the user's, looked back over
LONGEST = 160  # characters; a longer question has words enough of its own
TURN = 300  # characters taken of an earlier turn, its last ones

STRONGLY, SLIGHTLY = 0.8, 0.4  # weight of the turn leaned on, where the question names next to nothing, or little
OLDER = 0.5  # share of that weight for the turns before it, which a chain of follow-ups leans on


@dataclass(frozen=True, slots=True)
class Part:
    """A text to search for, and how much it counts beside the other parts: above 0, at most 1."""

    text: str
    weight: float


def _words(*lists: str) -> frozenset[str]:
    return frozenset(word for listed in lists for word in listed.split())


# Words that name nothing: what grammar needs, and what courtesy adds.
_GRAMMAR = _words(
    "a about after again all am an and any anything are as at be been before but by can could did do does doing done"
    " else ever every for from get give go had has have hello here hi how i if in instead into is just know like let"
    " ll m may me might more most much many must my need needs no not now of off ok okay on only or other our out over"
    " please re really s same shall should since so some something still such sure t tell than thank thanks the then"
    " there through to too under until up us use ve very want was we well were what when where which while who whom"
    " whose why will with within without would yes you your d isn don doesn didn great say mean",
    "ada adalah agar akan aku anda apa apakah apabila atau atas bagaimana bagi bahwa baik banyak beberapa begitu"
    " belum berapa berapakah bila bisa bisakah boleh bolehkah bukan dalam dan dapat dapatkah dari daripada dengan di"
    " dong dulu gimana hal halo hanya harus haruskah hingga iya jadi jika juga kah kalau kalo kami kan kapan karena"
    " kasih ke kemudian kepada kita lagi lah lain lalu lebih maka makasih mana masih mau mengapa kenapa menjadi nanti"
    " oke oleh pada para paling perlu perlukah pula pun punya saja sajakah sama sampai sangat satu saya sebagai"
    " sebelum secara sedang sejak selama selain semua seperti serta sesudah setelah setiap siapa sudah supaya tanpa"
    " tapi terhadap terima tetapi terus tidak nggak gak untuk ya yang tolong ingin mohon tadi sih",
    "a ad adesso agli ai al all alla alle allo allora altre altri altro anch anche ancora avere ha hai hanno ho bene"
    " c che chi ci come comunque con cos cosa così cui d da dagli dai dal dall dalla dalle dallo degli dei del dell"
    " della delle dello deve devo devono di dire dobbiamo dopo dove dov due e è ed essere fa faccio fanno fare fra già"
    " gli grazie i il in inoltre insieme invece io l la le ma me mi mia mie miei mio molto ne negli nei nel nell nella"
    " nelle nello no noi non nostra nostro o ogni ok oppure ora per perché però più può poi possiamo posso possono"
    " prego prima proprio pure qual quale quali qualcosa quando quant quanta quante quanti quanto quindi qui sa sarà"
    " scusa se sei sempre senza si sì sia sono sta stato stata stesso su sugli sui sul sull sulla sulle sullo tra tu"
    " tua tuo tutti tutto tutte un una uno va vanno vi voglio vorrei vostro vuole dev com",
    "a al algo ante antes aún bien cada como cómo con cual cuál cuales cuáles cuando cuándo cuanta cuánta cuantas"
    " cuántas cuanto cuánto cuantos cuántos de debe debemos deben debo del desde después donde dónde dos el en"
    " entonces entre era es está están estoy fue gracias ha hace hacer hago han hasta hay he hola igual la las le les"
    " lo los más me mi mis mucho muy nada ni no nos nosotros o otra otras otro otros para pero poco podemos podría por"
    " porque puede pueden puedo pues que qué quien quién quiero quiere se sea ser si sí siempre sin sobre son soy"
    " también tampoco tan te ten tener tengo tenemos tiene tienen toda todas todo todos tu tus u un una unas uno unos"
    " usted va vale ver vez y ya yo hacen",
)

# What may be asked of nearly any subject, so that it names none: its price, its time, its conditions, its people.
_ATTRIBUTES = _words(
    "cost costs bring price prices fee fees pay paid payment charge charges taxed expensive cheap discount discounts"
    " amount rate rates long time times date dates details exceptions last lasts day days week weeks month months"
    " monthly year years yearly deadline late early earliest latest due valid validity duration expire expires soon"
    " often once twice first second old age new advance take takes required requirement requirements condition"
    " conditions document documents papers compulsory mandatory allowed possible legal free apply happen happens"
    " minimum maximum max min limit percent fine fines penalty extra extend extended extension renew renewed renewal"
    " example difference work works family spouse wife husband child children kids kid parents partner dependants"
    " large big small high low far one two three five ten number kind type",
    "biaya tarif harga ongkos bayar dibayar membayar mahal murah tambahan lama waktu kali hari minggu bulan tahun"
    " tanggal batas akhir tenggat terlambat lambat cepat berlaku wajib syarat persyaratan dokumen surat cara proses"
    " diperlukan dibutuhkan perpanjang diperpanjang perpanjangan denda sanksi gratis minimal maksimal persen contoh"
    " jumlah keluarga istri suami pasangan anak orang tua dua tiga lima sepuluh jenis nomor besar kecil umur usia"
    " berubah terjadi",
    "costo costi costa costano prezzo prezzi tariffa sconto sconti costerebbe tassato tassati pagare pago paga pagano"
    " caro tempo tempi tanto lungo dura durata giorno giorni settimana settimane mese mesi anno anni volta volte entro"
    " scadenza scade tardi ritardo presto valido valida validità vale serve servono requisito requisiti condizione"
    " condizioni documenti documento obbligatorio obbligatoria possibile permesso legale gratis minimo massimo minima"
    " massima percentuale multa sanzione rinnovo rinnovare prorogare proroga esempio differenza lavorare famiglia"
    " familiari coniuge moglie marito figlio figli figlia bambini genitori tre cinque dieci numero tipo età succede"
    " vecchia nuovo",
    "costo costos cuesta cuestan precio precios tarifa descuento pagar pago paga caro tiempo largo dura duración día"
    " días semana semanas mes meses año años veces plazo vence tarde pronto válido válida validez sirve necesito"
    " necesita requisito requisitos condición condiciones documentos documento obligatorio obligatoria posible"
    " permitido legal gratis mínimo máximo porcentaje multa sanción renovar renovación prorrogar prórroga ejemplo"
    " diferencia trabajar familia familiares cónyuge esposa esposo marido mujer hijo hijos hija niños padres tres"
    " cinco diez número tipo edad pasa",
)

# Words that go on with what was said, where a question begins with them.
_OPENERS = _words(
    "and or but so then also plus what_about how_about what_if what_else anything_else same instead",
    "dan atau tapi tetapi lalu kemudian terus kalau kalo jika bila bagaimana_dengan gimana_dengan bagaimana_kalau",
    "e ed o oppure ma invece quindi allora anche",
    "y o pero entonces también qué_hay qué_pasa",
)
# What is said before them, or before a question that stands alone.
_FILLERS = _words(
    "ok okay oke yes no thanks thank you great well hmm baik ya terima kasih grazie bene sì vale gracias sí"
)

# Words that stand for what was named before.
_POINTERS = _words(
    "it its they them their theirs this that these those he him his she her one ones too",
    "itu ini tersebut dia ia mereka",
    "questo questa questi queste quello quella quelli quelle ciò lui lei loro esso essa suo sua suoi sue li",
    "eso esto ese esa esos esas este estos estas aquello ello ellos ellas su sus",
)
_NO_POINTERS = _words(  # they end like one
    "biasanya misalnya sebenarnya sebaiknya seharusnya umumnya akhirnya khususnya selanjutnya sebelumnya setidaknya"
    " artinya adanya bertanya parla parlo parli perla perle carlo carla"
)
_WITH_POINTER = re.compile(r".{3,}nya|\w+[aei]r(?:lo|la|li|le)s?")  # biayanya; farlo, hacerlas
_INDONESIAN_VERB = re.compile("di|ber|me|ter")
_AFTER_ARTICLE_LO = re.compile(r"s[^aeiou]|z|gn|ps|que$|mismo$")
_MODALS = _words("posso puoi può possiamo devo devi deve dobbiamo voglio si ho ha puedo puede podemos debo debe tengo")
_POINTLESS = re.compile(r"\bit(?: \w+){1,3} (?:to|that|if)\b|\bapa itu\b|\bitu apa\b")  # "is it possible to"

_NAMELESS = _GRAMMAR | _ATTRIBUTES | _POINTERS | _NO_POINTERS
_DEFINITION = re.compile(  # "what is a kitap?" names its subject, if it is but one word
    r"(?:what(?:'s| is| are)(?: an?)?|apa(?: itu| arti)|(?:che )?cos(?:'è|a è|a sono)(?: un[oa]?)?"
    r"|qu[eé] (?:es|son)(?: un[oa]?)?) \S+"
)
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_CLAUSE = re.compile(r"[,.;:?!–—]+(?:\s|$)")


def parts(query: str, earlier: Sequence[str]) -> list[Part]:
    """What to search for a question that the user asked after `earlier` ones, oldest first.

    The question itself comes first, with weight 1, and is the only part where it stands alone.
    """
    own = Part(query, 1.0)
    leaning = _leaning(query) if earlier else 0.0
    turns = _back_to_subject([turn for turn in earlier if turn != query]) if leaning else []
    return [own, *(Part(turn, leaning * (OLDER if place else 1)) for place, turn in enumerate(turns))]


def _back_to_subject(earlier: Sequence[str]) -> list[str]:
    """The turns that name something, latest first, as far as the first that stands alone."""
    turns: list[str] = []
    for turn in reversed(earlier[-MOST_TURNS:]):
        said = turn[-TURN:].strip()
        if _names(said):
            turns.append(said)
            if not _leaning(said):
                break
    return turns


def _leaning(question: str) -> float:
    """How much a question leans on its conversation: 0 for one that names its subject."""
    if len(question) > LONGEST:
        return 0.0
    names = _names(question)
    if not names:
        return STRONGLY
    if _goes_on(question) or _points_back(question):
        return STRONGLY if len(names) <= 2 else SLIGHTLY if len(names) == 3 else 0.0
    alone = len(names) > 1 or _is_identifier(names[0]) or _DEFINITION.fullmatch(question.casefold().strip(" ?¿.!"))
    return 0.0 if alone else SLIGHTLY


def _names(text: str) -> list[str]:
    """The words of a text that may name a subject."""
    spoken = _WORD.findall(text)
    if len(spoken) > 2 and text.isupper():  # shouted: capitals tell nothing
        spoken = [word.casefold() for word in spoken]
    return [word for word in spoken if _may_name(word)]


def _may_name(word: str) -> bool:
    folded = word.casefold()
    if _is_identifier(word):
        return True
    return not (folded.isdigit() or {folded, folded.removesuffix("nya")} & _NAMELESS)


def _is_identifier(word: str) -> bool:
    """Whether a word names something by its form: KITAP, C1, 55193, or what is written without spaces between."""
    if word.isalpha() and word[1:].islower():
        return False
    if word.isdigit():
        return len(word) > 4  # a shorter one is a number or a year
    if len(word) > 1 and word.upper() == word.lower():
        return True  # a script without capitals, for which there are no lists
    return sum(letter.isupper() for letter in word) > 1 or any(character.isdigit() for character in word)


def _goes_on(question: str) -> bool:
    """Whether a question begins by going on with what was said."""
    said = _WORD.findall(question.casefold())
    while said and said[0] in _FILLERS:
        del said[0]
    return bool(said) and (said[0] in _OPENERS or "_".join(said[:2]) in _OPENERS)


def _points_back(question: str) -> bool:
    """Whether a pronoun stands for something that the question has not named in a clause before it."""
    for clause in _CLAUSE.split(_POINTLESS.sub(" ", question.casefold())):
        said = _WORD.findall(clause)
        if any(_is_pointer(word, after) for word, after in zip(said, [*said[1:], ""], strict=False)):
            return True
        if _names(clause):
            return False
    return False


def _is_pointer(word: str, after: str) -> bool:
    """Whether a word, before the word `after`, is a pronoun or ends with one."""
    if word == "lo":
        return not _AFTER_ARTICLE_LO.match(after)
    if word in ("la", "le", "los", "las"):
        return after in _MODALS
    if word.endswith("nya") and after and after not in _GRAMMAR and not _INDONESIAN_VERB.match(after):
        return False  # "biayanya perpanjangan": whose it is follows
    return word in _POINTERS or (word not in _NO_POINTERS and _WITH_POINTER.fullmatch(word) is not None)
