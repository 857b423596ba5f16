"""What Schemathesis uploads: a real recording, for random bytes would only ever test the refusal."""

import io
import wave

import schemathesis
from hypothesis import strategies as st


def recording() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8_000)
        writer.writeframes(bytes(range(256)) * 16)
    return file.getvalue()


schemathesis.openapi.media_type("audio/wav", st.just(recording()))
