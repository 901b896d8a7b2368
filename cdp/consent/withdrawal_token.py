"""The token of a consent receipt: it withdraws the consent, without signing in.

It names the record and carries a signature over that name, so nothing is stored for it, nobody can guess one, and it is
valid for as long as the receipt itself. It can only ever refuse: the worst that anyone who finds a receipt can do is
to withdraw.
"""

import base64
import binascii
from typing import Final

from cdp.consent.model import RecordId
from cdp.consent.receipt import ReceiptSignatureCheck, ReceiptSigner
from cdp.kit.ids import decode_id, encode_id

_LABEL: Final = b"cdp/consent-withdrawal/v1\n"
_SIGNATURE_LENGTH: Final = 86
"""Base64 characters of 64 bytes, without padding."""


def withdrawal_token(record_id: RecordId, signer: ReceiptSigner) -> str:
    """The token of a record, such as `wdr_0004zc8e6w1rk.VZ…`: 17 + 1 + 86 characters that a URL may hold."""
    name = encode_id("wdr", record_id)
    signature = base64.urlsafe_b64encode(signer.sign(_LABEL + name.encode("ascii")))
    return f"{name}.{signature.decode('ascii').rstrip('=')}"


def record_of(token: str, public_key: bytes, is_signed: ReceiptSignatureCheck) -> RecordId | None:
    """The record that a token may withdraw; None if it was not issued under this key."""
    name, _, signature = token.partition(".")
    record_id = decode_id("wdr", name)
    if record_id is None or len(signature) != _SIGNATURE_LENGTH or not signature.isascii():
        return None
    try:
        value = base64.b64decode(f"{signature}==", altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return RecordId(record_id) if is_signed(public_key, _LABEL + name.encode("ascii"), value) else None
