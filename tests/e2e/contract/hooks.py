"""What a schema cannot say of a good order."""

import hashlib
import re
from decimal import ROUND_DOWN, Decimal

import schemathesis

KEY = re.compile("[\t -~]*[!-~][\t -~]*")
# A hundred lines of a million pieces at this price are within the largest amount there is.
BOUND = Decimal("999999.99")


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key belongs to one order: another body has another key."""
    for name, key in list((case.headers or {}).items()):
        is_key = name.lower() == "idempotency-key" and isinstance(key, str)
        if is_key and KEY.fullmatch(key) and len(key) <= 255:
            digest = hashlib.sha256(repr(case.body).encode(errors="replace")).hexdigest()[:16]
            case.headers[name] = key[:239] + digest


@schemathesis.hook
def map_body(context, body):
    """Prices have two decimals, and all items together may not cost more than the largest amount."""
    items = body.get("items") if isinstance(body, dict) else None
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and type(item.get("unit_price")) in (int, float):
            price = Decimal(str(item["unit_price"]))
            if 0 <= price < 10**14:
                price = price % BOUND if price > BOUND else price
                item["unit_price"] = float(price.quantize(Decimal("0.01"), ROUND_DOWN))
    return body
