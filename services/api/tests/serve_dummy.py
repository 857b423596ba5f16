"""A real service process around the dummy detector, for tests that kill it. Run by path; settings by environment.

Nothing is imported up here: every worker process imports this file again, and needs nothing of the server.
"""

if __name__ == "__main__":
    import sys

    from app import logs
    from app.application import create_app
    from app.detectors.source import DummySource
    from app.server import serve
    from app.settings import Settings

    settings = Settings()
    logs.configure(settings.log_level)
    sys.exit(serve(create_app(settings, detector=DummySource(by_filename=True)), settings))
