"""A real service process for tests that kill it, around the dummy detector, or around EARWITNESS_MODEL where
SERVE_THE_REAL_ONE is set. Run by path; settings by environment.

Nothing is imported up here: every worker process imports this file again, and needs nothing of the server.
"""

if __name__ == "__main__":
    import os
    import sys

    from app import logs
    from app.application import create_app
    from app.detectors.source import DummySource
    from app.server import serve
    from app.settings import Settings

    settings = Settings()
    logs.configure(settings.log_level)
    source = None if "SERVE_THE_REAL_ONE" in os.environ else DummySource(by_filename=True)
    sys.exit(serve(create_app(settings, detector=source), settings))
