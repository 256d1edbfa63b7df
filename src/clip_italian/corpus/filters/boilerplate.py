"""Texts that stand beside pictures and say nothing of them: file names, credits, stock codes, placeholders, addresses.

Public names: file_name, credit, placeholder, url, CREDIT_AT_END.
"""

import re

_HIGH = "(?-i:[A-ZÀ-Ý])"  # a capital, also where case is ignored elsewhere


def _any(*patterns: str) -> str:
    """Join patterns to one that takes either."""
    return f"(?:{'|'.join(patterns)})"


_STOCK = _any(
    r"getty images", r"shutterstock", r"istock(?:photo)?", r"alamy", r"dreamstime", r"depositphotos", r"adobe\s?stock",
    r"123rf", r"fotolia",
)  # fmt: skip
_AGENCY = _any(
    _STOCK, r"getty", r"a\.?f\.?p", r"ap(?:\sphoto|/)", r"associated press", r"reuters", r"ansa", r"la\s?presse",
    r"epa",    r"contrasto", r"imagoeconomica", r"fotogramma", r"pixabay", r"unsplash", r"pexels", r"flickr",
    r"wikimedia(?:\scommons)?", r"wikipedia", r"webphoto", r"olycom", r"zuma(?:press)?", r"xinhua", r"corbis",
    r"magnum photos",
)  # fmt: skip
_CREDIT_WORD = _any(
    r"foto(?:grafi[ae])?\s?:",
    rf"foto(?:grafia)?\sdi\s{_HIGH}",
    r"ph\.?\s?:",
    r"ph\.\s",
    r"photos?\s?(?:by|courtesy|credits?|:)",
    r"images?\s?(?:by|credits?|courtesy|:)",
    r"pictures?\sby",
    r"courtesy",
    r"per gentile concessione",
    r"credit[is]?\b",
    r"©",
    r"copyright",
    r"\(c\)",
    rf"scatto di\s{_HIGH}",
    r"immagine\s?:",
    rf"archivio\s{_HIGH}",
    r"(?:fonte|source)\s?:",
)
# A credit in brackets at the end is cut off, since whole sources sign their captions so; what stands before it stays.
CREDIT_AT_END = re.compile(
    r"\s?[(\[]"
    + _any(_CREDIT_WORD + r"[^()\[\]]{0,150}", r"[^()\[\]]{0,150}\b" + _AGENCY + r"(?![^\W_])[^()\[\]]{0,80}")
    + r"[)\]]\s?\.?$",
    re.IGNORECASE,
)

_FILE = re.compile(
    _any(
        r"\w\.(?:jpe?g|png|gif|tiff?|webp|svg|bmp|heic|cr2|nef|pdf|djvu|mp4|og[gv]|avi|mov|psd)\b",
        r"(?<![^\W_])(?:img|_?dsc[nf]?|pict|cimg|imag|gopr|dji|pxl|mvi|hpim|sam|sany|imgp|vid|pano)[_\- ]?\d{3,}",
        r"\bimg-\d+-wa\d",
        r"\bscreenshot[_\- ]?\d",
        r"\bschermata \d{4}",
        r"\bwhatsapp image\b",
        r"^[a-f\d]{16,}$",
        r"^(?-i:[A-Z]{1,3})\d{5,}$",
        r"^\w{1,40}_\w{1,80}$",
    ),
    re.IGNORECASE,
)
_CREDIT = re.compile(
    _any(
        r"^\W{0,3}(?:foto|fotograf(?:ia|o)|immagine|photo(?:grapher)?|picture|image|ph\.?|autore|fonte|source)\s?[:©]",
        r"^\W{0,3}(?:photo|picture|image|ph\.?)\s(?:by|credits?|courtesy)\b",
        rf"^\W{{0,3}}(?:credit[is]?\b|crediti\b|ph\.\s?{_HIGH})",
        rf"[.,;)\-–—|/]\s?(?:foto|fotografia|ph|photo|credit[is]?)\s?(?::|by\b|\.\s?{_HIGH})",
        r"©",
        r"\bcopyright\b",
        r"^\(c\)\s",
        r"\(c\)\s?(?:19|20)\d\d",
        r"\btutti i diritti riservati\b",
        r"\ball rights reserved\b",
        r"\briproduzione riservata\b",
        rf"\b(?:photo(?:graph(?:ed)?|s)?|pictures?|images?)\s(?:taken\s)?by\s{_HIGH}",
        r"\b(?:photo|image) courtesy\b",
        r"\bcourtesy of\b",
        r"\bper gentile concessione d",
        rf"\b{_STOCK}\b",
        r"\b(?:stock (?:photo|image|vector)|(?:foto|immagine|vettoriale) stock|royalty[ -]free)\b",
        r"\b(?:id|cod(?:ice)?|rif|ref)\.?\s?(?:immagine|foto|image)?\s?[:#]?\s?\d{6,}",
        r"#\d{6,}",
    ),
    re.IGNORECASE,
)
_INVITATION = re.compile(
    r"\b"
    + _any(
        r"clicca(?:re)? (?:qui|sull'immagine|sulla foto|per|e)",
        r"fai clic",
        r"click (?:here|to)",
        r"leggi (?:tutto|di pi[uù]|anche)",
        r"read more",
        r"scopri di pi[uù]",
        r"vedi (?:tutte|altre) (?:le )?foto",
        r"scarica (?:qui|ora|gratis|(?:l'|la |il |le |i )?(?:immagin[ei]|foto|pdf|file|app))",
        r"condividi su",
        r"iscriviti (?:a|ora|qui)\w*",
        r"acquista ora",
        r"aggiungi al carrello",
        r"spedizione gratuita",
        r"accetta (?:i|tutti i) cookie",
        r"torna (?:su|alla home)$",
        r"ingrandi(?:sci|re) (?:l'immagine|la foto)",
        r"add to cart",
        r"buy now",
        r"free shipping",
        r"download (?:now|free)",
    )
    + r"\b",
    re.IGNORECASE,
)
_STANDING_IN = _any(
    r"immagin[ei]", r"images?", r"foto", r"fotografi[ae]", r"photos?", r"pictures?", r"pic", r"img", r"logo", r"icona",
    r"icon", r"banner", r"thumb(?:nail)?", r"miniatura", r"anteprima", r"preview", r"placeholder", r"segnaposto",
    r"avatar", r"copertina", r"cover", r"slide", r"header", r"footer", r"sfondo", r"background", r"galleria",
    r"gallery",
    r"screenshot", r"figur[ae]", r"fig", r"file", r"untitled", r"titolo", r"didascalia", r"caption", r"alt", r"null",
    r"none", r"undefined", r"nan", r"n/?a", r"test", r"lorem ipsum.{0,600}", r"senza (?:titolo|nome|didascalia)",
    r"nessuna (?:descrizione|immagine|didascalia|foto)(?: disponibile)?",
    r"(?:immagine|foto) (?:non disponibile|mancante|(?:del )?profilo|di (?:copertina|sfondo)|in evidenza|principale)",
    r"descrizione (?:non disponibile|(?:dell')?immagine)",
    r"no (?:description|image|photo|caption)(?: available)?",
    r"(?:image|photo) (?:not available|missing|placeholder)",
    r"logo (?:del )?sito", r"featured image", r"profile picture", r"main image",
)  # fmt: skip
_PLACEHOLDER = re.compile(
    r"\W{0,20}(?:(?:l'|un'|una |the |an? )?" + _STANDING_IN + r")"
    r"(?:\s?(?:n(?:um(?:ero)?|r|°|º)?\.?)?\s?[\d.,\-_ ()/]{0,12}(?:(?:of|di|su)\s\d{1,4})?)\W{0,20}",
    re.IGNORECASE,
)
_URL = re.compile(
    _any(
        r"\b(?:https?|ftp)\s?:\s?//",
        r"\bwww\.\s?\w",
        r"\b[a-z\d][a-z\d\-]{1,60}\.(?:it|com|org|net|eu|info|edu|gov|io|co\.uk|tv|es|de|fr)(?![^\W_]|\.\w)",
    ),
    re.IGNORECASE,
)


def file_name(text: str) -> bool:
    """Say whether a text is or holds the name of a file: "IMG_1234.jpg", "DSC00123"."""
    return bool(_FILE.search(text))


def credit(text: str) -> bool:
    """Say whether a text names a photographer, an agency or rights: "Foto: …", "© …", "Photo by …", stock codes.

    "Foto di un gatto" says what is seen and is no credit.
    """
    return bool(_CREDIT.search(text))


def placeholder(text: str) -> bool:
    """Say whether a text only stands in for one ("immagine", "logo", "foto n. 3") or bids to click ("clicca qui")."""
    return bool(_PLACEHOLDER.fullmatch(text) or _INVITATION.search(text))


def url(text: str) -> bool:
    """Say whether a text holds an address of the web."""
    return bool(_URL.search(text))
