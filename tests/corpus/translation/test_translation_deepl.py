import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from deepl_server import KEY, DeepLServer, italian

from clip_italian.corpus.translation import (
    EngineStopped,
    Estimate,
    QuotaExceeded,
    TranslationPlan,
    Translator,
    Untranslated,
    open_translator,
)
from clip_italian.errors import CannotWrite, MissingExtra

Open = Callable[..., Translator]


def captions(count: int) -> list[str]:
    return [f"A dog number {i} runs on the beach" for i in range(count)]


def test_translates_in_order_by_requests_of_at_most_fifty_and_asks_no_text_twice(server: DeepLServer, deepl: Open):
    texts = captions(120)
    asked = [*texts, "", "  \n", *texts[:30], f" {texts[0]} "]
    assert deepl().translate(asked) == [*map(italian, texts), "", "", *map(italian, texts[:30]), italian(texts[0])]
    assert [len(request) for request in server.requests] == [50, 50, 20]
    assert set(server.paid.values()) == {1}
    assert deepl().translate(texts[::-1]) == [italian(text) for text in texts[::-1]]
    assert len(server.requests) == 3
    body = server.bodies[0]
    assert (body["source_lang"], body["target_lang"]) == ("EN", "IT") and "context" not in body


def test_requests_stay_under_the_limit_of_bytes_as_they_are_on_the_wire(server: DeepLServer, deepl: Open):
    texts = [f"{i} " + "è🐕" * 490 for i in range(60)]  # 1,000 characters, 8,800 bytes as the client writes them
    assert deepl(context="“" * 500).translate(texts) == [italian(text) for text in texts]
    assert 100_000 < max(server.sizes) <= 128 * 1024 and set(server.paid.values()) == {1}


def test_a_caption_of_a_megabyte_goes_in_parts_and_comes_back_whole(server: DeepLServer, deepl: Open):
    server.limit = 10**9
    text = "A dog runs on the beach. " * 40_000
    (translated,) = deepl().translate([text])
    assert translated.replace("[it] ", "") == text.strip()
    assert set(map(len, server.requests)) <= set(range(1, 51))


@pytest.mark.parametrize(
    "fault", [429, 500, 502, 503, 504, 529, "drop", "cut", "html", "list", "null", "bare", "extra"]
)
def test_a_passing_fault_is_waited_out(server: DeepLServer, deepl: Open, fault: int | str):
    server.faults.extend([fault, fault])
    texts = captions(60)
    assert deepl().translate(texts) == [italian(text) for text in texts]
    assert len(server.requests) == 4


@pytest.mark.parametrize("fault", [429, 503, "drop", "cut", "html"])
def test_a_lasting_fault_stops_with_everything_kept(server: DeepLServer, deepl: Open, fault: int | str, tmp_path: Path):
    texts = captions(150)
    translator = deepl()
    translator.translate(texts[:100])
    server.faults.extend([fault] * 4)
    with pytest.raises(EngineStopped, match=r"times in a row.*cache.sqlite") as stopped:
        translator.translate(texts)
    assert not isinstance(stopped.value, QuotaExceeded)
    assert len(server.requests) == 2 + (3 if fault == "html" else 4)
    server.faults.clear()
    assert translator.translate(texts) == [italian(text) for text in texts]
    assert all(server.paid[text] == 1 for text in texts[:100])


def test_waits_grow_with_jitter_and_are_told(
    server: DeepLServer, deepl: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    waits: list[float] = []
    monkeypatch.setattr("clip_italian.corpus.translation.deepl_api.time.sleep", waits.append)
    server.faults.extend([429] * 7)
    deepl(first_wait_s=1, longest_wait_s=20, attempts=8).translate(["A dog"])
    server.faults.extend([429] * 7)
    deepl(first_wait_s=1, longest_wait_s=20, attempts=8).translate(["A cat"])
    longest = [1, 2, 4, 8, 16, 20, 20] * 2
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, longest, strict=True))
    assert waits[:7] != waits[7:]
    assert "answered 429; waiting" in caplog.text and "attempt 2 of 8" in caplog.text


def test_the_quota_stops_cleanly_and_the_next_period_goes_on_where_it_stopped(server: DeepLServer, deepl: Open):
    texts = captions(200)
    server.limit = sum(map(len, texts[:120]))
    with pytest.raises(QuotaExceeded, match=r"quota is used up \(3,290 of 3,970 characters\).*kept in .*cache"):
        deepl().translate(texts)
    paid = dict(server.paid)
    assert len(paid) == 100
    assert deepl().estimate(texts).cached == 100
    server.limit = 10**6
    assert deepl().translate(texts) == [italian(text) for text in texts]
    assert len(server.paid) == 200 and set(server.paid.values()) == {1}


def test_a_text_that_deepl_refuses_is_found_and_all_others_are_translated(server: DeepLServer, deepl: Open):
    texts = captions(75)
    server.bad_texts = {texts[7]: 400, texts[60]: "empty"}
    with pytest.raises(Untranslated, match=r"^3 of 76 texts cannot be translated") as raised:
        deepl().translate([*texts, texts[7] + " "])
    bad = {7, 60, 75}
    expected = ["" if i in bad else italian(text) for i, text in enumerate([*texts, texts[7]])]
    assert raised.value.translations == expected
    assert "400" in raised.value.refused[texts[7]] and set(raised.value.refused) == {*server.bad_texts, texts[7] + " "}
    assert deepl().estimate(texts).cached == 73


def test_texts_that_come_back_empty_are_not_kept(server: DeepLServer, deepl: Open):
    server.bad_texts = {"A dog": "empty"}
    with pytest.raises(Untranslated) as raised:
        deepl().translate(["A dog"])
    assert raised.value.translations == [""] and raised.value.refused == {"A dog": "DeepL gave an empty translation"}
    server.bad_texts = {}
    assert deepl().translate(["A dog"]) == ["[it] A dog"]


def test_refused_texts_alone_are_told_from_settings_that_are_refused(server: DeepLServer, deepl: Open):
    server.bad_texts = dict.fromkeys(["bad", "worse"], 400)
    with pytest.raises(Untranslated, match="2 of 2"):
        deepl().translate(["bad", "worse"])
    server.faults.extend([400, 400])
    with pytest.raises(EngineStopped, match="refuses any text"):
        deepl().translate(["good", "better"])
    assert server.requests[-2:] == [["good", "better"], ["A dog."]]


def test_a_partial_answer_is_asked_again_and_then_narrowed_down(server: DeepLServer, deepl: Open):
    texts = captions(8)
    server.bad_texts = {texts[5]: "left out"}
    with pytest.raises(Untranslated, match=r"1 of 8.*gave 0 translations for 1 texts"):
        deepl().translate(texts)
    server.bad_texts = {}
    before = len(server.requests)
    assert deepl().translate(texts) == [italian(text) for text in texts]
    assert server.requests[before:] == [[texts[5]]]


def test_an_answer_too_large_for_the_server_is_halved(server: DeepLServer, deepl: Open):
    texts = captions(10)
    translator = deepl()
    translator.translate(["A cat"])
    server.faults.append(413)
    assert translator.translate(texts) == [italian(text) for text in texts]
    assert [len(request) for request in server.requests[-3:]] == [10, 5, 5]


def test_a_dead_server_and_a_silent_one(server: DeepLServer, deepl: Open):
    with pytest.raises(EngineStopped, match="no answer"):
        deepl(server_url="http://127.0.0.1:1").translate(["A dog"])
    server.delay = 1.5
    with pytest.raises(EngineStopped, match="no answer"):
        deepl(timeout_s=1, attempts=1).translate(["A dog"])


def test_a_wrong_address_is_not_waited_for(server: DeepLServer, deepl: Open):
    with pytest.raises(EngineStopped, match=r"404.*server_url"):
        deepl(server_url=f"{server.url}/other/").translate(["A dog"])


def test_a_wrong_key_is_not_waited_for(server: DeepLServer, deepl: Open, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DEEPL_AUTH_KEY", "wrong")
    with pytest.raises(EngineStopped, match="DEEPL_AUTH_KEY"):
        deepl().translate(["A dog"])
    monkeypatch.setenv("DEEPL_AUTH_KEY", "wrong\nkéy")
    with pytest.raises(EngineStopped, match="characters that no key has"):
        deepl().translate(["A dog"])
    monkeypatch.delenv("DEEPL_AUTH_KEY")
    with pytest.raises(EngineStopped, match="not set"):
        deepl().translate(["A dog"])


def test_the_key_is_in_no_log_message_name_or_file(
    server: DeepLServer, deepl: Open, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    caplog.set_level(logging.DEBUG)
    translator = deepl()
    translator.translate(["A cat"])
    caplog.set_level(logging.INFO, "deepl")  # at DEBUG the client logs whatever a server says
    server.faults.extend([429, 418])  # and this one repeats the key
    with pytest.raises(EngineStopped) as raised:
        translator.translate(["A dog"])
    error: BaseException | None = raised.value
    told = ""
    while error is not None:
        told, error = told + str(error), error.__cause__
    translator.translate(["A dog"])
    assert "418" in told
    assert KEY not in told + caplog.text + translator.engine
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_neither_key_nor_client_is_needed_for_an_estimate(deepl: Open, monkeypatch: pytest.MonkeyPatch):
    deepl().translate(["A dog", "A cat"])
    monkeypatch.delenv("DEEPL_AUTH_KEY")
    monkeypatch.setitem(sys.modules, "deepl", None)
    translator = deepl(price_per_million=25, currency="USD")
    texts = ["A dog", "A cat", "A dog", "", "è" * 400, "è" * 400]
    assert translator.estimate(texts) == Estimate(texts=3, characters=400, cached=2, cost=0.01, currency="USD")
    with pytest.raises(MissingExtra, match=r"pip install 'clip-italian\[corpus\]'"):
        translator.translate(["A horse"])
    assert translator.translate(["A dog"]) == ["[it] A dog"]


def test_the_estimate_is_what_is_then_paid(server: DeepLServer, deepl: Open):
    texts = captions(70) + ["x" * 3333, "“è”🐕"] * 2
    estimate = deepl().estimate(texts)
    deepl().translate(texts)
    assert server.used == estimate.characters
    assert deepl().estimate(texts).characters == 0


def test_forgotten_texts_are_asked_for_again(server: DeepLServer, deepl: Open):
    long = "A dog runs. " * 200
    deepl().translate(["A dog", "A cat", long])
    assert deepl().forget(["A dog ", long, "never seen"]) == 1 + 2  # two of its three parts are the same
    assert deepl().estimate(["A dog", "A cat", long]).cached == 1


def test_progress_counts_texts(deepl: Open):
    texts = captions(120)
    deepl().translate(texts[:10])
    seen: list[tuple[int, int]] = []
    deepl().translate(texts + texts, lambda done, total: seen.append((done, total)))
    assert seen == [(20, 240), (120, 240), (220, 240), (240, 240)]


def test_the_engine_has_one_name_for_one_kind_of_translation(server: DeepLServer, deepl: Open):
    assert deepl().engine == deepl(attempts=9, price_per_million=3).engine == "deepl:en-it"
    names = {deepl(**s).engine for s in ({}, {"context": "captions"}, {"source": "it", "target": "en"})}
    assert len(names) == 3
    deepl(context="Captions of photos").translate(["A dog"])
    deepl(source="it", target="en").translate(["Un cane"])
    assert server.bodies[0]["context"] == "Captions of photos"
    assert (server.bodies[1]["source_lang"], server.bodies[1]["target_lang"]) == ("IT", "EN-US")


def test_the_settings_of_the_client_are_left_as_they_were(deepl: Open):
    from deepl import http_client

    before = http_client.max_network_retries, http_client.min_connection_timeout
    deepl(timeout_s=123).translate(["A dog"])
    assert (http_client.max_network_retries, http_client.min_connection_timeout) == before


def test_nothing_is_sent_that_could_not_be_kept(server: DeepLServer, deepl: Open, monkeypatch: pytest.MonkeyPatch):
    translator = deepl()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(CannotWrite, match="disk is full"):
        translator.translate(["A dog"])
    assert not server.requests


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_is_refused_before_anything_is_sent(
    server: DeepLServer, deepl: Open, tmp_path: Path
):
    deepl().close()
    (tmp_path / "cache.sqlite").chmod(0o400)
    with pytest.raises(CannotWrite):
        deepl().translate(["A dog"])
    assert not server.requests


def test_two_translators_at_once_pay_for_no_text_twice(server: DeepLServer, deepl: Open):
    server.delay = 0.02
    texts = captions(200)
    translators = [deepl(), deepl()]
    results: dict[int, list[str]] = {}
    orders = [texts, texts[::-1]]

    def work(i: int) -> None:
        results[i] = translators[i].translate(orders[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[i] == [italian(text) for text in orders[i]] for i in range(2))
    assert len(server.paid) == 200 and set(server.paid.values()) == {1} and server.max_at_once == 1


def test_opening_asks_the_server_nothing(server: DeepLServer, tmp_path: Path):
    with open_translator(TranslationPlan(server_url=server.url), tmp_path / "c.sqlite", tmp_path) as translator:
        assert translator.translate([]) == [] and translator.translate(["", " "]) == ["", ""]
    assert not server.requests
