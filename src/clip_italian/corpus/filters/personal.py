"""Personal data in a caption: e-mail addresses, telephone numbers, codice fiscale, IBAN, cards, home addresses.

Public names: personal_data. What has check digits is checked, so that inventory numbers stay; dates, years, scores,
prices, times, coordinates and quantities are no telephone numbers.
"""

import re

_AT = ("@", "(at)", "[at]", "(chiocciola)")
_EMAIL = re.compile(
    r"[\w.+\-]{1,64}\s?(?:@|\(at\)|\[at\]|\(chiocciola\))\s?[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,4}", re.IGNORECASE
)
_CODICE_FISCALE = re.compile(
    r"\b([A-Z]{6}[\dLMNP-V]{2}[A-EHLMPRST][\dLMNP-V]{2}[A-Z][\dLMNP-V]{3})([A-Z])\b", re.IGNORECASE
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z\d]{4}){2,7}(?:\s?[A-Z\d]{1,4})?\b")
_CARD = re.compile(r"(?<![\d.,])(?:\d[ \-]?){12,18}\d(?![\d.,]?\d)")
_ADDRESS = re.compile(
    r"\b(?:via|viale|piazza|piazzale|corso|largo|vicolo|strada|contrada|lungomare)\s[^\d,]{2,40},?\s?(?:n\.?\s?)?\d{1,4}"
    r"\s?(?:/?[a-z]\b)?\s?[,\-–]?\s?\d{5}\b",
    re.IGNORECASE,
)

# A word before a number that makes it one to call.
_CALL = (
    r"\b(?:tel(?:efono|efonare|ef)?|cell(?:ulare)?|mobile|phone|fax|whatsapp|chiama(?:re|te)?|contatt[oi]|contattare"
    r"|numero verde|call)"
)
_CALLED = re.compile(
    _CALL + r"\b\.?\s?(?:(?:al|il|at|n|numero|us)\b\.?\s?){0,3}:?\s?\+?\(?\d[\d\s().\-/]{4,20}\d", re.IGNORECASE
)
_BEFORE = r"(?<![\w.,/+\-])"
_AFTER = r"(?![\w/\-]|[.,]\d)"
_ITALIAN_MOBILE = re.compile(
    _BEFORE + r"3[1-9]\d(?:[ .\-/]?\d{3}[ .\-]?\d{4}|[ .\-/]?\d{3}[ .\-]\d{2}[ .\-]\d{2}|[ .\-/]\d{6,7})" + _AFTER
)
_ITALIAN_LANDLINE = re.compile(
    _BEFORE
    + r"\(?0(?:2|6|[1-9]\d{1,3})\)?\s?[ ./\-]\s?(?:\d{5,8}|\d{3,4}[ .]\d{3,4}|\d{2,3}[ .]\d{2}[ .]\d{2})"
    + _AFTER
)
_GREEN_NUMBER = re.compile(_BEFORE + r"80[03][ .\-]?\d{3}[ .\-]?\d{3}" + _AFTER)
_INTERNATIONAL = re.compile(
    r"(?<![\w.,+])(?:\+\s?|00)[1-9]\d{0,2}[ .\-/]?(?:\(?\d{1,4}\)?[ .\-/]?){2,5}\d{2,4}" + _AFTER
)
_AMERICAN = re.compile(_BEFORE + r"(?:\(\d{3}\)\s?|\d{3}-)\d{3}-\d{4}" + _AFTER)
_QUANTITY = re.compile(r"\+?\s?\d{1,3}(?:[. ]\d{3})+")
_DATE = re.compile(r"\d{1,2}[ ./\-]\d{1,2}[ ./\-](?:\d{4}|\d{2})")

_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (
    *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21),
    *(2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
), strict=True))  # fmt: skip


def personal_data(text: str) -> bool:
    """Say whether a text holds something by which a person can be reached or is registered."""
    if any(sign in text for sign in _AT) and _EMAIL.search(text):
        return True
    if sum(map(str.isdigit, text)) < 5:
        return False
    return _registered(text) or _telephone(text) or bool(_ADDRESS.search(text))


def _registered(text: str) -> bool:
    if any(_fiscal(*found.groups()) for found in _CODICE_FISCALE.finditer(text)):
        return True
    if any(_iban(found[0]) for found in _IBAN.finditer(text)):
        return True
    return any(_luhn(found[0]) for found in _CARD.finditer(text))


def _telephone(text: str) -> bool:
    for pattern in (_ITALIAN_MOBILE, _ITALIAN_LANDLINE, _GREEN_NUMBER, _INTERNATIONAL, _AMERICAN):
        for found in pattern.finditer(text):
            number = found[0].strip()
            digits = sum(map(str.isdigit, number))
            counts = _QUANTITY.fullmatch(number) and digits < 10
            if 8 <= digits <= 15 and not counts and not _DATE.fullmatch(number):
                return True
    return any(sum(map(str.isdigit, found[0])) >= 6 for found in _CALLED.finditer(text))


def _fiscal(body: str, check: str) -> bool:
    """Check the last letter of a codice fiscale (D.M. 23 dicembre 1976)."""
    total = 0
    for place, sign in enumerate(body.upper()):
        even = int(sign) if sign.isdigit() else ord(sign) - ord("A")
        total += _ODD[sign] if place % 2 == 0 else even
    return chr(ord("A") + total % 26) == check.upper()


def _iban(text: str) -> bool:
    """Check an IBAN's remainder (ISO 13616); groups after its end may have been caught, too, so prefixes are tried."""
    joined = text.replace(" ", "")
    for length in range(15, min(len(joined), 34) + 1):
        turned = joined[4:length] + joined[:4]
        if int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1:
            return True
    return False


def _luhn(text: str) -> bool:
    digits = [int(sign) for sign in text if sign.isdigit()][::-1]
    if len(set(digits)) < 3 or len(digits) not in (15, 16):
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
