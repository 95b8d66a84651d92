"""STOP, START and HELP: what a text from a handset asks for.

Pure. Missing a STOP means sending to a person who said no, so it is read with
tolerance, and in many languages; a START gives consent, so it must match exactly.
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
# A STOP in other languages, and in more words, from any country: none of them is an
# everyday word in another language. Accents do not count; only courtesies may be around
# them.
STOP_WORDS = {
    "Afrikaans": "teken uit, kanselleer",
    "Albanian": "ndalo, çregjistrohu",
    "Amharic": "አቁም, ይቁም",
    "Arabic": "توقف, أوقف, إيقاف, إلغاء, إلغاء الاشتراك, قف, وقف, أوقفوا, "
    "إيقاف الرسائل",
    "Armenian": "ստոպ, դադարեցնել",
    "Azerbaijani": "dayandir, ləğv et",
    "Basque": "gelditu",
    "Belarusian": "адпісацца, спыніць",
    "Bengali": "বন্ধ, বন্ধ করুন, থামুন",
    "Bulgarian": "отписване, спри, спрете, откажи, прекратете",
    "Burmese": "ရပ်, ရပ်ပါ",
    "Catalan": "aturar, atura, donar-me de baixa",
    "Chinese": "停止, 退订, 退訂, 取消, 取消订阅, 取消訂閱, "
    "终止, 終止, 停止订阅, 停止訂閱, 停止接收, 拒收, 请停止, 請停止",
    "Croatian": "odjava, odjavi, otkaži, prekini, zaustavi",
    "Czech": "zrušit, odhlásit, odhlásiť, odhlásit se, ukončit, zastavit",
    "Danish": "afmeld, frameld, afmeld mig, stop venligst",
    "Dutch": "afmelden, uitschrijven, stop ermee, afmelding, uitschrijving, "
    "stopzetten, opzeggen",
    "English": "unsub, unsubscribe me from this list, unsubscribe from all, "
    "opt me out, opt out of all, i want to unsubscribe, i would like to unsubscribe, "
    "remove me, remove me from this list, remove me from your list, take me off, "
    "take me off your list, do not text me, don't text me, do not contact me, "
    "don't contact me, no more texts, no more messages, leave me alone, "
    "revoke consent, i revoke my consent, stop everything, cease, cease and desist",
    "Estonian": "loobu, peata, lõpeta",
    "Filipino": "itigil",
    "Finnish": "lopeta, peruuta, keskeytä",
    "French": "arrêt, arrêter, désabonner, désabonnement, se désabonner, "
    "me désabonner, désinscrire, désinscription, me désinscrire, arrêtez, stopper, "
    "stop pub, je me désabonne, désabonnez-moi, désinscrivez-moi",
    "Georgian": "სტოპ, შეწყვეტა, გაუქმება",
    "German": "stopp, stoppen, abmelden, abmeldung, abbestellen, austragen, "
    "abbestellung, aufhören, aufhoeren, keine SMS mehr, keine Nachrichten mehr",
    "Greek": "στοπ, διακοπή, διαγραφή, σταμάτα, σταματήστε, απεγγραφή",
    "Gujarati": "બંધ, બંધ કરો",
    "Haitian Creole": "sispann",
    "Hausa": "daina",
    "Hebrew": "הסר, הסירו, הסירו אותי, עצור, הפסק, הסרה, להסיר, תפסיקו, הפסיקו, "
    "תסירו אותי",
    "Hindi": "बंद, बंद करो, बंद करें, रोको, रोकें, बंद कर दो, रुको",
    "Hungarian": "leiratkozás, leiratkozom, leállítás, leállít, leiratkozni",
    "Icelandic": "hætta, stöðva, afskrá",
    "Indonesian": "berhenti, hentikan, batal, setop, berhenti berlangganan",
    "Italian": "disiscrivi, disiscriviti, cancellami, annulla, ferma, basta sms, "
    "disiscrizione, cancellazione, smettila, smettetela, fermare",
    "Japanese": "停止, 配信停止, 解除, 配信解除, ストップ, "
    "停止希望, 停止してください, 配信停止希望, やめて, 止めて, 購読解除",
    "Kannada": "ನಿಲ್ಲಿಸಿ, ನಿಲ್ಲಿಸು",
    "Kazakh": "тоқта, тоқтату",
    "Khmer": "ឈប់, បញ្ឈប់",
    "Korean": "수신거부, 거부, 중지, 정지, 그만, 중단, 해지, 수신 거부합니다",
    "Lao": "ຢຸດ, ຍົກເລີກ",
    "Latvian": "apturēt, atteikties",
    "Lithuanian": "atsisakyti, sustabdyti, stabdyti",
    "Macedonian": "запри, одјави ме",
    "Malay": "henti, batalkan",
    "Malayalam": "നിർത്തുക, നിർത്തൂ",
    "Marathi": "थांबवा, बंद करा",
    "Mongolian": "зогсоо, зогсоох, цуцлах",
    "Nepali": "बन्द, बन्द गर्नुहोस्, रोक्नुहोस्",
    "Norwegian": "avmeld, avslutt, stans",
    "Pashto": "ودروه, بند کړئ",
    "Persian": "لغو, لغو۱۱",
    "Polish": "rezygnuję, wypisz, wypisz mnie, zatrzymaj, anuluj, rezygnacja, "
    "przestań, przestańcie",
    "Portuguese": "parar, descadastrar, remover, sair da lista, cancele, "
    "cancelar inscrição, não quero receber",
    "Punjabi": "ਬੰਦ, ਬੰਦ ਕਰੋ, ਰੋਕੋ",
    "Romanian": "dezabonare, dezabonează, opriți, oprește, anulare abonament, "
    "mă dezabonez",
    "Russian": "стоп, отписаться, отписка, отпишите, отменить, отмена, остановить, "
    "прекратить, прекратите, отпишите меня",
    "Serbian": "прекини, заустави, одјава, одјави",
    "Sinhala": "නවත්වන්න",
    "Slovak": "ukončiť, zastaviť",
    "Slovene": "ustavi, prenehaj",
    "Somali": "jooji",
    "Spanish": "detener, cancelar, cancelar suscripción, dar de baja, darme de baja, "
    "no más mensajes, cancela, cancelen, quiero darme de baja, darse de baja, "
    "no enviar más, desuscribirme, desuscribir",
    "Swahili": "simamisha, acha kutuma",
    "Swedish": "avsluta, avregistrera, sluta, avanmäl",
    "Tamil": "நிறுத்து",
    "Telugu": "ఆపు",
    "Thai": "ยกเลิก, หยุด, ยกเลิกการสมัคร, เลิกรับ",
    "Turkish": "iptal, aboneliği iptal et, listeden çikar, durdur, iptal et, "
    "abonelikten çik",
    "Ukrainian": "відписатися, відписка, зупинити, скасувати, зупиніть, припинити, "
    "відпишіть",
    "Urdu": "بند کریں, بند کرو, روکیں",
    "Uzbek": "to'xtat, to'xtatish, bekor qilish, тўхтат",
    "Vietnamese": "dừng lại, từ chối, hủy đăng ký, ngừng gửi",
}
# Words that mean something else elsewhere, or that a country's networks use: by the
# start of the sender's number.
LOCAL_STOP_WORDS = {
    **dict.fromkeys(("+34", "+5", "+1"), "alto, baja, para, pare, basta, no más"),
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
        *("sms", "smses", "txt", "txts", "msg", "msgs", "spam"),
        *("messaging", "contacting", "spamming", "this", "these", "thx"),
    ]
)
# The same in other languages, around a STOP in any language.
_FOREIGN_COURTESIES = (
    "bitte, danke, svp, stp, s'il vous plaît, s'il te plaît, merci, por favor, "
    "gracias, obrigado, obrigada, per favore, per piacere, grazie, alstublieft, "
    "aub, dank u, tak, tack, takk, venligst, kiitos, proszę, dziękuję, prosím, "
    "děkuji, kérem, köszönöm, vă rog, mulțumesc, lütfen, teşekkürler, пожалуйста, "
    "спасибо, будь ласка, дякую, παρακαλώ, ευχαριστώ, בבקשה, תודה, من فضلك, شكرا, "
    "tolong, terima kasih, sms"
)
_WORD = re.compile(r"[^\W_]+")
# Of Latin, Greek, Cyrillic, Hebrew and Arabic letters, and emoji modifiers.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u20d0-\u20ff\ufe00-\ufe0f]"
)
# Accents that Unicode treats as part of the letter, and apostrophes that are letters.
_STROKES = str.maketrans("\u0131łđøħ", "ildoh", "\u02bb\u02bc")
_ALIKE = {
    re.compile("[\u0370-\u03ff]"): str.maketrans(
        "ABEZHIKMNOPTYX",
        "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    ),
    re.compile("[\u0400-\u04ff]"): str.maketrans(
        "ABEKMHOPCTX",
        "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425",
    ),
}
_LONGEST_STOP = 100  # characters, including those that do not count


def keyword_of(
    text: str, *, sender: str = "", more: Collection[str] = ()
) -> Keyword | None:
    """The keyword, if the whole message is one; None for any other text.

    Case, spaces and punctuation do not count: "Opt-Out!" is "optout". An English STOP
    may have courtesies around it ("please stop texting me"), but no other words: "stop
    by at noon" is a message to a person. `more` are STOP words of the installation; the
    sender's number shows which languages to expect.
    """
    keyword = _english_keyword(text)
    if keyword is None and _is_foreign_stop(text, sender, more):
        return Keyword.STOP
    return keyword


def folded(text: str) -> str:
    """A text without what does not count: case, accents, spaces, punctuation."""
    # Letters, digits, and vowel signs, which distinguish words in some scripts.
    return "".join(each for each in _unaccented(text) if category(each)[0] in "LNM")


def _unaccented(text: str) -> str:
    """In lower case, without accents; lookalike Latin letters in a Greek or Cyrillic
    text become letters of its script.

    The SMS alphabet lacks Greek letters that look like Latin ones: ΣΤΟΠ arrives with a
    Latin T and O.
    """
    text = normalize("NFKC", text)
    for script, alike in _ALIKE.items():
        if script.search(text):
            text = text.translate(alike)
    plain = _ACCENTS.sub("", normalize("NFKD", text.casefold()))
    return normalize("NFC", plain).translate(_STROKES)


def _is_foreign_stop(text: str, sender: str, more: Collection[str]) -> bool:
    if len(text) > _LONGEST_STOP:
        return False
    words = {folded(text), _without_courtesies(text)} - {""}
    local = [_FOLDED_LOCAL.get(sender[:size], frozenset()) for size in (2, 3, 4)]
    return any(words & known for known in (_FOLDED, *local, {*map(folded, more)}))


def _without_courtesies(text: str) -> str:
    """The text without courtesies; "" if it has none."""
    rest, found = _COURTESY.subn("", f" {_spaced(text)} ")
    return folded(rest) if found else ""


def _spaced(text: str) -> str:
    """The text's words, each as `folded` would give it."""
    plain = _unaccented(text)
    letters = (each if category(each)[0] in "LNM" else " " for each in plain)
    return " ".join("".join(letters).split())


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


_COURTESY = re.compile(
    "(?<= )(?:"
    + "|".join(_spaced(each) for each in _FOREIGN_COURTESIES.split(", "))
    + ")(?= )"
)
_FOLDED = frozenset(filter(_is_stop, WORDS)).union(
    *map(_folded_words, STOP_WORDS.values())
)
_FOLDED_LOCAL = {
    beginning: _folded_words(words) for beginning, words in LOCAL_STOP_WORDS.items()
}
