"""Takes secrets out of text that leaves this machine: those that are known here, and whatever looks like one."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

REMOVED = "(removed)"
_LEAST, _LEAST_OF_LETTERS = 4, 6  # characters of a secret; without these, `true` would be one
_LINE_OF_KEY = 16  # characters of a PEM's line that count: the last may be short

SECRETIVE = re.compile("SECRET|TOKEN|PASS|AUTH|CREDENTIAL|KEY|COOKIE|DSN|CONNECTION_URL|WEBHOOK", re.IGNORECASE)
"""Names of variables whose values are not shown."""
PUBLIC = {"AWS_ACCESS_KEY_ID", "MODNET_KEYS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"}
"""Variables that are called so and hold none."""

# What else stands in files that hold secrets. Whatever is not named here counts as one.
_HARMLESS = {
    *("name", "device", "added_at", "revoked_at", "started", "folder", "deployed", "accessKey", "key_id", "content"),
    *("ends_at", "used_at", "store", "endpoint", "region"),
}
_PAIR = re.compile(r"""["']?([\w.-]+)["']?[ \t]*[:=][ \t]*"((?:[^"\\\n]|\\.)*)""")  # also where the end was cut off

_PASSWORD = re.compile(r"://([^\s/@:]{0,200}:([^\s/]{0,200}))@")
_QUOTE = r"\\*[\"']"  # escaped in JSON within JSON
# What looks like a secret: of a match, the first group stays. Repeats have a limit, as time would grow with its square.
_PATTERNS = [
    re.compile(r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(
        r"()(?:^[A-Za-z0-9+/=]{16,100}\n){1,100}-----END [A-Z ]*PRIVATE KEY-----", re.MULTILINE
    ),  # its end alone
    re.compile(r"([a-z][a-z0-9+.-]{0,30}://)[^\s/\"'<>]{0,500}(?=@)", re.IGNORECASE),
    # an address that opens an object for whoever has it, and others with a secret behind `?`
    re.compile(r"([?&][\w-]{0,40}(?:signature|credential|token|secret|password|key|auth|sig)=)[^\s&\"'<>)]+", re.I),
    re.compile(r"(\b(?:basic|bearer)\s+)[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE),
    re.compile(r"(AWS4-HMAC-SHA256\s).*"),
    re.compile(r"()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    # as programs print an environment or JSON
    re.compile(
        rf"((?:SECRET|TOKEN|PASSWORD|AUTH_STRING|API_KEY|ACCESS_KEY)(?:{_QUOTE})?\s*[=:]\s*(?:{_QUOTE})?)[^\s\"',;\\]+"
    ),
    re.compile(rf"((?:secret|token|password|_key|Key){_QUOTE}\s*:\s*{_QUOTE})[^\"'\\\n]+", re.IGNORECASE),
]


class Scrubber:
    """Takes out every one of these secrets, however it is written, and what looks like a secret."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {one.strip() for one in secrets}
        long = {one for one in known if len(one) >= (_LEAST_OF_LETTERS if one.isalpha() else _LEAST)}
        forms = {form for one in long for form in _forms(one)}
        self._forms = sorted(forms, key=len, reverse=True)  # a short one may be a part of a longer one

    def __call__(self, text: str) -> str:
        """The text without them."""
        for form in self._forms:
            text = text.replace(form, REMOVED)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\1{REMOVED}", text)
        return text


def known_secrets(environs: Iterable[Mapping[str, str]], folders: Iterable[Path]) -> Iterator[str]:
    """Secrets of environments, and of all small files in these folders, whether they can be parsed or not."""
    for environ in environs:
        for name, value in environ.items():
            if SECRETIVE.search(name) and name not in PUBLIC and not _is_path(value):
                yield value
                yield value.partition(":")[2]  # user:password
                if "WEBHOOK" in name:
                    yield value.partition("://")[2].partition("/")[2]  # what of the address is secret
            for both, password in _PASSWORD.findall(value):
                yield from (both, password, unquote(password))
        if (token := environ.get("RAY_AUTH_TOKEN_PATH")) is not None:
            with suppress(OSError):
                yield Path(token).read_text(errors="replace")
    for folder in folders:
        for path in [*folder.glob("*.json"), *folder.glob("*.toml"), *folder.glob("*.pem")]:
            with suppress(OSError):
                yield from _in_file(path.read_text(errors="replace"))


def _in_file(text: str) -> Iterator[str]:
    if "PRIVATE KEY" in text:
        yield from (line for line in text.splitlines() if len(line) >= _LINE_OF_KEY and not line.startswith("-----"))
        return
    for name, value in _PAIR.findall(text):
        if name not in _HARMLESS and not _is_path(value) and "://" not in value:
            yield value
            with suppress(ValueError):
                yield str(json.loads(f'"{value}"'))


def _is_path(value: str) -> bool:
    return value.startswith("/") and os.path.exists(value)


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _forms(secret: str) -> set[str]:
    coded = {b64encode(one.encode(errors="replace")).decode() for one in (secret, f"admin:{secret}", f":{secret}")}
    escaped = {_escaped(secret), _escaped(_escaped(secret)), json.dumps(secret, ensure_ascii=False)[1:-1]}
    escaped |= {repr(secret)[1:-1], _escaped(repr(secret)[1:-1])}
    return {secret, quote(secret, errors="replace"), quote(secret, safe="", errors="replace")} | coded | escaped
