"""A real worker process around the dummy detector, for tests that kill it, or around EARWITNESS_MODEL where
SERVE_THE_REAL_ONE is set. Run by path; settings by environment.

DUMMY_DELAY_S is how long the detector takes.
Nothing is imported up here: every worker process imports this file again, and needs nothing of the rest.
"""

if __name__ == "__main__":
    import os
    import sys

    from app import logs
    from app.detectors.source import DetectorSource, DummySource, OnnxSource
    from app.jobs.command import work
    from app.settings import Settings
    from earwitness.dummy import DummyDetector

    detector = DummyDetector(delay_s=float(os.environ.get("DUMMY_DELAY_S", "0")))
    settings = Settings()
    logs.configure(settings.log_level)
    source: DetectorSource = DummySource(detector, by_filename=True)
    sys.exit(work(settings, OnnxSource(settings.model) if "SERVE_THE_REAL_ONE" in os.environ else source))
