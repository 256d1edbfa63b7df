"""What addresses and names tell."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.corpus.duplicates.addresses import Identity, address_key, identify


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("COCO_val2014_000000000359.jpg", Identity(coco=359)),
        ("http://images.cocodataset.org/val2014/COCO_val2014_000000391895.jpg", Identity(coco=391895)),
        ("http://images.cocodataset.org/val2017/000000123456.jpg?x=1", Identity(coco=123456)),
        ("images-00.tar#000000000009.jpg", Identity(coco=9)),
        ("foto/201905121230.jpg", Identity()),  # a date, not a COCO number
        ("1000000123456.jpg", Identity()),
        ("http://farm3.staticflickr.com/2533/4071979537_2ce87cb326_z.jpg", Identity(flickr=4071979537)),
        ("https://live.staticflickr.com/65535/4071979537_2ce87cb326_o.jpg", Identity(flickr=4071979537)),
        ("http://farm4.static.flickr.com/3047/2606024466_1f218f6265.jpg", Identity(flickr=2606024466)),
        ("https://c1.staticflickr.com/9/8123/2606024466_1f218f6265_b.jpg", Identity(flickr=2606024466)),
        ("https://www.flickr.com/photos/some.one/2606024466/in/photostream", Identity(flickr=2606024466)),
        ("flickr8k/1000268201_693b08cb0e.jpg", Identity(flickr=1000268201)),
        ("https://s3.amazonaws.com/open-images/train/d89a4889331ce042.jpg", Identity(open_images=0xD89A4889331CE042)),
        ("d89a4889331ce042", Identity(open_images=0xD89A4889331CE042)),
        ("https://example.org/d89a4889331ce0421.jpg", Identity()),
        ("https://example.org/COCO%5Fval2014%5F000000000359.jpg", Identity(coco=359)),
        ("https://example.org/gatto.jpg", Identity()),
        ("", Identity()),
    ],
)
def test_identify(text, known):
    assert identify(text) == known
    assert bool(identify(text)) == (known != Identity())


def test_short_flickr_addresses_count_in_base_58():
    alphabet = "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
    number, digits = 8_123_456_789, ""
    while number:
        number, digit = divmod(number, 58)
        digits = alphabet[digit] + digits
    assert identify(f"https://flic.kr/p/{digits}").flickr == 8_123_456_789


SAME = [
    [
        "https://upload.wikimedia.org/wikipedia/commons/a/ab/Il_Duomo.jpg",
        "https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Il_Duomo.jpg/640px-Il_Duomo.jpg",
        "http://upload.wikimedia.org/wikipedia/commons/a/ab/Il%5FDuomo.jpg",
        "https://commons.wikimedia.org/wiki/File:Il_Duomo.jpg",
        "https://commons.wikimedia.org/wiki/Special:FilePath/Il%20Duomo.jpg?width=300",
    ],
    [
        "http://farm3.staticflickr.com/2533/4071979537_2ce87cb326_z.jpg",
        "https://live.staticflickr.com/2533/4071979537_2ce87cb326_b.jpg",
        "https://www.flickr.com/photos/me/4071979537/",
    ],
    [
        "http://images.cocodataset.org/train2017/000000000009.jpg",
        "http://images.cocodataset.org/train2014/COCO_train2014_000000000009.jpg",
    ],
    [
        "http://www.Example.org/a%C3%A8.jpg?utm_source=x#top",
        "https://example.org:443/aè.jpg",
        "https://example.org/aè.jpg?fbclid=3",
    ],
]


@pytest.mark.parametrize("addresses", SAME)
def test_addresses_of_one_picture(addresses):
    assert len({address_key(address) for address in addresses}) == 1


def test_addresses_of_different_pictures():
    different = [group[0] for group in SAME]
    different += ["https://example.org/a.jpg?id=1", "https://example.org/a.jpg?id=2", "https://example.org/A.jpg"]
    different += ["https://upload.wikimedia.org/wikipedia/it/a/ab/Il_Duomo.jpg", "foto/1.jpg", "foto.tar#1.jpg"]
    assert len({address_key(address) for address in different}) == len(different)
    assert address_key("foto/COCO_val2014_000000000359.jpg") == "foto/COCO_val2014_000000000359.jpg"


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(max_size=40).map("http://".__add__))
def test_any_text_is_an_address(text):
    assert address_key(text) == address_key(text)
    identify(text)
    assert address_key("http://[") == "http://["
