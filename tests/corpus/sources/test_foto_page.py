"""The page parser: layouts a newspaper may have, credits, refusals, and any damaged page."""

from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.corpus.sources.foto_page import Photo, read_page

AT = "https://www.giornale.it/foto-del-giorno/2021/07/05/"


def page(body: str, head: str = ""):
    return read_page(f"<!doctype html><html><head><meta charset=utf-8>{head}</head><body>{body}".encode(), AT)


def test_figures():
    found = page(
        '<time datetime="2021-07-05T09:00:00+02:00">5 luglio</time>'
        '<figure><a href="/grande"><img src="/wp-content/1.jpg" alt="x"></a>'
        "<figcaption>Venezia,<br>Italia\n<em>all’alba</em> (AP Photo/Ada Bo)</figcaption></figure>"
        '<figure><img src="2.jpg"><figcaption> </figcaption></figure>'
        "<figure><figcaption>senza foto</figcaption></figure>"
        '<figure><img src="//cdn.giornale.it/3.jpg"><figcaption>Un gatto (grigio) a Roma</figcaption></figure>'
    )
    assert found.photos == (
        Photo("https://www.giornale.it/wp-content/1.jpg", "Venezia, Italia all’alba", "AP Photo/Ada Bo"),
        Photo("https://cdn.giornale.it/3.jpg", "Un gatto (grigio) a Roma"),
    )
    assert found.date == "2021-07-05"
    assert found.links == ("https://www.giornale.it/grande",)
    assert not found.refusal


def test_the_widest_picture_and_late_loading():
    found = page(
        '<figure><img src="data:image/gif;base64,R0" data-srcset="/a.jpg 320w, /b.jpg 1024w, /c.jpg 768w">'
        "<figcaption>Uno</figcaption></figure>"
        '<figure><img src="data:image/gif;base64,R0" data-src="/d.jpg"><figcaption>Due</figcaption></figure>'
        '<figure><img src="/e.jpg" srcset="/e.jpg 1x, /f.jpg 2x"><figcaption>Tre</figcaption></figure>'
        '<figure><img src="data:image/gif;base64,R0"><figcaption>Quattro</figcaption></figure>'
    )
    assert [photo.image.rpartition("/")[2] for photo in found.photos] == ["b.jpg", "d.jpg", "f.jpg"]


def test_the_preview_where_there_are_no_figures():
    head = (
        '<meta property="og:image" content="https://www.giornale.it/og.jpg"><meta property="og:title" content="Titolo">'
        '<meta property="article:published_time" content="2021-07-05T08:00:00Z">'
    )
    assert page("<p>testo", head).photos == (Photo("https://www.giornale.it/og.jpg", "Titolo"),)
    described = page("<p>testo", head + '<meta property="og:description" content="Barche a Napoli [foto: ANSA].">')
    assert described.photos == (Photo("https://www.giornale.it/og.jpg", "Barche a Napoli", "foto: ANSA"),)
    assert described.date == "2021-07-05"
    assert page("<p>niente").photos == ()


def test_refusals():
    assert "noai" in page("", '<meta name="robots" content="index, NoAI">').refusal
    assert "mining" in page("", '<meta name="tdm-reservation" content="1">').refusal
    assert not page("", '<meta name="robots" content="index,follow"><meta name="tdm-reservation" content="0">').refusal


def test_scripts_and_other_addresses_are_no_captions():
    found = page(
        '<figure><img src="javascript:alert(1)"><figcaption>Uno</figcaption></figure>'
        '<figure><img src="/a.jpg"><figcaption>Due<script>x("tre")</script></figcaption></figure>'
        '<figure><img src="http://[bad/"><figcaption>Tre</figcaption></figure>'
    )
    assert found.photos == (Photo("https://www.giornale.it/a.jpg", "Due"),)


def test_old_encodings():
    body = '<html><meta charset="iso-8859-1"><figure><img src="/a.jpg"><figcaption>Città</figcaption></figure>'
    assert read_page(body.encode("latin-1"), AT).photos[0].caption == "Città"
    assert read_page(body.replace("iso-8859-1", "nonsense").encode("cp1252"), AT).photos[0].caption == "Città"


@given(st.lists(st.one_of(st.text(max_size=5), st.sampled_from(
    ["<figure>", "</figure>", '<img src="/a.jpg"', ">", "<figcaption>", "</figcaption", "<meta name=robots", "<!--",
     "<![CDATA[", "&#x110000;", "&", "<script>", "srcset=' , 3w,'", "<time datetime", "<a href='http://[':>"]
)), max_size=25).map("".join))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_no_page_breaks_the_parser(text):
    for photo in read_page(text.encode("utf-8", "surrogateescape"), AT).photos:
        assert photo.image.startswith("http")
        assert photo.caption
