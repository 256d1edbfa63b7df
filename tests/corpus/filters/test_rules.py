"""Each rule on texts it is meant for, and on ordinary captions that look like them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_italian.corpus.filters.check import Filters
from clip_italian.corpus.filters.plan import FilterPlan

REFUSED = {
    "too short": ["", "a", "  <br> "],
    "too long": ["gatto " * 101, "o" * 701],
    "garbled": ["Perch\u00c3\u00a9 no", "L\u00e2\u20ac\u2122isola", "citt\ufffd vecchia"],
    "personal data": [
        *("Scrivi a mario.rossi@example.it", "info (at) museo.org", "Chiamate il 333 1234567", "Tel. 06 12345678"),
        *("tel: 055/234567", "+39 02 1234 5678", "+39 333 1234567", "0039 347 1234567", "Cell 3471234567"),
        *("numero 347-123 45 67 di Anna", "Agenzia 02-76543210 Milano", "Codice RSSMRA85T10A562S di prova"),
        *("IBAN IT60X0542811101000000123456", "IBAN IT60 X054 2811 1010 0000 0123 456", "fax 0651234567"),
        *("Carta 4539 1488 0343 6467 scaduta", "Casa in via Roma 12, 00184 Roma", "Call us at (555) 123-4567"),
        *("numero verde 800 123 456", "WhatsApp +39 3471234567 per info"),
    ],
    "url": ["Guarda su https://example.com/foto", "Visita www.museo.it oggi", "Il sito beniculturali.it mostra"],
    "file name": [
        *("IMG_1234.jpg", "DSC00123", "DSCN4567", "foto_gatto_02.png", "Veduta di Roma.jpg", "P1020304", "img-0042"),
        *("20190512_101530", "WhatsApp Image 2020-05-01", "IMG 20190512", "Screenshot 2021"),
    ],
    "credit": [
        *("Foto: Mario Rossi", "© 2012 Museo", "Photo by John Smith", "Foto © ANSA", "Un gatto. Foto: Anna Bo"),
        *("Gatto nero - foto stock", "Shutterstock 12345678", "Tutti i diritti riservati", "Courtesy of the artist"),
        *("Ph. Luca Neri", "Copyright Getty Images", "cod. 12345678 immagine"),
    ],
    "placeholder": [
        *("immagine", "logo", "Foto 3", "clicca qui per ingrandire", "Immagine non disponibile", "foto n. 12"),
        *("Senza titolo", "image", "Clicca sull'immagine", "Leggi tutto", "Image 1 of 5"),
    ],
    "repeated": ["aaaaaaaa gatto", "foto foto foto foto foto foto", "gatto cane " * 8],
    "few letters": ["12/03/1999", "Москва зимой", "1 - 2 - 3 - 4 a", "東京の夜景"],
    "proper nouns": ["Dora Riparia", "Roma, Italia"],
    "language": ["A black dog runs on the beach", "Un perro negro corre por la playa junto a su dueño"],
}
KEPT = [
    *("Foto di un gatto nero", "La partita finì 3-2 nel 1982", "Roma, 12/03/1999: il corteo in piazza", "Tramonto"),
    *("Costa 1.234.567 euro", "Prezzo: € 12,50 al chilo", "Il ponte costruito nel 1939-1945", "Gatto"),
    *("Un aereo Boeing 747-400 in volo", "Alle 08:30 il treno parte", "Inventario 0123456789 del museo"),
    *("Coordinate 45.4642, 9.1900 sulla mappa", "La chiesa in via Roma 12 a Torino", "Fontana di Trevi"),
    *("Circa 300 000 000 abitanti nel paese", "Il volume ISBN 978-88-06-12345-6 aperto", "Logo della Juventus"),
    *("La locomotiva E.444.001 in stazione", "Immagine di un tramonto", "Il 25 dicembre 2010 nevica"),
    *("01-02-2020 arrivo della tappa", "Rivista n. 1234567 in edicola", "Nel 1861 nasce il Regno"),
    *("Il modello RX-78-2 in vetrina", "2010-2011, la stagione della squadra", "Sezione dell'edificio, scala 1:1000"),
    *("Popolazione +2.500.000 in un anno", "Foto di gruppo della classe", "Una donna scarica la lavatrice"),
    *("Il treno 9412 per Milano delle 10.35", "Carta 1234 5678 in mano", "Km 12+500 della strada statale"),
    *("Lire 10.000.000 in banconote", "La galassia NGC 1300", "Codice RSSMRA85T10A562A inventato"),
    *("IBAN IT61X0542811101000000123456 sbagliato nella foto", "Un calciatore con la maglia numero 10"),
]


@pytest.fixture(scope="module")
def filters() -> Filters:
    return Filters(FilterPlan())


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in REFUSED.items() for text in texts])
def test_refused_for_the_right_reason(filters: Filters, rule: str, text: str) -> None:
    assert filters.check([text])[0].reason == rule


@pytest.mark.parametrize("text", KEPT)
def test_ordinary_captions_stay(filters: Filters, text: str) -> None:
    assert filters.check([text])[0].reason == ""


@given(st.dates())
def test_no_date_is_a_telephone_number(filters: Filters, day: object) -> None:
    for form in ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y-%m-%d", "%d %m %Y"):
        text = f"Il corteo del {day:{form}} in piazza"
        assert filters.check([text])[0].reason == "", text


@given(st.integers(0, 10**9), st.sampled_from([".", " "]))
def test_no_quantity_is_a_telephone_number(filters: Filters, count: int, gap: str) -> None:
    text = f"Circa {count:,} abitanti vivono nella regione".replace(",", gap)
    assert filters.check([text])[0].reason == "", text
