"""STOP, START and HELP: what the text of a handset asks for.

Pure. Who misses a STOP goes on sending to somebody who said no, so it is read with
tolerance, and in other languages than English; a START gives consent, so it is taken
only by the letter.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from unicodedata import category, normalize

from routing.vocabulary import Keyword

# 47 CFR 64.1200(a)(10) names stop, quit, end, revoke, opt out, cancel and unsubscribe;
# stopall, start, unstop, yes, help and info are the carriers' (CTIA) and Twilio's.
WORDS = {
    **dict.fromkeys(
        (
            "stop",
            "stopall",
            "unsubscribe",
            "cancel",
            "end",
            "quit",
            "revoke",
            "optout",
        ),
        Keyword.STOP,
    ),
    **dict.fromkeys(("start", "unstop", "yes"), Keyword.START),
    **dict.fromkeys(("help", "info"), Keyword.HELP),
}
# A STOP in other languages, from wherever it comes: words that are no everyday word in
# another language. Accents do not count, and nothing may stand around them.
STOP_WORDS = {
    "Arabic": "توقف, أوقف, إيقاف, إلغاء, إلغاء الاشتراك, قف",
    "Bengali": "বন্ধ",
    "Bulgarian": "отписване, спри, спрете",
    "Chinese": "停止, 退订, 退訂, 取消, 取消订阅, 取消訂閱",
    "Croatian": "odjava, odjavi, otkaži",
    "Czech": "zrušit, odhlásit, odhlásiť",
    "Danish": "afmeld, frameld",
    "Dutch": "afmelden, uitschrijven, stop ermee",
    "Filipino": "itigil",
    "Finnish": "lopeta, peruuta",
    "French": "arrêt, arrêter, désabonner, désabonnement, se désabonner, "
    "me désabonner, désinscrire, désinscription, me désinscrire",
    "German": "stopp, stoppen, abmelden, abmeldung, abbestellen, austragen",
    "Greek": "στοπ, διακοπή, διαγραφή, σταμάτα, σταματήστε",
    "Hebrew": "הסר, הסירו, הסירו אותי, עצור, הפסק",
    "Hindi": "बंद, बंद करो, बंद करें, रोको, रोकें",
    "Hungarian": "leiratkozás, leiratkozom, leállítás",
    "Indonesian": "berhenti, hentikan, batal",
    "Italian": "disiscrivi, disiscriviti, cancellami, annulla, ferma, basta sms",
    "Japanese": "停止, 配信停止, 解除, 配信解除, ストップ",
    "Korean": "수신거부, 거부, 중지, 정지, 그만",
    "Norwegian": "avmeld, avslutt",
    "Persian": "لغو, لغو۱۱",
    "Polish": "rezygnuję, wypisz, wypisz mnie, zatrzymaj, anuluj",
    "Portuguese": "parar, descadastrar, remover, sair da lista",
    "Romanian": "dezabonare, dezabonează, opriți",
    "Russian": "стоп, отписаться, отписка, отпишите, отменить, отмена",
    "Spanish": "detener, cancelar, cancelar suscripción, dar de baja, darme de baja, "
    "no más mensajes",
    "Swahili": "simamisha, acha kutuma",
    "Swedish": "avsluta, avregistrera",
    "Tamil": "நிறுத்து",
    "Telugu": "ఆపు",
    "Thai": "ยกเลิก, หยุด",
    "Turkish": "iptal, aboneliği iptal et, listeden çikar",
    "Ukrainian": "відписатися, відписка, зупинити, скасувати",
    "Vietnamese": "dừng lại, từ chối",
}
# Those that mean something else elsewhere, or are what a country's networks ask for: by
# the beginning of the sender's number.
LOCAL_STOP_WORDS = {
    **dict.fromkeys(("+34", "+5", "+1"), "alto, baja, para, pare, basta"),
    **dict.fromkeys(("+351", "+55", "+244", "+258"), "sair, sai, pare"),
    **dict.fromkeys(("+49", "+43", "+41"), "ende, halt"),
    **dict.fromkeys(("+45", "+46", "+47"), "slut, slutt"),
    **dict.fromkeys(("+31", "+32", "+27"), "uit, staak"),
    **dict.fromkeys(("+254", "+255"), "acha, sitisha"),
    "+39": "basta, esci",
    "+358": "seis, peru",
    "+48": "koniec",
    "+84": "tc, dừng, hủy",
    "+86": "t, td, r",
    "+90": "ret, dur, çik",
    "+98": "off, لغو11",
}
# What people put around a STOP without meaning anything else.
COURTESIES = frozenset(
    [
        "please",
        "pls",
        "plz",
        "thanks",
        "thank",
        "you",
        "now",
        "all",
        "me",
        "it",
        "sending",
        "texting",
        "texts",
        "messages",
    ]
)
_WORD = re.compile(r"[^\W_]+")
# Of Latin, Greek, Cyrillic, Hebrew and Arabic letters, and what makes emojis of others.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u20d0-\u20ff\ufe00-\ufe0f]"
)
_LONGEST_STOP = 100  # characters, with all that does not count


def keyword_of(
    text: str, *, sender: str = "", more: Collection[str] = ()
) -> Keyword | None:
    """The keyword that the whole message is; None for all that people write else.

    Case, spaces and punctuation do not count: "Opt-Out!" is "optout". An English STOP
    may have courtesies around it ("please stop texting me"), but no other words: "stop
    by at noon" is a message to a person. `more` are STOP words of the installation; the
    sender's number says which languages to expect.
    """
    keyword = _english_keyword(text)
    if keyword is None and _is_foreign_stop(text, sender, more):
        return Keyword.STOP
    return keyword


def folded(text: str) -> str:
    """A text without all that does not count: case, accents, spaces, punctuation."""
    plain = _ACCENTS.sub("", normalize("NFKD", normalize("NFKC", text).casefold()))
    # Letters, digits, and the vowel signs of scripts where those make other words.
    return "".join(
        each for each in normalize("NFC", plain) if category(each)[0] in "LNM"
    )


def _is_foreign_stop(text: str, sender: str, more: Collection[str]) -> bool:
    if len(text) > _LONGEST_STOP:
        return False
    word = folded(text)
    return bool(word) and (
        word in _FOLDED
        or any(word in _FOLDED_LOCAL.get(sender[:size], ()) for size in (2, 3, 4))
        or word in map(folded, more)
    )


def _english_keyword(text: str) -> Keyword | None:
    words = _WORD.findall(normalize("NFKC", text).casefold())
    keyword = WORDS.get("".join(words))
    if keyword is not None:
        return keyword
    meant = [word for word in words if word not in COURTESIES]
    is_stop = _is_stop("".join(meant)) or (meant and all(map(_is_stop, meant)))
    return Keyword.STOP if is_stop else None


def _is_stop(word: str) -> bool:
    return WORDS.get(word) == Keyword.STOP


def _folded_words(text: str) -> frozenset[str]:
    return frozenset(map(folded, text.split(",")))


_FOLDED = frozenset[str]().union(*map(_folded_words, STOP_WORDS.values()))
_FOLDED_LOCAL = {
    beginning: _folded_words(words) for beginning, words in LOCAL_STOP_WORDS.items()
}
