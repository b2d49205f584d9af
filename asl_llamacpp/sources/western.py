"""Text in windows-1252, as old Windows programs of Western Europe save it: told where it is plain that it is that."""

from __future__ import annotations

_ALPHABETS = {
    "German": "äöüßéàèê",
    "French": "àâæçéèêëîïôœùûüÿ",
    "Spanish": "áéíóúüñç",
    "Portuguese": "áâãàçéêíóôõúü",
    "Italian": "àèéìíîòóùú",
    "Danish, Norwegian": "åæøéèêóòôü",
    "Swedish, Finnish": "åäöéüàšž",
    "Dutch": "ëïéèêöüáíóúàâ",
    "Icelandic": "áðéíóúýþæö",
}
_SIGNS = frozenset("€‚„…‘’“”•–—™§°«»©®·±²³µ¼½¾¡¿´£¥¢¶×÷‹›‰†‡ªº\xa0\xad")  # noqa: RUF001
_IN_WORDS = frozenset("’·\xad")  # noqa: RUF001
_MOST = 0.35  # of the letters: languages that this is for write most words in ASCII


def western_text(data: bytes) -> str | None:
    """Bytes that are not UTF-8 as text, if they make words of one language of Western Europe in windows-1252.

    None: they do not, or might as well be in another encoding. Polish, Czech or Russian text read like this has letters
    of no one language, or signs within words.
    """
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    if any(char < " " and char not in "\t\n\r\f" for char in text) or "\x7f" in text:
        return None
    foreign = {char.lower() for char in text if char > "\x7f" and char not in _SIGNS}
    if not any(foreign <= set(alphabet) for alphabet in _ALPHABETS.values()):
        return None
    letters = [char for char in text if char.isalpha()]
    if sum(char > "\x7f" for char in letters) > _MOST * max(len(letters), 1):
        return None
    return None if _has_signs_in_words(text) else text


def _has_signs_in_words(text: str) -> bool:
    return any(
        char in _SIGNS and char not in _IN_WORDS and before.isalpha() and after.isalpha()
        for before, char, after in zip(text, text[1:], text[2:], strict=False)
    )
