import pickle

import pytest
from pydantic import ValidationError

from clip_italian.corpus.translation import TranslationPlan


def test_every_setting_has_a_default_and_a_description():
    plan = TranslationPlan()
    assert plan.engine == "deepl" and (plan.source, plan.target) == ("en", "it")
    assert all(field.description for field in TranslationPlan.model_fields.values())
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_no_setting_holds_a_key():
    assert not [name for name in TranslationPlan.model_fields if "key" in name or "auth" in name]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": "x"}, "key"),
        ({"engine": "google"}, "engine"),
        ({"source": "it"}, "both it"),
        ({"engine": "ctranslate2"}, "needs a model"),
        ({"price_per_million": -1}, "price"),
        ({"price_per_million": float("nan")}, "price"),
        ({"beam": 0}, "beam"),
        ({"server_url": "api.deepl.com"}, "https://"),
        ({"server_url": "ftp://api.deepl.com"}, "https://"),
        ({"server_url": "http://api.deepl.com"}, "unencrypted"),
        ({"server_url": "http://127.0.0.1.example.com"}, "unencrypted"),
        ({"server_url": "https://me:secret@api.deepl.com"}, "DEEPL_AUTH_KEY"),
    ],
)
def test_refuses_wrong_settings(settings: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        TranslationPlan.model_validate(settings)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:80", "https://x.example"])
def test_takes_safe_addresses(url: str):
    assert TranslationPlan(server_url=url).server_url == url
