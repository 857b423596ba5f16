"""A real worker process around the dummy detector, for tests that kill it. Run by path; settings by environment.

Nothing is imported up here: every worker process imports this file again, and needs nothing of the rest.
"""

if __name__ == "__main__":
    import sys

    from app import logs
    from app.detectors.source import DummySource
    from app.jobs.command import work
    from app.settings import Settings

    settings = Settings()
    logs.configure(settings.log_level)
    sys.exit(work(settings, DummySource(by_filename=True)))
