"""A real service process around the dummy detector, for tests that kill it. Run by path; settings by environment."""

import sys

from app import logs
from app.__main__ import serve
from app.application import create_app
from app.detectors.source import DummySource
from app.settings import Settings

if __name__ == "__main__":
    settings = Settings()
    logs.configure(settings.log_level)
    sys.exit(serve(create_app(settings, detector=DummySource(by_filename=True)), settings))
