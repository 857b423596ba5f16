"""Which form of the report an Accept header asks for (RFC 9110, 12.5.1)."""

from app.errors import NotAcceptableError
from earwitness.reporting.forms import Form

ANSWERS = {
    "*/*": Form.JSON,
    "application/*": Form.JSON,
    "text/*": Form.HTML,
    **{form.value: form for form in Form},
}


def negotiated(accept: str) -> Form:
    """The form with the highest weight, of equals the more exact range, then the one named first.

    Raises NotAcceptableError where none of them is allowed.
    """
    ranges = [_weighed(part) for part in accept.split(",") if part.strip()]
    if not ranges:  # an empty header allows anything, as none does
        return Form.JSON
    refused = {name for name, weight in ranges if weight == 0.0}
    allowed = [(weight, "*" not in name, name) for name, weight in ranges if weight > 0.0 and name in ANSWERS]
    for _, _, name in sorted(allowed, key=lambda entry: entry[:2], reverse=True):
        if ANSWERS[name].value not in refused:
            return ANSWERS[name]
    raise NotAcceptableError(f"reports are issued as {', '.join(form.value for form in Form)}")


def _weighed(part: str) -> tuple[str, float]:
    """The media range in lower case and its weight; one that can't be read counts as 0."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                weight = float(parameter[2:])
            except ValueError:
                return name, 0.0
            return name, weight if 0.0 <= weight <= 1.0 else 0.0
    return name, 1.0
